package servertest

import (
	"fmt"
	"strings"
)

// What tests of effects ask for.
const (
	EffectsPath = "/api/v1/repositories/acme/widgets/pullrequests/7/effects"
	// AllEffects is a policy that has every effect, and NoEffects one that has none.
	AllEffects = `rules: [{effects: {approve: true, request_changes: true, comment: true, task: "AppVeyor has built it", report: true}}]`
	NoEffects  = `rules: []`
)

// Effect is one of a pull request's, as the API lists it.
type Effect struct {
	Effect, Outcome string
	Wanted, Made    string
	Reason          string
	HTTPStatus      int `json:"http_status"`
}

// Effects lists those of pull request 7 by name.
func (w *World) Effects() map[string]Effect {
	w.T.Helper()
	var list struct{ Values []Effect }
	w.Get(EffectsPath, &list)
	byName := map[string]Effect{}
	for _, e := range list.Values {
		byName[e.Effect] = e
	}
	return byName
}

// Look is what Bitbucket shows of pull request 7.
type Look struct {
	Approved, Requested bool
	Comments            int
	Says                string // what the first comment has in it, of what is looked for
	Tasks               string
	Reports             string // on all commits
}

// Looks sums up what Bitbucket shows; says is looked for in the comment.
func (w *World) Looks(says string) Look {
	participant := w.Bitbucket.Participant(Repository, 7, BitbucketToken)
	l := Look{Approved: participant == "approved", Requested: participant == "changes_requested"}
	for _, c := range w.Bitbucket.Comments(Repository, 7) {
		l.Comments++
		if strings.Contains(c.Raw, says) {
			l.Says = says
		}
	}
	for _, t := range w.Bitbucket.Tasks(Repository, 7) {
		l.Tasks += fmt.Sprintf("%s:%v ", t.Raw, t.Resolved)
	}
	for _, sha := range []string{Commit('1'), Commit('2')} {
		for _, r := range w.Bitbucket.Reports(Repository, sha) {
			l.Reports += fmt.Sprintf("%s:%s:%s ", sha[:1], r.ID, r.Result)
		}
	}
	return l
}

// Awaits waits until Bitbucket shows pull request 7 as is wanted.
func (w *World) Awaits(what string, want Look) {
	w.T.Helper()
	var got Look
	defer func() {
		if w.T.Failed() {
			w.T.Logf("%s: Bitbucket shows %+v, want %+v; effects %+v", what, got, want, w.Effects())
			for _, c := range w.Bitbucket.Comments(Repository, 7) {
				w.T.Logf("comment:\n%s", c.Raw)
			}
		}
	}()
	w.Eventually(what, func() bool { got = w.Looks(want.Says); return got == want })
}
