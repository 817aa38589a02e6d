package server

import (
	"strings"
	"testing"
	"time"

	"mergegate/api"
)

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name   string
		change func(*api.TokenRequest)
		detail string // "": it is made
	}{
		{name: "good", change: func(*api.TokenRequest) {}},
		{name: "for a project", change: func(r *api.TokenRequest) { r.Scopes, r.ProjectID = []string{"report"}, new(int64(1)) }},
		{name: "project 0", change: func(r *api.TokenRequest) { r.Scopes, r.ProjectID = []string{"report"}, new(int64(0)) }, detail: "project_id: give the positive id"},
		{name: "a negative project", change: func(r *api.TokenRequest) { r.Scopes, r.ProjectID = []string{"report"}, new(int64(-1)) }, detail: "project_id: give the positive id"},
		{name: "no project to report for", change: func(r *api.TokenRequest) { r.Scopes = []string{"read", "report"} }, detail: "project_id: missing"},
		{name: "a project and nothing to report", change: func(r *api.TokenRequest) { r.ProjectID = new(int64(1)) }, detail: "project_id: only tokens with scope report have one"},
		{name: "a name of spaces", change: func(r *api.TokenRequest) { r.Name = "  " }, detail: "name: give 1 to 1024"},
		{name: "no scope", change: func(r *api.TokenRequest) { r.Scopes = nil }, detail: "scopes: empty"},
		{name: "an unknown scope", change: func(r *api.TokenRequest) { r.Scopes = []string{"read", "root"} }, detail: `scopes: "root"`},
		{name: "no repository", change: func(r *api.TokenRequest) { r.Repository = "" }, detail: "repository: empty"},
		{name: "no glob", change: func(r *api.TokenRequest) { r.Repository = "acme/[" }, detail: "is not a glob"},
		{name: "an owner by name", change: func(r *api.TokenRequest) { r.Owner = "ann" }, detail: "owner: give the UUID"},
		{name: "an end that is now", change: func(r *api.TokenRequest) { r.ExpiresOn = &now }, detail: "expires_on: give a time in the future"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			request := api.TokenRequest{Name: "ci", Scopes: []string{"read"}, Repository: "acme/*"}
			tt.change(&request)
			_, err := tokenOfRequest(request, now)
			if (err == nil) != (tt.detail == "") || err != nil && !strings.Contains(err.Error(), tt.detail) {
				t.Errorf("error %v, want %q", err, tt.detail)
			}
		})
	}
}
