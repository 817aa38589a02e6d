package server_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"mergegate/internal/server/servertest"
)

func TestBadges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, servertest.SecretKey)
	w.Expect("no_build", "")
	var verdict struct {
		Badge string `json:"badge_url"`
	}
	w.Get("/api/v1/repositories/acme/widgets/pullrequests/7", &verdict)
	path, _, _ := strings.Cut(verdict.Badge, "?")
	show := func(path string) servertest.Response { return w.Do(http.MethodGet, path, "", nil) }
	tests := []struct {
		name   string
		path   string
		status int
		want   string
	}{
		{name: "signed", path: verdict.Badge, status: 200, want: "merge: no build"},
		{name: "not signed", path: path, status: 404},
		{name: "signed for another", path: strings.Replace(verdict.Badge, "/7.svg", "/8.svg", 1), status: 404},
		{name: "a repository that isn't there", path: "/badges/acme/nothing/pullrequests/7.svg", status: 404},
		{name: "no number", path: "/badges/acme/widgets/pullrequests/x.svg", status: 404},
		{name: "no picture", path: "/badges/acme/widgets/pullrequests/7", status: 404},
	}
	for _, tt := range tests {
		res := show(tt.path)
		if res.Status != tt.status || !strings.Contains(string(res.Body), tt.want) {
			t.Errorf("%s: answered %d %s; want %d with %q", tt.name, res.Status, res.Body, tt.status, tt.want)
		}
	}
	w.Policy("rules: [{public_badges: true}]")
	w.Built(commit('1'), "failed")
	w.Expect("failed", "")
	res := show(path)
	if res.Status != http.StatusOK || !strings.Contains(string(res.Body), "merge: failed") || res.Header.Get("Content-Type") != "image/svg+xml; charset=utf-8" {
		t.Errorf("public: answered %d %s %s", res.Status, res.Header, res.Body)
	}
	decoder := xml.NewDecoder(bytes.NewReader(res.Body))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
	w.Policy("rules: [{public_badges: true, branches: [release]}]")
	if res := show(path); res.Status != http.StatusNotFound {
		t.Errorf("public for another branch: answered %d", res.Status)
	}
}
