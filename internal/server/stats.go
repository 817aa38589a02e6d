package server

import (
	"time"

	"github.com/gin-gonic/gin"

	"mergegate/api"
	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

const (
	// defaultStats is how far statistics look back where nothing is asked for.
	defaultStats = 30 * 24 * time.Hour
	// maxStats bounds what one request has the database add up.
	maxStats = 400 * 24 * time.Hour
)

// getStats adds up a repository's builds and merge checks of a time.
func (s *Server) getStats(c *gin.Context, token postgres.Token) error {
	repository, err := s.repository(c, token)
	if err != nil {
		return err
	}
	q := newQuery(c.Request, "since", "until")
	since, until := q.instant("since"), q.instant("until")
	if q.err != nil {
		return q.err
	}
	if until.IsZero() {
		if until, err = s.Store.Now(c.Request.Context()); err != nil {
			return err
		}
	}
	if since.IsZero() {
		since = until.Add(-defaultStats)
	}
	switch {
	case !since.Before(until):
		return errParameter.with("since is not before until")
	case until.Sub(since) > maxStats:
		return errParameter.with("since and until are more than %d days apart", maxStats/(24*time.Hour))
	}
	stats, err := s.Store.Stats(c.Request.Context(), repository, since, until)
	if err != nil {
		return err
	}
	return writeJSON(c, statsOf(stats, since, until))
}

func statsOf(stats postgres.Stats, since, until time.Time) api.Stats {
	w := api.Stats{
		Since: since.UTC(), Until: until.UTC(),
		Builds:    api.BuildCount{ByState: map[string]int64{}},
		Duration:  distOf(stats.Duration),
		ToVerdict: distOf(stats.PushToVerdict),
		Merges:    api.MergeCount{Passed: stats.Passed, ByCode: map[string]int64{}},
	}
	for _, state := range mergecheck.States {
		w.Builds.ByState[string(state)] = stats.Builds[state]
		w.Builds.Total += stats.Builds[state]
	}
	if ended := stats.Builds[mergecheck.Success] + stats.Builds[mergecheck.Failed]; ended > 0 {
		w.PassRate = new(float64(stats.Builds[mergecheck.Success]) / float64(ended))
	}
	for code, n := range stats.Blocked {
		w.Merges.ByCode[code] = n
		w.Merges.Blocked += n
	}
	return w
}

func distOf(d postgres.Distribution) *api.Distribution {
	if len(d) != 4 {
		return nil
	}
	return &api.Distribution{P50: d[0], P90: d[1], P99: d[2], Max: d[3]}
}
