package servertest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"mergegate/internal/mergecheck"
)

// Answer is a merge check's.
type Answer struct {
	Success bool
	Message string
}

// Event is the body of a merge check of pull request 7.
func Event(trigger string, more ...string) string {
	return fmt.Sprintf(`{"workspace":{"uuid":"{%s}"},"repository":{"uuid":"{%s}"},"pullrequest":{"id":7},"trigger":{"type":%q}%s}`,
		WorkspaceUUID, RepositoryUUID, trigger, strings.Join(more, ""))
}

// Bringing is what the Forge function adds to an event.
func Bringing(head string) string {
	return fmt.Sprintf(`,"pullRequest":{"state":"OPEN","source":{"commit":%q,"branch":"feature","repository":{"uuid":"{%s}","full_name":%q}},"destination":{"commit":%q,"branch":"main"}}`,
		head, RepositoryUUID, Repository, Commit('d'))
}

// Check asks the merge check, which has to be answered.
func (w *World) Check(body string) Answer {
	w.T.Helper()
	res := w.Post("/forge/merge-check", w.Forge.Token(), body)
	if res.Status != http.StatusOK {
		w.T.Fatalf("merge check answered %d %s", res.Status, res.Body)
	}
	var a Answer
	w.Must(json.Unmarshal(res.Body, &a))
	if n := len([]rune(a.Message)); n == 0 || n > 255 || strings.ContainsAny(a.Message, "\r\n") {
		w.T.Errorf("message %q", a.Message)
	}
	return a
}

// Expect asks the merge check and the API, which have to agree on the code.
func (w *World) Expect(code, message string) {
	w.T.Helper()
	w.ExpectOf(code, message, Event("on-merge"))
}

// ExpectOf does the same for a merge check with this body. The first answer counts, unless the
// machine has too much to do: then a time limit runs out on the way, AppVeyor isn't read or the
// decision isn't kept, and the check is asked again as an author would.
func (w *World) ExpectOf(code, message, body string) {
	w.T.Helper()
	start := time.Now()
	a := w.Check(body)
	took := time.Since(start)
	fault := w.differs(a, code, message)
	switch {
	case fault == "":
	case took < noTimeLimit:
		w.T.Error(fault)
	default:
		w.T.Logf("asked again after an answer that took %s: %s", took, fault)
		w.Eventually(code+" after a slow answer", func() bool { return w.differs(w.Check(body), code, message) == "" })
	}
}

// noTimeLimit is shorter than each time limit within a merge check: in a faster answer none ran out.
const noTimeLimit = time.Second

// differs tells what an answer and the decision that was kept of it differ in from what is
// expected, "" where they don't.
func (w *World) differs(a Answer, code, message string) string {
	w.T.Helper()
	if a.Success != mergecheck.Code(code).Success() || !strings.Contains(a.Message, message) {
		return fmt.Sprintf("merge check: success %v, message %q; want %s with %q", a.Success, a.Message, code, message)
	}
	var decisions struct{ Values []map[string]any }
	w.Get("/api/v1/repositories/acme/widgets/pullrequests/7/decisions?pagelen=1", &decisions)
	if len(decisions.Values) != 1 || decisions.Values[0]["code"] != code || decisions.Values[0]["message"] != a.Message {
		return fmt.Sprintf("decision %v of answer %q; want code %s", decisions.Values, a.Message, code)
	}
	return ""
}

// Response is an answer, read.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Post sends a body of JSON.
func (w *World) Post(path, token, body string) Response {
	w.T.Helper()
	return w.Do(http.MethodPost, path, token, strings.NewReader(body))
}

// Do sends a request and holds it and its answer to the API's description.
func (w *World) Do(method, path, token string, body io.Reader) Response {
	w.T.Helper()
	var content []byte
	if body != nil {
		var err error
		content, err = io.ReadAll(body)
		w.Must(err)
	}
	req, err := http.NewRequestWithContext(w.T.Context(), method, w.URL+path, bytes.NewReader(content))
	w.Must(err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res := Send(w.T, req)
	HoldToSpecification(w.T, req, content, res)
	return res
}

// Send sends a request and reads the whole answer.
func Send(t *testing.T, req *http.Request) Response {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Response{Status: res.StatusCode, Header: res.Header, Body: body}
}

// Get reads a document of the API.
func (w *World) Get(path string, into any) {
	w.T.Helper()
	res := w.Do(http.MethodGet, path, w.Token, nil)
	if res.Status != http.StatusOK {
		w.T.Fatalf("GET %s answered %d %s", path, res.Status, res.Body)
	}
	w.Must(json.Unmarshal(res.Body, into))
}

// AnswerWithin is what the contract promises for every merge check.
const AnswerWithin = 4 * time.Second

// CheckInTime asks the merge check and fails when the answer takes too long.
func (w *World) CheckInTime(body string) Answer {
	w.T.Helper()
	start := time.Now()
	a := w.Check(body)
	if took := time.Since(start); took > AnswerWithin {
		w.T.Errorf("answered after %s", took)
	}
	return a
}

// Fetch gets a path with headers, without following what Go's client does by
// itself with compression.
func (w *World) Fetch(path string, headers ...string) Response {
	w.T.Helper()
	req, err := http.NewRequestWithContext(w.T.Context(), http.MethodGet, w.URL+path, nil)
	w.Must(err)
	req.Header.Set("Authorization", "Bearer "+w.Token)
	req.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return Send(w.T, req)
}

// FreeAddress is one that nobody listens on.
func FreeAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// Metrics reads the admin listener: values by name with labels, as they are written.
func (w *World) Metrics(admin string) map[string]float64 {
	w.T.Helper()
	req, err := http.NewRequestWithContext(w.T.Context(), http.MethodGet, "http://"+admin+"/metrics", nil)
	w.Must(err)
	values := map[string]float64{}
	lines := bufio.NewScanner(strings.NewReader(string(Send(w.T, req).Body)))
	for lines.Scan() {
		end := strings.LastIndexByte(lines.Text(), ' ')
		if number, err := strconv.ParseFloat(lines.Text()[end+1:], 64); err == nil && end > 0 {
			values[lines.Text()[:end]] = number
		}
	}
	return values
}
