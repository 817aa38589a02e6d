package server

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"mergegate/internal/postgres"
)

const (
	// exportBatch is how many builds are read at a time: what is kept in memory.
	exportBatch = 500
	ndjson      = "application/x-ndjson"
)

func wantsLines(c *gin.Context) bool { return strings.Contains(c.GetHeader("Accept"), ndjson) }

// lines writes documents one a line as they come, for who waits.
type lines struct {
	c       *gin.Context
	encoder *json.Encoder
	stream  *stream
}

func newLines(c *gin.Context) *lines {
	out := newStream(c)
	return &lines{c: c, stream: out, encoder: json.NewEncoder(out)}
}

// write writes one line. Who is gone, or too slow, ends the request: what it asked for
// would go on for nobody.
func (l *lines) write(document any) {
	if !l.c.Writer.Written() {
		l.c.Header("Content-Type", ndjson)
		l.c.Header("Cache-Control", "no-store")
		l.c.Status(http.StatusOK)
	}
	if l.encoder.Encode(document) != nil {
		panic(http.ErrAbortHandler)
	}
	l.stream.Flush()
}

// exportBuilds writes every build that the filter lets through, one JSON document
// on each line. What goes wrong on the way breaks the connection off, and so does a
// reader who is too slow: an end would look like the end of the list.
func (s *Server) exportBuilds(c *gin.Context, r postgres.Repository, f postgres.BuildFilter) error {
	f.Limit = exportBatch
	list, err := s.Store.Builds(c.Request.Context(), r, f)
	if err != nil {
		return err
	}
	c.Header("Content-Type", ndjson)
	c.Header("Cache-Control", "no-store")
	c.Status(http.StatusOK)
	out := newStream(c)
	lines := bufio.NewWriterSize(out, smallAnswer)
	encoder := json.NewEncoder(lines)
	for len(list) > 0 {
		for _, b := range list {
			if err := encoder.Encode(buildOf(r, b)); err != nil {
				panic(http.ErrAbortHandler) // whoever asked is gone, or too slow
			}
		}
		if err := lines.Flush(); err != nil {
			panic(http.ErrAbortHandler)
		}
		out.Flush()
		if len(list) < exportBatch {
			return nil
		}
		f.Before = list[len(list)-1].BuildID
		if list, err = s.Store.Builds(c.Request.Context(), r, f); err != nil {
			s.Log.ErrorContext(c.Request.Context(), "export stopped early", "request_id", requestID(c), "error", err)
			panic(http.ErrAbortHandler)
		}
	}
	return nil
}
