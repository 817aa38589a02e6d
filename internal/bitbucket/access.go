package bitbucket

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Access is what an answer tells about the credential that asked. Bitbucket tells not every kind of credential all of
// it.
type Access struct {
	Scopes    []string  // nil: not told
	RateLimit int       // requests in an hour; 0: not told
	NearLimit bool      // less than a fifth of them is left
	On        time.Time // Bitbucket's clock, to the second; zero: not told
}

// Access reads a repository for what the answer tells besides; that is told of a refusal too.
func (c *Client) Access(ctx context.Context, workspace, repo string) (Access, error) {
	op := "get repository " + workspace + "/" + repo
	u, err := c.repositoryURL(op, workspace, repo)
	if err != nil {
		return Access{}, err
	}
	header := http.Header{}
	var answer repositoryAnswer
	err = c.do(ctx, call{op: op, method: http.MethodGet, url: u, header: &header}, &answer)
	if err == nil && answer.UUID == "" {
		err = &Error{Op: op, StatusCode: http.StatusOK, Message: "the answer isn't a repository"}
	}
	return accessOf(header), err
}

func accessOf(header http.Header) Access {
	var a Access
	if values := header.Values("X-OAuth-Scopes"); len(values) > 0 {
		a.Scopes = strings.FieldsFunc(strings.Join(values, ","), func(r rune) bool { return r == ',' || r == ' ' })
	}
	if limit, err := strconv.Atoi(header.Get("X-RateLimit-Limit")); err == nil && limit > 0 && limit <= maxLimit {
		a.RateLimit = limit
	}
	a.NearLimit, _ = strconv.ParseBool(header.Get("X-RateLimit-NearLimit"))
	a.On = date(header)
	return a
}
