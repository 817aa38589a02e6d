package bitbucket_test

import (
	"fmt"
	"strings"
	"testing"

	"mergegate/internal/bitbucket"
	"mergegate/internal/jsonobject/memorytest"
)

// TestMemoryOfAWebhook reads bodies that say little and could be made much of.
func TestMemoryOfAWebhook(t *testing.T) {
	var keys strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&keys, `"%x":1,`, i)
	}
	for _, body := range [][]byte{
		[]byte(`{` + keys.String() + `"repository":{` + keys.String() + `"uuid":""}}`),
		memorytest.Repeated(`{"push":{"changes":[`, `{"new":{"type":"branch","name":"b","target":{"hash":"`+strings.Repeat("a", 40)+`"}}}`, 20_000, `]}}`),
		[]byte(`{"pullrequest":{"id":1,"state":"` + strings.Repeat("x", 1<<20) + `"}}`),
	} {
		for _, event := range []string{"repo:push", "pullrequest:updated"} {
			read := func(body []byte) any {
				event, err := bitbucket.ParseWebhook(event, body)
				return []any{event, err}
			}
			memorytest.Check(t, body, read)
			memorytest.CheckAll(t, body, read)
		}
	}
}
