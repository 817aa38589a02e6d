package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestTheProgramHasNoValidator lists what the program is built of: the tests hold it to
// api/openapi.yaml with a library that it doesn't need itself.
func TestTheProgramHasNoValidator(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-tags", "nomsgpack", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 100 {
		t.Fatalf("the program is built of %d packages: go list told too little", len(packages))
	}
	for _, path := range packages {
		if strings.HasPrefix(path, "github.com/getkin/kin-openapi") {
			t.Errorf("the program is built of %s, which only tests may import", path)
		}
	}
}
