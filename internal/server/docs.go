package server

import (
	"github.com/gin-gonic/gin"
	swagger "github.com/swaggest/swgui/v5emb"
)

// docsPath is where the API's description can be read, and tried.
const docsPath = "/docs"

// docsPolicy lets the page load nothing from elsewhere. Its own scripts and styles
// are written into it.
const docsPolicy = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"

func docs() gin.HandlerFunc {
	handler := swagger.New("mergegate API", "/openapi.yaml", docsPath)
	return func(c *gin.Context) {
		c.Header("Content-Security-Policy", docsPolicy)
		c.Header("Referrer-Policy", "no-referrer")
		if c.Request.URL.Path == docsPath {
			c.Request.URL.Path += "/" // where the page's own files are relative to
		}
		handler.ServeHTTP(c.Writer, c.Request)
	}
}
