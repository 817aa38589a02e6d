//go:build slow

package server_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"mergegate/internal/server/servertest"
)

// fillBuilds gives acme/widgets many builds, over the last 400 days.
func (w *world) fillBuilds(builds int) {
	w.T.Helper()
	servertest.FillBuilds(w.T, w.Database, builds)
}

// TestSlowReadersHoldNobodyUp has many readers ask for all builds, and not read them.
func TestSlowReadersHoldNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, servertest.SecretKey)
	w.Check(event("on-merge"))
	w.Built(commit('1'), "success")
	w.fillBuilds(20_000)
	var verdict struct {
		Page  string `json:"page_url"`
		Badge string `json:"badge_url"`
	}
	w.Get("/api/v1/repositories/acme/widgets/pullrequests/7", &verdict)
	export := "GET " + servertest.ReportsPath + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.Token + "\r\nAccept: application/x-ndjson\r\n\r\n"
	for range 100 {
		w.hold(export)
	}
	for range 100 {
		w.hold("GET " + servertest.ReportsPath + "?pagelen=100 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.Token + "\r\n\r\n")
	}
	for range 3 {
		w.answersSoon("the API", func() servertest.Response { return w.Do(http.MethodGet, servertest.ReportsPath, w.Token, nil) }, 200)
		w.answersSoon("a page", func() servertest.Response { return w.Fetch(verdict.Page, "Accept", "text/html") }, 200)
		w.answersSoon("a badge", func() servertest.Response { return w.Fetch(verdict.Badge, "Accept", "image/svg+xml") }, 200)
		w.answersSoon("a merge check", func() servertest.Response { return w.Post("/forge/merge-check", w.Forge.Token(), event("on-merge")) }, 200)
	}
	w.answersSoon("one more export", func() servertest.Response { return w.Fetch(servertest.ReportsPath, "Accept", "application/x-ndjson") }, 429)
}

// TestLongReadsAreRefusedWhereThereAreTooMany asks for statistics of all builds, many
// times at once: the answers are statistics, or say when to come back.
func TestLongReadsAreRefusedWhereThereAreTooMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Check(event("on-merge"))
	w.Built(commit('1'), "success")
	w.fillBuilds(100_000)
	since := time.Now().AddDate(0, 0, -399).UTC().Format(time.RFC3339)
	var mu sync.Mutex
	answers := map[int]int{}
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+"/api/v1/repositories/acme/widgets/stats?since="+since, http.NoBody)
			if err != nil {
				return
			}
			req.Header.Set("Authorization", "Bearer "+w.Token)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = res.Body.Close() }()
			mu.Lock()
			defer mu.Unlock()
			answers[res.StatusCode]++
			if res.StatusCode != http.StatusOK && res.Header.Get("Retry-After") == "" {
				t.Errorf("answered %d without Retry-After", res.StatusCode)
			}
		})
	}
	for range 20 {
		if a := w.Check(event("on-merge")); !a.Success {
			t.Errorf("a merge check meanwhile: %s", a.Message)
		}
	}
	group.Wait()
	if answers[200] == 0 || answers[200]+answers[429]+answers[503] != 64 || answers[429] == 0 {
		t.Errorf("answers by status: %v", answers)
	}
}
