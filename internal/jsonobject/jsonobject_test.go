package jsonobject_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/jsonobject"
)

// FuzzRead holds what is read of a body against encoding/json's reading of it.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		`{"a":1,"b":{"a":[1,"]"]},"a":"x\"}"}`, ` { "\u0061" : null , "b":[] } `, `[]`, `7`, `"a"`, `{}`, ``, `{"a":1} x`, "{\"b\":{\"a\":\"\xff\"}}",
		`{"b":[1, {"a":2} ,[3,[4]],"5"]}`, `{"a":-1.5e3,"b":true}`, `[[],{}]`, `{"a":{"a":{}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := jsonobject.Read(body, "a", "b")
		if (err == nil) != json.Valid(body) {
			t.Fatalf("error %v", err)
		}
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if json.Unmarshal(body, &want) != nil {
			want = nil
		}
		if (want == nil) != (got == nil) {
			t.Fatalf("%v of %q", got, body)
		}
		for _, name := range []string{"a", "b"} {
			if diff := cmp.Diff(string(want[name]), string(got[name])); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			var inner map[string]json.RawMessage
			_ = json.Unmarshal(want[name], &inner)
			if diff := cmp.Diff(string(inner["a"]), string(got.Member(name, "a")["a"])); diff != "" {
				t.Errorf("a of %s (-want +got):\n%s", name, diff)
			}
			var list []json.RawMessage
			_ = json.Unmarshal(want[name], &list)
			i := 0
			jsonobject.Elements(got[name], func(element []byte) bool {
				if i >= len(list) || !bytes.Equal(list[i], element) {
					t.Errorf("element %d is %q of %q", i, element, list)
				}
				i++
				return true
			})
			if i != len(list) {
				t.Errorf("%d elements of %d", i, len(list))
			}
		}
	})
}
