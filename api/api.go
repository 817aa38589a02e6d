// Package api holds the description of the REST API, which the service serves at
// /openapi.yaml and every handler test is held to.
package api

import _ "embed"

// OpenAPI is api/openapi.yaml, an OpenAPI 3.1 document.
//
//go:embed openapi.yaml
var OpenAPI []byte
