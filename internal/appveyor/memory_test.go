package appveyor

import (
	"fmt"
	"strings"
	"testing"

	"mergegate/internal/jsonobject/memorytest"
)

// readers are all that read what comes from AppVeyor, or from who poses as it.
func readers(t testing.TB) map[string]func([]byte) any {
	t.Helper()
	client, err := NewClient(Config{})
	if err != nil {
		t.Fatal(err)
	}
	type read struct{ value, err any }
	return map[string]func([]byte) any{
		"webhook": func(body []byte) any { hook, err := ParseWebhook(body); return read{hook, err} },
		"build": func(body []byte) any {
			answer, err := client.readAnswer(body, 5)
			return read{answer, err}
		},
		"history":  func(body []byte) any { _, answers, err := readHistory(body, 50); return read{answers, err} },
		"projects": func(body []byte) any { list, _, err := readProjects(body); return read{list, err} },
	}
}

// TestMemoryOfWhatIsRead reads bodies that say little and could be made much of.
func TestMemoryOfWhatIsRead(t *testing.T) {
	var keys strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&keys, `"%x":1,`, i)
	}
	long := strings.Repeat("x", 1<<20)
	bodies := [][]byte{
		[]byte(`{` + keys.String() + `"eventData":{` + keys.String() + `"buildId":5}}`),
		memorytest.Repeated(`{"build":{"buildId":5,"jobs":[`, `{}`, 500_000, `]}}`),
		memorytest.Repeated(`{"build":{"buildId":5,"jobs":[`, `{"jobId":"j"}`, 2000, `]}}`),
		memorytest.Repeated(`{"build":{"buildId":5,"jobs":[`, `{"jobId":"j"}`, 200_000, `]}}`),
		memorytest.Repeated(`{"build":{"buildId":5,"jobs":[`, `{"name":"n"}`, 1999, `]}}`),
		memorytest.Repeated(`{"builds":[`, `{}`, 500_000, `]}`),
		memorytest.Repeated(`{"builds":[`, `{"buildId":5}`, 50, `]}`),
		memorytest.Repeated(`{"builds":[`, `[]`, 500_000, `]}`),
		memorytest.Repeated(`[`, `{}`, 500_000, `]`),
		memorytest.Repeated(`[`, `{"projectId":1,"accountName":"a","slug":"b"}`, 100_000, `]`),
		memorytest.Repeated(`{"a":1`+`,"eventData":{"buildId":5},"b":[`, `[]`, 500_000, `]}`),
		[]byte(`{"eventName":"` + long + `","eventData":{"buildId":5,"buildUrl":"` + long + `"}}`),
		[]byte(`{"build":{"buildId":5,"pullRequestName":"` + long + `","version":"` + long + `","jobs":[{"name":"` + long + `"}]}}`),
		[]byte(strings.Repeat(`{"eventData":`, 5000) + `1` + strings.Repeat(`}`, 5000)),
		[]byte(strings.Repeat(`[`, 1<<20)),
	}
	for name, read := range readers(t) {
		t.Run(name, func(t *testing.T) {
			for _, body := range bodies {
				memorytest.Check(t, body, read)
				if name == "webhook" { // anybody with the secret may send as many as they like
					memorytest.CheckAll(t, body, read)
				}
			}
		})
	}
}

// FuzzMemory reads bodies that repeat something.
func FuzzMemory(f *testing.F) {
	f.Add(`{"build":{"buildId":5,"jobs":[`, `{"jobId":""}`, uint16(2000), `]}}`)
	f.Add(`{"build":{"buildId":5,"jobs":[`, `{"testsCount":1}`, uint16(2000), `]}}`)
	f.Add(`{"builds":[`, `{"branch":"b"}`, uint16(1000), `]}`)
	f.Add(`[`, `{"projectId":1,"accountName":"a","slug":"b"}`, uint16(1000), `]`)
	f.Add(`{"eventData":{"buildId":5,`, `"a":1`, uint16(1000), `}}`)
	f.Fuzz(func(t *testing.T, before, part string, count uint16, after string) {
		body := memorytest.Repeated(before, part, int(count), after)
		if len(body) > 1<<20 {
			return // it only takes longer
		}
		for _, read := range readers(t) {
			memorytest.Check(t, body, read)
		}
	})
}
