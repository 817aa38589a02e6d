package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"mergegate/api"
)

var update = flag.Bool("update", false, "take the description as it is for its version")

var versionLine = regexp.MustCompile(`(?m)^  version: (\S+)\n`)

// TestChangesRaiseTheVersion compares the description with what its version was
// taken for: testdata/version has that version and a sum of all but it.
//
//	go test ./api -update
func TestChangesRaiseTheVersion(t *testing.T) {
	t.Parallel()
	match := versionLine.FindSubmatchIndex(api.OpenAPI)
	if match == nil {
		t.Fatal("openapi.yaml has no info.version")
	}
	version := string(api.OpenAPI[match[2]:match[3]])
	sum := sha256.Sum256(bytes.Join([][]byte{api.OpenAPI[:match[0]], api.OpenAPI[match[1]:]}, nil))
	now := version + " " + hex.EncodeToString(sum[:])
	kept, err := os.ReadFile("testdata/version")
	if err != nil && !*update {
		t.Fatal(err)
	}
	taken := strings.TrimSpace(string(kept))
	takenVersion, _, _ := strings.Cut(taken, " ")
	switch {
	case now == taken:
	case version == takenVersion:
		t.Errorf("openapi.yaml was changed, but is still version %s: raise info.version, then go test ./api -update", version)
	case *update:
		if err := os.WriteFile("testdata/version", []byte(now+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("version %s of openapi.yaml is not taken yet: go test ./api -update", version)
	}
}
