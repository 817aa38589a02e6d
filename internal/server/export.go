package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"mergegate/internal/postgres"
)

const (
	// exportBatch is how many builds are read at a time: what is kept in memory.
	exportBatch = 500
	// exportWrite is how long a batch may take to be read by the other side.
	exportWrite = 30 * time.Second
	ndjson      = "application/x-ndjson"
)

func wantsLines(c *gin.Context) bool { return strings.Contains(c.GetHeader("Accept"), ndjson) }

// exportBuilds writes every build that the filter lets through, one JSON document
// on each line. What goes wrong on the way breaks the connection off: an end
// would look like the end of the list.
func (s *Server) exportBuilds(c *gin.Context, r postgres.Repository, f postgres.BuildFilter) error {
	f.Limit = exportBatch
	list, err := s.Store.Builds(c.Request.Context(), r, f)
	if err != nil {
		return err
	}
	c.Header("Content-Type", ndjson)
	c.Header("Cache-Control", "no-store")
	c.Status(http.StatusOK)
	control := http.NewResponseController(c.Writer)
	lines := json.NewEncoder(c.Writer)
	for len(list) > 0 {
		_ = control.SetWriteDeadline(time.Now().Add(exportWrite)) // a writer without deadlines has none to move
		for _, b := range list {
			if err := lines.Encode(buildOf(r, b)); err != nil {
				return nil //nolint:nilerr // whoever asked is gone
			}
		}
		c.Writer.Flush()
		if len(list) < exportBatch {
			return nil
		}
		f.Before = list[len(list)-1].BuildID
		if list, err = s.Store.Builds(c.Request.Context(), r, f); err != nil {
			s.Log.ErrorContext(c.Request.Context(), "export broken off", "request_id", requestID(c), "error", err)
			panic(http.ErrAbortHandler)
		}
	}
	return nil
}
