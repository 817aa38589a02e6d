package servertest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"mergegate/api"
)

var document = sync.OnceValues(func() (*openapi3.T, error) { return openapi3.NewLoader().LoadFromData(api.OpenAPI) })

// HoldEventToSpecification checks the body of a notification.
func HoldEventToSpecification(t *testing.T, body []byte) {
	t.Helper()
	doc, err := document()
	if err != nil {
		t.Fatalf("api/openapi.yaml: %v", err)
	}
	var event any
	if err := json.Unmarshal(body, &event); err != nil {
		t.Fatalf("notification %s: %v", body, err)
	}
	if err := doc.Components.Schemas["event"].Value.VisitJSON(event, openapi3.MultiErrors()); err != nil {
		t.Errorf("notification %s is against api/openapi.yaml: %v", body, err)
	}
}

// specification is api/openapi.yaml, to which every request and answer of these
// tests is held.
var specification = sync.OnceValues(func() (routers.Router, error) {
	doc, err := document()
	if err != nil {
		return nil, err
	}
	// The validator knows the other names that YAML goes by.
	openapi3filter.RegisterBodyDecoder("text/yaml", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("image/svg+xml", func(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		picture, err := io.ReadAll(body)
		return string(picture), err
	})
	openapi3filter.RegisterBodyDecoder(ndjson, decodeLine)
	return legacy.NewRouter(doc)
})

// HoldToSpecification checks an answer, and the request where it was accepted:
// what these tests send to be refused is against the specification on purpose.
func HoldToSpecification(t *testing.T, req *http.Request, requestBody []byte, res Response) {
	t.Helper()
	router, err := specification()
	if err != nil {
		t.Fatalf("api/openapi.yaml: %v", err)
	}
	known := req.Clone(context.Background())
	known.URL.Scheme, known.URL.Host, known.Host = "", "", ""
	known.Body, known.GetBody = io.NopCloser(bytes.NewReader(requestBody)), nil
	route, parameters, err := router.FindRoute(known)
	if err != nil {
		if res.Status != http.StatusNotFound && res.Status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s is not in api/openapi.yaml, but answers %d", req.Method, req.URL.Path, res.Status)
		}
		return
	}
	input := &openapi3filter.RequestValidationInput{
		Request: known, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, MultiError: true,
		},
	}
	if res.Status < 300 {
		if known.Header.Get("Content-Type") == "" && len(requestBody) > 0 {
			known.Header.Set("Content-Type", "application/json")
		}
		if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
			t.Errorf("%s %s was accepted against api/openapi.yaml: %v", req.Method, req.URL, err)
		}
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/yaml") {
		return // the document itself
	}
	parts := [][]byte{res.Body}
	if strings.HasPrefix(res.Header.Get("Content-Type"), ndjson) {
		parts = bytes.Split(bytes.TrimSuffix(res.Body, []byte("\n")), []byte("\n"))
	}
	for _, part := range parts {
		err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: input, Status: res.Status, Header: res.Header,
			Body: io.NopCloser(bytes.NewReader(part)), Options: input.Options,
		})
		if err != nil {
			t.Errorf("%s %s: the answer %d %s is against api/openapi.yaml: %v", req.Method, req.URL.Path, res.Status, part, err)
		}
	}
}

const ndjson = "application/x-ndjson"

// decodeLine decodes one line of an answer that has many. Where the document calls the
// whole answer text, it is that.
func decodeLine(body io.Reader, _ http.Header, schema *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (value any, err error) {
	line, err := io.ReadAll(body)
	if err != nil || schema.Value.Type.Is("string") {
		return string(line), err
	}
	err = json.Unmarshal(line, &value)
	return value, err
}
