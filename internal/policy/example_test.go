package policy_test

import (
	"errors"
	"fmt"
	"log"

	"mergegate/internal/policy"
)

// Each setting is that of the most specific rule that gives it.
func Example() {
	document, err := policy.Parse([]byte(`
rules:
  - {branches: "release/*", freshness: strict, waivers: {two_person: true}}
  - {repositories: acme/widgets, branches: "release/*", freshness: warn}
`))
	if err != nil {
		log.Fatal(err)
	}
	for _, repository := range []string{"acme/widgets", "acme/docs"} {
		rules := document.For(repository, "release/2.0")
		fmt.Println(repository, rules.Freshness.Mode, rules.Waivers.TwoPerson)
	}
	fmt.Println(document.For("acme/widgets", "main").Waivers.TwoPerson)
	// Output:
	// acme/widgets warn true
	// acme/docs strict true
	// false
}

// All that is wrong with a document is told at once, and where.
func ExampleParse_faults() {
	_, err := policy.Parse([]byte("rules:\n  - {branches: main, freshness: stern}\n  - {branch: main}\n"))
	var faults policy.Faults
	if errors.As(err, &faults) {
		for _, fault := range faults {
			fmt.Println(fault)
		}
	}
	// Output:
	// line 2, column 33: `stern` is unknown here; known are off, warn, strict
	// line 3, column 6: `branch`: did you mean `branches`?
}

// Explain says which rule a setting is from.
func ExampleDocument_Explain() {
	document, err := policy.Parse([]byte("rules:\n  - {branches: main, freshness: strict}\n"))
	if err != nil {
		log.Fatal(err)
	}
	for _, setting := range document.Explain("acme/widgets", "main") {
		if setting.Rule != nil {
			fmt.Println(setting.Name, setting.Value, "by the rule of line", setting.Rule.Line)
		}
	}
	// Output:
	// freshness strict by the rule of line 2
}
