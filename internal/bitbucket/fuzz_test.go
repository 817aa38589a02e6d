package bitbucket

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"mergegate/internal/mergecheck"
)

// FuzzRepository decodes what Bitbucket could say a repository is.
func FuzzRepository(f *testing.F) {
	f.Add([]byte(`{"uuid":"{15A31549-1cff-45dc-9d0d-310114c5038b}","full_name":"ws/repo","workspace":{"uuid":"{cc8e193d-7603-4dfd-8771-fcc8960aa0fb}"}}`))
	f.Add([]byte(`{"uuid":"x","workspace":null,"owner":{"uuid":"{}"}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var answer repositoryAnswer
		if json.Unmarshal(body, &answer) != nil {
			return
		}
		r := answer.repository()
		for _, uuid := range []string{r.UUID, r.WorkspaceUUID} {
			if uuid != "" && (len(uuid) != 36 || uuid != strings.ToLower(uuid)) {
				t.Errorf("UUID %q", uuid)
			}
		}
	})
}

// FuzzCommits picks the head out of any list of commits: one that is in it and
// begins as asked, or none.
func FuzzCommits(f *testing.F) {
	a, b := strings.Repeat("a", fullHash), strings.Repeat("a", fullHash-1)+"b"
	f.Add([]byte(`{"values":[{"hash":"`+a+`","parents":[{"hash":"`+b+`"}]},{"hash":"`+b+`"}],"next":"x"}`), a[:12])
	f.Add([]byte(`{"values":[{"hash":"`+a+`"},{"hash":"`+b+`"}]}`), a[:12])
	f.Add([]byte(`{"values":[{"hash":"`+a+`","parents":[{"hash":"`+a+`"}]}]}`), a[:12])
	f.Add([]byte(`{"values":[null,{"hash":"../x"}]}`), "")
	f.Fuzz(func(t *testing.T, body []byte, short string) {
		var page commitPage
		if json.Unmarshal(body, &page) != nil {
			return
		}
		if mergecheck.CommitHash(short) != short || short == "" {
			return
		}
		read := newHeadRead(commitList{short: short}, page)
		read.add(page, nil)
		head, err := read.head("find", short)
		if err != nil {
			return
		}
		listed := slices.ContainsFunc(page.Values, func(c listedCommit) bool { return strings.EqualFold(c.Hash, head) })
		if !listed || len(head) != fullHash || !strings.HasPrefix(head, short) {
			t.Errorf("head %q for %q", head, short)
		}
	})
}

// FuzzRefusal makes an error of any answer: one line that tells no secret.
func FuzzRefusal(f *testing.F) {
	f.Add([]byte(`{"type":"error","error":{"message":"no s3cret-7f3a"}}`), "Bearer s3cret-7f3a")
	f.Add([]byte(`{"error":"x","error_description":"bad\nclient\u0000"}`), "Basic YUBiLmM6czNjcmV0LTdmM2E=")
	f.Add([]byte(`{"error":{"message":"\ud800"}}`), "")
	f.Fuzz(func(t *testing.T, body []byte, authorization string) {
		req := &http.Request{Header: http.Header{"Authorization": {authorization}}}
		err := refusal("ask", &http.Response{StatusCode: 400, Request: req, Header: http.Header{}}, body)
		if strings.ContainsAny(err.Message, "\r\n\x00") || !utf8.ValidString(err.Message) || utf8.RuneCountInString(err.Message) > 300 {
			t.Errorf("message %q", err.Message)
		}
		if _, secret, _ := strings.Cut(authorization, " "); len(secret) > len("[redacted]") && strings.Contains(err.Message, secret) {
			t.Errorf("message %q tells %q", err.Message, secret)
		}
	})
}

// FuzzRateLimit takes any headers for what they say of the limit: work waits for
// a while at most.
func FuzzRateLimit(f *testing.F) {
	f.Add("1000", "true", "", false)
	f.Add("10000", "false", "17", true)
	f.Add("-1", "near", "Fri, 31 Dec 9999 23:59:59 GMT", true)
	f.Add("18446744073709551616", "", "18446744073709551615", true)
	f.Add("1", "1", "-5", true)
	f.Fuzz(func(t *testing.T, limit, near, after string, refused bool) {
		now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
		header := http.Header{"X-Ratelimit-Limit": {limit}, "X-Ratelimit-Nearlimit": {near}, "Retry-After": {after}}
		status := http.StatusOK
		if refused {
			status = http.StatusTooManyRequests
		}
		var b budget
		for range 3 {
			b.charge(now)
			b.learn(status, header, now)
		}
		for _, u := range []Urgency{Background, Spare} {
			if wait := b.wait(u, now); wait < 0 || wait > longestWait*6/5+time.Second {
				t.Errorf("work waits %s", wait)
			}
		}
		if later := now.Add(25 * time.Hour); b.wait(Background, later) != 0 {
			t.Error("background work waits for a day")
		}
	})
}

// FuzzSystemToken keeps any token, and a normal one after it.
func FuzzSystemToken(f *testing.F) {
	f.Add("opaque")
	f.Add("eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDB9.")
	f.Add("a.eyJleHAiOi0xfQ.b")
	f.Add("a.eyJleHAiOjFlMzA4fQ.b")
	f.Fuzz(func(t *testing.T, token string) {
		var tokens SystemTokens
		tokens.Keep("ws", token)
		if got := tokens.Token("ws"); got != "" && got != token {
			t.Errorf("kept %q, got %q", token, got)
		}
		tokens.Keep("ws", "opaque")
		if got := tokens.Token("ws"); got != "opaque" {
			t.Errorf("got %q", got)
		}
	})
}
