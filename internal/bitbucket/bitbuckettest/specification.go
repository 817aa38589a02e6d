package bitbuckettest

import (
	"bytes"
	_ "embed" // openapi.json
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// OpenAPI is Atlassian's document, trimmed to what mergegate asks for.
//
//go:embed openapi.json
var OpenAPI []byte

// specification is as much of Atlassian's document as the stand-in goes by.
type specification struct {
	Paths map[string]map[string]json.RawMessage `json:"paths"`
}

func loadSpecification() (s specification, err error) {
	if err := json.Unmarshal(OpenAPI, &s); err != nil {
		return s, fmt.Errorf("load Bitbucket's OpenAPI document: %w", err)
	}
	return s, nil
}

// scope answers the OAuth scope that an operation needs.
func (s specification) scope(r *http.Request, path string) string {
	var operation struct {
		Scope string `json:"x-scope"`
	}
	_ = json.Unmarshal(s.Paths[path][strings.ToLower(r.Method)], &operation) // without one it needs none
	return operation.Scope
}

// Hold says whether a request to the operation at path, as the document writes it, is as
// that wants it, and gives back what says so of its answer.
type Hold func(r *http.Request, path string) (answer func(status int, body []byte) error, invalid error)

// HoldTo has every request and answer from now on held to something: see package held.
func (s *Server) HoldTo(h Hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = h
}

func (s *Server) held(r *http.Request, path string) (answer func(status int, body []byte) error, invalid error) {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold == nil {
		return func(int, []byte) error { return nil }, nil
	}
	return hold(r, path)
}

// handler answers one operation.
type handler func(r *http.Request, repo *repository) (status int, body any, err *refusal)

// operation serves one operation of the document: the request is held to it, then the answer.
func (s *Server) operation(path string, handle handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client is gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if refusal := s.limited(r, w.Header(), time.Now()); refusal != nil {
			writeJSON(w, refusal.status, refusal.json())
			return
		}
		checkAnswer, invalid := s.held(r, path)
		r.Body = io.NopCloser(bytes.NewReader(body))
		status, answer := http.StatusBadRequest, []byte(nil)
		lacking := s.lacks(r, s.spec.scope(r, path))
		switch {
		case invalid != nil:
			s.violation(r, "request", invalid)
			answer = refused(status, "Bad request").json()
		case lacking != nil:
			status, answer = lacking.status, lacking.json()
		default:
			status, answer = s.answer(r, handle, w.Header())
		}
		if err := checkAnswer(status, answer); err != nil {
			s.violation(r, "answer", err)
		}
		writeJSON(w, status, answer)
	}
}

func (s *Server) answer(r *http.Request, handle handler, header http.Header) (int, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var repo *repository // none for what is of a workspace
	var refusal *refusal
	if r.PathValue("repo_slug") != "" {
		repo, refusal = s.find(r)
	}
	var status int
	var body any
	if refusal == nil {
		status, body, refusal = handle(r, repo)
	}
	if refusal != nil {
		if refusal.location != "" {
			header.Set("Location", refusal.location)
		}
		return refusal.status, refusal.json()
	}
	if to, ok := body.(redirect); ok {
		header.Set("Location", string(to))
		return status, nil
	}
	if status == http.StatusNoContent {
		return status, nil
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return http.StatusInternalServerError, refused(http.StatusInternalServerError, err.Error()).json()
	}
	return status, encoded
}

// unknownOperation is what mergegate asks for but the document, as it is trimmed, doesn't have.
func (s *Server) unknownOperation(w http.ResponseWriter, r *http.Request) {
	s.violation(r, "request", errors.New("there is no such operation"))
	writeJSON(w, http.StatusNotFound, refused(http.StatusNotFound, "Resource not found").json())
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// redirect is the body of an answer that sends the client elsewhere.
type redirect string

// refusal is an answer that is no success, in Bitbucket's shape.
type refusal struct {
	status   int
	message  string
	fields   map[string][]string
	location string // of a redirect
}

func refused(status int, message string) *refusal { return &refusal{status: status, message: message} }

func noRepository(fullName string) *refusal {
	return refused(http.StatusNotFound, "Repository "+fullName+" not found")
}

// badField is Bitbucket's answer to a field that it doesn't accept.
func badField(name, problem string) *refusal {
	return &refusal{status: http.StatusBadRequest, message: name + ": " + problem, fields: map[string][]string{name: {problem}}}
}

func (r *refusal) json() []byte {
	detail := map[string]any{"message": r.message}
	if r.fields != nil {
		detail["fields"] = r.fields
	}
	body, _ := json.Marshal(map[string]any{"type": "error", "error": detail}) // strings always can be
	return body
}
