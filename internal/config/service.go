package config

import "github.com/caarlos0/env/v11"

// Service is the running service that commands ask, and as whom.
type Service struct {
	URL   string `env:"MERGEGATE_URL"`
	Token string `env:"MERGEGATE_TOKEN" secret:"true"`
}

// LoadService reads which service commands ask; its URL is "" where they ask none. What is
// given with --url and --token comes before the environment.
func LoadService(environ Environ, given Service) (Service, error) {
	var wrong faults
	var wanted []variable
	for _, v := range clientVariables {
		if v.name == "MERGEGATE_URL" && given.URL != "" || v.name == "MERGEGATE_TOKEN" && given.Token != "" {
			continue
		}
		wanted = append(wanted, v)
	}
	service := given
	if err := env.ParseWithOptions(&service, env.Options{Environment: readVariables(environ, wanted, &wrong)}); err != nil {
		return service, Error{err}
	}
	if service.URL == "" {
		return service, wrong.err() // whoever reads the rest names what nothing reads
	}
	name := "MERGEGATE_URL"
	if given.URL != "" {
		name = "--url"
	}
	checkURL(&wrong, name, service.URL, "https://mergegate.example.com")
	checkNames(environ, &wrong)
	return service, wrong.err()
}
