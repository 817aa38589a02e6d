package server

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// writeJSON writes a document that can be asked for again with its ETag. The tag
// is weak: it is of what is said, not of how that is compressed.
func writeJSON(c *gin.Context, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	writeTagged(c, "application/json; charset=utf-8", body)
	return nil
}

func writeTagged(c *gin.Context, contentType string, body []byte) {
	sum := sha256.Sum256(body)
	tag := `W/"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	c.Header("ETag", tag)
	c.Header("Cache-Control", "private, no-cache") // keep it, and ask whether it is still so
	c.Writer.Header().Add("Vary", "Authorization")
	c.Writer.Header().Add("Vary", "Accept")
	if matches(c.GetHeader("If-None-Match"), tag) {
		c.Status(http.StatusNotModified)
		return
	}
	c.Data(http.StatusOK, contentType, body)
}

// matches compares as RFC 9110 has it for If-None-Match: weakly.
func matches(header, tag string) bool {
	for given := range strings.SplitSeq(header, ",") {
		given = strings.TrimSpace(given)
		if given == "*" || given != "" && strings.TrimPrefix(given, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}
