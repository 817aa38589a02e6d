package server_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"mergegate/internal/server/servertest"
)

// signature is what Bitbucket sends as X-Hub-Signature.
func signature(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// TestBitbucketWebhookAnswers sends webhooks as Bitbucket does, and as others
// might.
func TestBitbucketWebhookAnswers(t *testing.T) {
	t.Parallel()
	const secret = "bitbucket-secret-2b1e"
	w := newWorld(t, "MERGEGATE_BITBUCKET_WEBHOOK_SECRET=older,"+secret)
	const body = `{"repository":{"uuid":"{` + repositoryUUID + `}","full_name":"acme/widgets","owner":{"uuid":"{` + workspaceUUID + `}"}},` +
		`"pullrequest":{"id":7,"state":"DECLINED","updated_on":"2026-07-03T01:28:05.903251+00:00"}}`
	tests := []struct {
		name, body, signature, request string
		status                         int
	}{
		{name: "signed", body: body, signature: signature(secret, body), request: "one", status: 202},
		{name: "sent again", body: body, signature: signature(secret, body), request: "one", status: 202},
		{name: "signed with the older secret", body: body, signature: signature("older", body), request: "two", status: 202},
		{name: "not signed", body: body, status: 401},
		{name: "signed with another secret", body: body, signature: signature("x", body), status: 401},
		{name: "changed after signing", body: body + " ", signature: signature(secret, body), status: 401},
		{name: "bad signature comes before bad body", body: "{", signature: "sha256=00", status: 401},
		{name: "not JSON", body: "{", signature: signature(secret, "{"), status: 400},
		{name: "too large", body: strings.Repeat(" ", 2<<20), signature: signature(secret, ""), status: 413},
		{name: "NUL in a header", body: "{}", signature: signature(secret, "{}"), request: "\xff", status: 400},
		{name: "an unknown event", body: "{}", signature: signature(secret, "{}"), request: "three", status: 202},
	}
	ids := map[string]string{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/webhooks/bitbucket", strings.NewReader(tt.body))
			w.Must(err)
			req.Header.Set("X-Event-Key", "pullrequest:rejected")
			req.Header.Set("X-Hub-Signature", tt.signature)
			if tt.request != "" {
				req.Header.Set("X-Request-UUID", tt.request)
			}
			res := servertest.Send(t, req)
			servertest.HoldToSpecification(t, req, []byte(tt.body), res)
			if res.Status != tt.status {
				t.Fatalf("answered %d %s, want %d", res.Status, res.Body, tt.status)
			}
			if res.Status != http.StatusAccepted {
				problemOf(t, res)
				return
			}
			var stored struct{ Delivery string }
			w.Must(json.Unmarshal(res.Body, &stored))
			if before, ok := ids[tt.request]; ok && before != stored.Delivery {
				t.Errorf("the same request is delivery %s and %s", before, stored.Delivery)
			}
			ids[tt.request] = stored.Delivery
		})
	}
	for _, d := range w.Settled() {
		if d.Outcome != "processed" {
			t.Errorf("delivery %+v", d)
		}
	}
	if strings.Contains(w.Log(), secret) {
		t.Error("the log has the secret")
	}
}

// TestClosingEndsAStatusInProgress declines a pull request while it is built.
func TestClosingEndsAStatusInProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Check(event("on-merge")) // links the repository
	w.Built(commit('1'), "running")
	w.Must(w.Bitbucket.Decline(repository, 7)) // whoever looks meanwhile is told the same
	body := `{"eventType":"avi:bitbucket:rejected:pullrequest","workspace":{"uuid":"{` + workspaceUUID + `}"},"repository":{"uuid":"{` + repositoryUUID + `}"},` +
		`"pullrequest":{"id":7,"state":"DECLINED","source":{"branch":"feature","commit":{"hash":"111111111111"}},"destination":{"branch":"main"}}}`
	if res := w.Post("/forge/events", w.Forge.Token(), body); res.Status != http.StatusAccepted {
		t.Fatalf("answered %d %s", res.Status, res.Body)
	}
	w.Shows(commit('1'), "STOPPED")
}
