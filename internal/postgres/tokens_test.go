package postgres_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"mergegate/internal/postgres"
)

func TestTokenByHash(t *testing.T) {
	t.Parallel()
	store := open(t)
	valid := postgres.Token{Name: "valid", Scopes: []string{"read", "waive"}, Owner: "{u}", Repository: "ws/*", ExpiresOn: new(later)}
	for _, tt := range []struct {
		name    string
		token   postgres.Token
		revoked bool
		found   bool
	}{
		{name: "valid", token: valid, found: true},
		{name: "without expiry", token: postgres.Token{Name: "forever", Scopes: []string{"admin"}, Repository: "**"}, found: true},
		{name: "expired", token: postgres.Token{Name: "expired", Scopes: []string{"admin"}, Repository: "**", ExpiresOn: new(time.Unix(1, 0))}},
		{name: "revoked", token: postgres.Token{Name: "revoked", Scopes: []string{"admin"}, Repository: "**"}, revoked: true},
	} {
		id, err := store.AddToken(t.Context(), tt.token, []byte(tt.name))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // revoking twice changes nothing
			if tt.revoked {
				if err := store.RevokeToken(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
		}
		got, err := store.TokenByHash(t.Context(), []byte(tt.name))
		if isNotFound(err) == tt.found {
			t.Errorf("%s: %v; found: want %t", tt.name, err, tt.found)
		}
		if tt.found {
			want := tt.token
			want.ID = id
			equal(t, tt.name, want, got, cmpopts.IgnoreFields(postgres.Token{}, "CreatedOn"))
		}
		used := query[bool](t, store, `SELECT last_used_on IS NOT NULL FROM tokens WHERE id = $1`, id)
		equal(t, tt.name+": used", []bool{tt.found}, used)
	}
	if _, err := store.TokenByHash(t.Context(), []byte("none")); !isNotFound(err) {
		t.Errorf("no such token: %v, want ErrNotFound", err)
	}
	if _, err := store.AddToken(t.Context(), valid, []byte("valid")); err == nil {
		t.Error("a hash was added twice")
	}
	if err := store.RevokeToken(t.Context(), 99); !isNotFound(err) {
		t.Errorf("revoke no token: %v, want ErrNotFound", err)
	}
	list, err := store.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, token := range list {
		names = append(names, token.Name)
	}
	equal(t, "oldest first", []string{"valid", "forever", "expired", "revoked"}, names)
}

func TestTokensNeedTheirBounds(t *testing.T) {
	t.Parallel()
	store := open(t)
	for _, token := range []postgres.Token{
		{Name: "no repositories", Scopes: []string{"read"}},
		{Name: "blank repositories", Scopes: []string{"read"}, Repository: " "},
		{Name: "no project", Scopes: []string{"read", "report"}, Repository: "**"},
	} {
		if _, err := store.AddToken(t.Context(), token, []byte(token.Name)); !errors.Is(err, postgres.ErrUnbounded) {
			t.Errorf("%s: %v", token.Name, err)
		}
	}
	if _, err := store.Pool().Exec(t.Context(), `INSERT INTO tokens (name, hash, scopes, repository) VALUES ('x', 'x', '{read}', '')`); err == nil {
		t.Error("a row with an empty glob was added")
	}
}

func TestTokenUseIsNotedToTheMinute(t *testing.T) {
	t.Parallel()
	store := open(t)
	id, err := store.AddToken(t.Context(), postgres.Token{Name: "t", Scopes: []string{"read"}, Repository: "**"}, []byte("h"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, ago string
		noted     bool
	}{
		{name: "just used", ago: "30 seconds"},
		{name: "used a while ago", ago: "61 seconds", noted: true},
	} {
		exec(t, store, `UPDATE tokens SET last_used_on = now() - $1::text::interval WHERE id = $2`, tt.ago, id)
		if _, err := store.TokenByHash(t.Context(), []byte("h")); err != nil {
			t.Fatal(err)
		}
		equal(t, tt.name, []bool{tt.noted}, query[bool](t, store, `SELECT last_used_on > now() - interval '20 seconds' FROM tokens`))
	}
}
