package server

import (
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"

	"mergegate/internal/bitbucket"
	"mergegate/internal/config"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// signedBy are the secrets that signed the body. All are tried, in constant time.
func (s *Server) signedBy(body []byte, header string) (signed []config.WebhookSecret) {
	for _, secret := range s.BitbucketSecrets {
		if bitbucket.Signed([]string{secret.Secret}, body, header) {
			signed = append(signed, secret)
		}
	}
	return signed
}

// maySpeak reports whether one of the secrets speaks for the workspace that an event
// says it is of. Whoever has another workspace's secret can write any UUID.
func (s *Server) maySpeak(ctx context.Context, secrets []config.WebhookSecret, told mergecheck.Event) (bool, error) {
	if told.WorkspaceUUID == "" {
		return true, nil // it tells nothing of anybody
	}
	for _, secret := range secrets {
		if secret.Workspace == "" || secret.Workspace == told.WorkspaceUUID {
			return true, nil
		}
		if uuid.Validate(secret.Workspace) == nil {
			continue
		}
		id, err := s.workspaceUUID(ctx, secret.Workspace, told)
		if err != nil || id != "" && id == told.WorkspaceUUID {
			return err == nil, err
		}
	}
	return false, nil
}

// workspaceUUID is the UUID of the workspace with this slug, as Bitbucket tells it; ""
// where that isn't known and the event's repository isn't the workspace's.
func (s *Server) workspaceUUID(ctx context.Context, slug string, told mergecheck.Event) (string, error) {
	id, err := s.Store.WorkspaceUUID(ctx, slug)
	workspace, _, _ := strings.Cut(told.FullName, "/")
	if err != nil || id != "" || !strings.EqualFold(workspace, slug) {
		return id, err
	}
	r, err := s.Receiving.Learn(ctx, told.FullName)
	if errors.Is(err, postgres.ErrNotFound) {
		return "", nil
	}
	return r.WorkspaceUUID, err
}
