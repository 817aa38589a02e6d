// Package held has Bitbucket's stand-in hold every request, and every answer of its own, to
// Atlassian's OpenAPI document.
package held

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"mergegate/internal/bitbucket/bitbuckettest"
)

// document is read once: it is long.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	return openapi3.NewLoader().LoadFromData(bitbuckettest.OpenAPI)
})

// New is [bitbuckettest.New], held to the document: see [bitbuckettest.Server.Violations].
func New() (*bitbuckettest.Server, error) {
	doc, err := document()
	if err != nil {
		return nil, fmt.Errorf("load Bitbucket's OpenAPI document: %w", err)
	}
	server, err := bitbuckettest.New()
	if err != nil {
		return nil, err
	}
	server.HoldTo(func(r *http.Request, path string) (func(int, []byte) error, error) {
		input := input(doc, r, path)
		return func(status int, body []byte) error {
			response := &openapi3filter.ResponseValidationInput{
				RequestValidationInput: input,
				Status:                 status,
				Header:                 http.Header{"Content-Type": {"application/json"}},
				Options:                &openapi3filter.Options{MultiError: true, IncludeResponseStatus: true},
			}
			return openapi3filter.ValidateResponse(r.Context(), response.SetBodyBytes(body))
		}, openapi3filter.ValidateRequest(r.Context(), input)
	})
	return server, nil
}

// input describes a request to the operation at path, as the document writes it.
func input(doc *openapi3.T, r *http.Request, path string) *openapi3filter.RequestValidationInput {
	item := doc.Paths.Value(path)
	params := map[string]string{}
	for _, segment := range strings.Split(path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			params[name] = r.PathValue(name)
		}
	}
	return &openapi3filter.RequestValidationInput{
		Request:     r,
		PathParams:  params,
		QueryParams: r.URL.Query(),
		Route:       &routers.Route{Spec: doc, Path: path, PathItem: item, Method: r.Method, Operation: item.GetOperation(r.Method)},
		Options:     &openapi3filter.Options{MultiError: true},
	}
}
