package server_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"mergegate/internal/server/servertest"
)

// soon is how long an answer may take while others do their worst: far less than the
// half minute after which a connection ends anyhow.
const soon = 5 * time.Second

// hold opens a connection to the program, sends the beginning of a request and keeps it
// open for as long as the test runs.
func (w *world) hold(request string) {
	w.T.Helper()
	conn, err := new(net.Dialer).DialContext(w.T.Context(), "tcp", strings.TrimPrefix(w.URL, "http://"))
	w.Must(err)
	w.T.Cleanup(func() { _ = conn.Close() })
	w.Must(conn.(*net.TCPConn).SetReadBuffer(4 << 10))
	_, err = io.WriteString(conn, request)
	w.Must(err)
}

// answersSoon asks once, and holds the answer to a status and to a time.
func (w *world) answersSoon(what string, ask func() servertest.Response, status int) {
	w.T.Helper()
	start := time.Now()
	res := ask()
	if took := time.Since(start); res.Status != status || took > soon {
		w.T.Errorf("%s is answered %d after %s: %.200s", what, res.Status, took.Round(time.Millisecond), res.Body)
	}
}

// TestSlowSendersHoldNobodyUp has many senders begin bodies that they don't end, at each
// route that takes one, and asks the same route once more.
func TestSlowSendersHoldNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MERGEGATE_BITBUCKET_WEBHOOK_SECRET=signing", servertest.SecretKey)
	w.Built(commit('1'), "success")
	mergeCheck := event("on-merge")
	const push = `{"repository":{"uuid":"{` + repositoryUUID + `}","owner":{"uuid":"{` + workspaceUUID + `}"}}}`
	begin := func(path, token string, length int) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n{", path, token, length)
	}
	waive := w.TokenOf("waive", "waive")
	tests := []struct {
		name   string
		begin  string
		ask    func() servertest.Response
		status int
	}{
		{name: "unsigned webhooks", begin: begin("/webhooks/bitbucket", "", 1000), status: 202, ask: func() servertest.Response {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/webhooks/bitbucket", strings.NewReader(push))
			w.Must(err)
			req.Header.Set("X-Hub-Signature", signature("signing", push))
			return servertest.Send(t, req)
		}},
		{name: "unsigned webhooks in chunks", begin: "POST /webhooks/bitbucket HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", status: 202, ask: func() servertest.Response {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/webhooks/bitbucket", strings.NewReader(push))
			w.Must(err)
			req.Header.Set("X-Hub-Signature", signature("signing", push))
			return servertest.Send(t, req)
		}},
		{name: "AppVeyor's webhook", begin: begin("/webhooks/appveyor", servertest.WebhookSecret, 5<<20), status: 202, ask: func() servertest.Response {
			return w.Post("/webhooks/appveyor", servertest.WebhookSecret, `{"eventName":"none","eventData":{"buildId":1}}`)
		}},
		{name: "Forge's events", begin: begin("/forge/events", w.Forge.Token(), 1<<20), status: 202, ask: func() servertest.Response {
			return w.Post("/forge/events", w.Forge.Token(), `{"eventType":"x","workspace":{"uuid":"{`+workspaceUUID+`}"}}`)
		}},
		{name: "merge checks", begin: begin("/forge/merge-check", w.Forge.Token(), 1<<20), status: 200, ask: func() servertest.Response {
			return w.Post("/forge/merge-check", w.Forge.Token(), mergeCheck)
		}},
		{name: "waivers", begin: begin("/api/v1/repositories/acme/widgets/pullrequests/7/waivers", waive, 1000), status: 201, ask: func() servertest.Response {
			return w.Post("/api/v1/repositories/acme/widgets/pullrequests/7/waivers", waive, `{"reason":"the agents are down"}`)
		}},
	}
	for _, tt := range tests {
		for range 100 {
			w.hold(tt.begin)
		}
		w.answersSoon(tt.name, tt.ask, tt.status)
	}
	w.answersSoon("the API", func() servertest.Response { return w.Do(http.MethodGet, servertest.ReportsPath, w.Token, nil) }, 200)
}
