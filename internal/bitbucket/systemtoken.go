package bitbucket

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"time"
)

// unknownExpiry is how long a token is used that doesn't say when it expires.
// Delivered ones are valid for 2 to 4 hours.
const unknownExpiry = time.Hour

// SystemTokens keeps the newest Forge app system token of each workspace, in
// memory only, until it expires. The zero value is ready to use.
type SystemTokens struct {
	mu     sync.Mutex
	tokens map[string]systemToken
}

type systemToken struct {
	text      string
	expiresOn time.Time
}

// noticeably is how much later a token has to expire to be worth storing anew.
const noticeably = 10 * time.Minute

// Keep notes a token that Forge sent along for this workspace, and returns when it expires and whether that is
// noticeably later than what was kept. An empty token changes nothing.
func (t *SystemTokens) Keep(workspaceUUID, token string) (expiresOn time.Time, newer bool) {
	if token == "" {
		return time.Time{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tokens == nil {
		t.tokens = map[string]systemToken{}
	}
	expiresOn = expiry(token, time.Now())
	newer = expiresOn.After(t.tokens[workspaceUUID].expiresOn.Add(noticeably))
	t.tokens[workspaceUUID] = systemToken{text: token, expiresOn: expiresOn}
	return expiresOn, newer
}

// Token returns the workspace's token, or "" when there is none that is valid.
func (t *SystemTokens) Token(workspaceUUID string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept, ok := t.tokens[workspaceUUID]
	if ok && time.Now().After(kept.expiresOn) {
		delete(t.tokens, workspaceUUID)
		return ""
	}
	return kept.text
}

// Drop forgets the workspace's token, if it is this one; "" for whichever it is.
func (t *SystemTokens) Drop(workspaceUUID, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if token == "" || t.tokens[workspaceUUID].text == token {
		delete(t.tokens, workspaceUUID)
	}
}

// Expiries returns when the valid tokens expire, by workspace.
func (t *SystemTokens) Expiries() map[string]time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	expiries := map[string]time.Time{}
	for workspace, kept := range t.tokens {
		if time.Now().Before(kept.expiresOn) {
			expiries[workspace] = kept.expiresOn
		}
	}
	return expiries
}

// expiry reads exp, the one claim of the token that Atlassian documents. It is
// not verified: Bitbucket does that.
func expiry(token string, now time.Time) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return now.Add(unknownExpiry)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Exp int64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Exp <= 0 {
		return now.Add(unknownExpiry)
	}
	return time.Unix(claims.Exp, 0)
}
