package config

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

const (
	databaseURL = "DATABASE_URL"
	ours        = "MERGEGATE_" // begins every other variable
	asFile      = "_FILE"
	maxFile     = 64 << 10 // of what a variable names; certificates aren't among it
)

// Environ is an environment as [os.Environ] lists it: NAME=value each, and of a name that
// is there twice the first counts. A list can tell names that nobody asks for.
type Environ []string

// EnvironOf is the environment that has these variables.
func EnvironOf(variables map[string]string) Environ {
	var environ Environ
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		environ = append(environ, name+"="+variables[name])
	}
	return environ
}

// Get is the value of a variable, "" where it isn't set.
func (e Environ) Get(name string) string {
	for _, pair := range e {
		if key, value, _ := strings.Cut(pair, "="); key == name {
			return value
		}
	}
	return ""
}

// variable is one that is read, by its tags.
type variable struct {
	name         string
	secret, list bool
}

var (
	serviceVariables = variablesOf(reflect.TypeFor[Environment]())
	clientVariables  = variablesOf(reflect.TypeFor[Service]())
)

func variablesOf(environment reflect.Type) []variable {
	var list []variable
	for _, field := range reflect.VisibleFields(environment) {
		list = append(list, variable{name: field.Tag.Get("env"), secret: field.Tag.Get("secret") != "", list: field.Tag.Get("list") != ""})
	}
	return list
}

// readVariables takes each variable from the environment, or from the file that NAME_FILE
// names. Empty is unset.
func readVariables(environ Environ, variables []variable, wrong *faults) map[string]string {
	values := map[string]string{}
	for _, v := range variables {
		source, value := v.name, trim(environ.Get(v.name))
		if file := environ.Get(v.name + asFile); file != "" {
			source = v.name + asFile
			if value != "" {
				wrong.damage(v.name, source, "is set, and so is %s; set one of them", v.name)
				continue
			}
			if what := damageOf(file, false); what != "" {
				wrong.damage(v.name, source, "%s", what)
				continue
			}
			var what string
			if value, what = readFile(file); what != "" {
				wrong.damage(v.name, source, "%s", what)
				continue
			}
		}
		if value == "" {
			continue
		}
		if what := v.damageOf(value); what != "" {
			if source != v.name {
				what = "the file " + environ.Get(source) + ": " + what
			}
			wrong.damage(v.name, source, "%s", what)
			continue
		}
		values[v.name] = value
	}
	return values
}

// trim takes off what a file or a shell leaves around a value, and nothing that says more of
// how it was made.
func trim(value string) string { return strings.Trim(value, " \t\n") }

// readFile is what a file holds, or what is wrong with it.
func readFile(path string) (value, wrong string) {
	content, err := readBounded(path)
	switch {
	case err != nil:
		return "", fmt.Sprintf("can't read %q: %s", path, reason(err))
	case len(content) > maxFile:
		return "", fmt.Sprintf("%q is larger than %d KiB; name a file that holds the value alone", path, maxFile>>10)
	}
	value = trim(strings.ReplaceAll(strings.TrimRight(string(content), "\r\n"), "\r\n", "\n"))
	if value == "" {
		return "", fmt.Sprintf("%q is empty; write the value to it, or unset the variable", path)
	}
	return value, ""
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, maxFile+1))
}

// reason is an error of a file without its path, which the fault names.
func reason(err error) string {
	if of, ok := err.(*fs.PathError); ok { //nolint:errorlint // what os returns isn't wrapped
		return of.Err.Error()
	}
	return err.Error()
}

// injected are the names that container platforms set for every service of theirs: a
// Kubernetes service called mergegate sets MERGEGATE_PORT_8080_TCP_ADDR and its like.
var injected = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_.*)?)$`)

// checkNames finds variables that were meant for mergegate and that nothing reads.
func checkNames(environ Environ, wrong *faults) {
	var known []string
	for _, v := range slices.Concat(serviceVariables, clientVariables) {
		known = append(known, v.name)
	}
	for _, pair := range environ {
		given, _, _ := strings.Cut(pair, "=")
		name := strings.TrimPrefix(strings.TrimFunc(given, invisible), "export ")
		base := strings.TrimSuffix(name, asFile)
		switch {
		case !strings.HasPrefix(name, ours) && base != databaseURL, injected.MatchString(name):
		case name != given:
			wrong.add(name, "the name is written as %q, so nothing reads it; save the file as UTF-8 without a byte order mark, and write NAME=value", given)
		case !slices.Contains(known, base):
			suggestion := nearest(base, known) + strings.TrimPrefix(name, base)
			wrong.add(name, "mergegate has no such variable; did you mean %s?", suggestion)
		}
	}
}

// nearest is the known name that takes the fewest changes to make of a name.
func nearest(name string, known []string) string {
	bare := func(s string) string { return strings.TrimPrefix(s, ours) }
	return slices.MinFunc(known, func(a, b string) int { return distance(bare(name), bare(a)) - distance(bare(name), bare(b)) })
}

// distance is how many letters have to be put in, taken out or changed (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
