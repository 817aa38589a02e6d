//go:build ignore

// Trim makes openapi.json of Atlassian's OpenAPI document for Bitbucket Cloud, read from standard input:
//
//	go run trim.go < swagger.v3.json > openapi.json
//
// README.md says what is left out and what is repaired.
package main

import (
	"encoding/json"
	"log"
	"os"
	"strings"
)

type object = map[string]any

const (
	repository  = "/repositories/{workspace}/{repo_slug}"
	pullRequest = repository + "/pullrequests/{pull_request_id}"
	commit      = repository + "/commit/{commit}"
)

var operations = []struct{ path, method string }{
	{repository, "get"},
	{pullRequest, "get"},
	{pullRequest + "/commits", "get"},
	{repository + "/commits", "get"},
	{repository + "/diffstat/{spec}", "get"},
	{commit, "get"},
	{commit + "/statuses", "get"},
	{commit + "/statuses/build", "post"},
	{commit + "/statuses/build/{key}", "get"},
	{commit + "/statuses/build/{key}", "put"},
}

func main() {
	var full object
	if err := json.NewDecoder(os.Stdin).Decode(&full); err != nil {
		log.Fatal(err)
	}
	schemas := at(full, "components", "schemas")
	paths, used := object{}, object{}
	for _, op := range operations {
		from := at(full, "paths", op.path)
		to, ok := paths[op.path].(object)
		if !ok {
			to = object{"parameters": from["parameters"]}
			paths[op.path] = to
		}
		to[op.method] = from[op.method]
	}
	strip(paths)
	collect(paths, schemas, used)
	repair(paths, used)
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(object{
		"openapi": full["openapi"], "servers": full["servers"],
		"info":  object{"title": "Bitbucket API, trimmed: see README.md", "version": "2.0"},
		"paths": paths, "components": object{"schemas": used},
	}); err != nil {
		log.Fatal(err)
	}
}

func at(o object, keys ...string) object {
	for _, key := range keys {
		o = o[key].(object)
	}
	return o
}

// strip takes out what no validation needs.
func strip(v any) {
	switch v := v.(type) {
	case object:
		for key, value := range v {
			if key == "security" || key == "tags" || key == "operationId" || key == "examples" || strings.HasPrefix(key, "x-") {
				delete(v, key)
				continue
			}
			strip(value)
		}
	case []any:
		for _, value := range v {
			strip(value)
		}
	}
}

// collect copies every schema that v refers to, and those that they refer to.
func collect(v any, from, to object) {
	switch v := v.(type) {
	case object:
		for key, value := range v {
			ref, isRef := value.(string)
			if key != "$ref" || !isRef {
				collect(value, from, to)
				continue
			}
			name := ref[strings.LastIndex(ref, "/")+1:]
			if _, done := to[name]; !done {
				to[name] = from[name]
				strip(from[name])
				collect(from[name], from, to)
			}
		}
	case []any:
		for _, value := range v {
			collect(value, from, to)
		}
	}
}

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

func repair(paths, schemas object) {
	// 1. Requests don't carry the "type" that every object has in answers.
	part := schemas["commitstatus"].(object)["allOf"].([]any)[1].(object)
	request := object{}
	for key, value := range part {
		request[key] = value
	}
	schemas["commitstatus_request"] = request
	update := object{}
	for key, value := range request {
		update[key] = value
	}
	delete(update, "required")
	schemas["commitstatus_update"] = update
	setBody(at(paths, commit+"/statuses/build", "post"), "commitstatus_request")
	setBody(at(paths, commit+"/statuses/build/{key}", "put"), "commitstatus_update")

	// 2. What Bitbucket answers null for.
	at(part, "properties", "refname")["nullable"] = true
	ends := at(schemas, "pullrequest_endpoint", "properties")
	for _, name := range []string{"repository", "branch"} {
		ends[name] = object{"allOf": []any{ends[name]}, "nullable": true}
	}
	ends["commit"].(object)["nullable"] = true
	sides := at(schemas, "diffstat", "properties")
	for _, name := range []string{"old", "new"} {
		sides[name] = object{"allOf": []any{sides[name]}, "nullable": true}
	}
	// 3. Fields that Bitbucket's answers have beside the documented ones.
	delete(ends["commit"].(object), "additionalProperties")
	delete(at(schemas, "error", "properties", "error"), "additionalProperties")

	// 4. An enum that lists null belongs to a nullable property.
	participant := schemas["participant"].(object)["allOf"].([]any)[1].(object)
	at(participant, "properties", "state")["nullable"] = true

	// 5. Every refusal has the error schema; the list of commits has no schema at all.
	for _, item := range paths {
		for method, op := range item.(object) {
			if method != "parameters" {
				at(op.(object), "responses")["default"] = object{
					"description": "Any other refusal.", "content": object{"application/json": object{"schema": ref("error")}},
				}
			}
		}
	}
	at(paths, pullRequest+"/commits", "get", "responses", "200")["content"] = object{"application/json": object{"schema": object{
		"type":       "object",
		"properties": object{"values": object{"type": "array", "items": ref("commit")}, "next": object{"type": "string", "format": "uri"}},
		"required":   []any{"values"},
	}}}
}

func setBody(op object, schema string) {
	op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": ref(schema)}}}
}
