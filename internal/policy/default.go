package policy

import _ "embed" // for the document

// Default is a document that writes out what applies where none is set: every
// setting, with what it means.
//
//go:embed default.yaml
var Default string
