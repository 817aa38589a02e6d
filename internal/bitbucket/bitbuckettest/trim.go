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
	workspace   = "/repositories/{workspace}"
	repository  = workspace + "/{repo_slug}"
	pullRequest = repository + "/pullrequests/{pull_request_id}"
	commit      = repository + "/commit/{commit}"
)

var operations = []struct{ path, method string }{
	{workspace, "get"},
	{repository, "get"},
	{repository + "/refs/branches/{name}", "get"},
	{repository + "/pullrequests", "get"},
	{pullRequest, "get"},
	{pullRequest + "/commits", "get"},
	{pullRequest + "/diffstat", "get"},
	{repository + "/commits", "get"},
	{repository + "/diffstat/{spec}", "get"},
	{commit, "get"},
	{commit + "/statuses", "get"},
	{commit + "/statuses/build", "post"},
	{commit + "/statuses/build/{key}", "get"},
	{commit + "/statuses/build/{key}", "put"},
	{pullRequest + "/approve", "post"},
	{pullRequest + "/approve", "delete"},
	{pullRequest + "/request-changes", "post"},
	{pullRequest + "/request-changes", "delete"},
	{pullRequest + "/comments", "get"},
	{pullRequest + "/comments", "post"},
	{pullRequest + "/comments/{comment_id}", "put"},
	{pullRequest + "/comments/{comment_id}", "delete"},
	{pullRequest + "/tasks", "get"},
	{pullRequest + "/tasks", "post"},
	{pullRequest + "/tasks/{task_id}", "put"},
	{pullRequest + "/tasks/{task_id}", "delete"},
	{commit + "/reports/{reportId}", "put"},
	{commit + "/reports/{reportId}", "delete"},
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
	needed := scopes(paths)
	strip(paths)
	for _, op := range operations {
		at(paths, op.path, op.method)["x-scope"] = needed[op.method+op.path]
	}
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

// scopes answers which OAuth scope each operation needs.
func scopes(paths object) map[string]string {
	needed := map[string]string{}
	for _, op := range operations {
		for _, way := range at(paths, op.path, op.method)["security"].([]any) {
			if list, ok := way.(object)["oauth2"].([]any); ok && len(list) == 1 {
				needed[op.method+op.path] = list[0].(string)
			}
		}
	}
	return needed
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

	// 1 and 3 again, for what is written to pull requests and of commits. The parts
	// of a task each refuse the others' fields.
	for path, name := range map[string]string{
		pullRequest + "/comments post": "pullrequest_comment", pullRequest + "/comments/{comment_id} put": "pullrequest_comment",
		commit + "/reports/{reportId} put": "report",
	} {
		where, method, _ := strings.Cut(path, " ")
		setBody(at(paths, where, method), name+"_request")
	}
	schemas["report_request"] = schemas["report"].(object)["allOf"].([]any)[1]
	schemas["pullrequest_comment_request"] = schemas["comment"].(object)["allOf"].([]any)[1]
	for _, name := range []string{"task", "pullrequest_task", "pullrequest_comment_task"} {
		open(schemas[name])
	}
	// 6. The value of a report's data is a number or a text, as in the document's own examples.
	delete(at(schemas, "report_data", "properties", "value"), "type")

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

// open has a schema and its parts allow other fields.
func open(schema any) {
	o, ok := schema.(object)
	if !ok {
		return
	}
	if o["additionalProperties"] == false {
		delete(o, "additionalProperties")
	}
	parts, _ := o["allOf"].([]any)
	for _, part := range parts {
		open(part)
	}
}

func setBody(op object, schema string) {
	op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": ref(schema)}}}
}
