package bitbucket

import (
	"context"
	"net/http"
)

// NameOf reads what the repository with these UUIDs is called now, "workspace/slug". It is the one source of names: what
// an event or a build says is only a hint.
func (c *Client) NameOf(ctx context.Context, workspaceUUID, repositoryUUID string) (string, error) {
	answer, err := c.Repository(ctx, workspaceUUID, repositoryUUID)
	if err != nil {
		return "", err
	}
	if answer.UUID != repositoryUUID || answer.WorkspaceUUID != "" && answer.WorkspaceUUID != workspaceUUID {
		return "", &Error{Op: "read the name of a repository", StatusCode: http.StatusOK, Message: "the answer is another repository"}
	}
	return answer.FullName, nil
}
