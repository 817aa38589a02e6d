package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"mergegate/api"
)

func policyPath(workspace string) string {
	return "/api/v1/workspaces/" + url.PathEscape(workspace) + "/policy"
}

// Workspaces lists the workspaces that are known.
func (c *Client) Workspaces(ctx context.Context) ([]api.Workspace, error) {
	var answer api.List[api.Workspace]
	err := c.get(ctx, "/api/v1/workspaces", &answer)
	return answer.Values, err
}

// Policy reads a workspace's policy: the one in force, or that version where it isn't 0.
func (c *Client) Policy(ctx context.Context, workspace string, version int64) (policy api.Policy, err error) {
	err = c.get(ctx, policyPath(workspace)+versioned(url.Values{}, version), &policy)
	return policy, err
}

// EffectivePolicy reads what applies to a repository's branch, by the policy in force or
// that version.
func (c *Client) EffectivePolicy(ctx context.Context, workspace, repository, branch string, version int64) (policy api.EffectivePolicy, err error) {
	query := url.Values{"repository": {repository}, "branch": {branch}}
	err = c.get(ctx, policyPath(workspace)+"/effective"+versioned(query, version), &policy)
	return policy, err
}

func versioned(query url.Values, version int64) string {
	if version != 0 {
		query.Set("version", strconv.FormatInt(version, 10))
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// ApplyPolicy puts a document in force.
func (c *Client) ApplyPolicy(ctx context.Context, workspace, document string) (policy api.Policy, err error) {
	err = c.do(ctx, http.MethodPut, policyPath(workspace), api.PolicyRequest{Document: &document}, &policy)
	return policy, err
}

// SimulatePolicy judges past merges by a document. since is a duration like 30d, or a time.
// It takes as long as ctx lets it.
func (c *Client) SimulatePolicy(ctx context.Context, workspace, document, since string) (result api.Simulation, err error) {
	path := policyPath(workspace) + "/simulate?" + url.Values{"since": {since}}.Encode()
	err = c.doAll(ctx, http.MethodPost, path, api.PolicyRequest{Document: &document}, decodeInto(&result))
	return result, err
}
