package forge_test

import (
	"fmt"
	"strings"
	"testing"

	"mergegate/internal/forge"
	"mergegate/internal/jsonobject/memorytest"
)

// TestMemoryOfABody reads bodies that say little and could be made much of.
func TestMemoryOfABody(t *testing.T) {
	var keys strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&keys, `"%x":1,`, i)
	}
	readers := map[string]func([]byte) any{
		"event":       func(body []byte) any { event, err := forge.ParseEvent(body); return []any{event, err} },
		"merge check": func(body []byte) any { check, err := forge.ParseMergeCheck(body); return []any{check, err} },
	}
	for name, read := range readers {
		t.Run(name, func(t *testing.T) {
			for _, body := range [][]byte{
				[]byte(`{` + keys.String() + `"payload":{` + keys.String() + `"workspace":{` + keys.String() + `"uuid":""}}}`),
				memorytest.Repeated(`{"payload":[`, `{}`, 300_000, `]}`),
				[]byte(`{"workspace":{"uuid":"` + strings.Repeat("x", 1<<20) + `"},"eventType":"` + strings.Repeat("x", 1<<20) + `"}`),
			} {
				memorytest.Check(t, body, read)
				memorytest.CheckAll(t, body, read)
			}
		})
	}
}
