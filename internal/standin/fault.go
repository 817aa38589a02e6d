package standin

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Fault is how a request is answered instead of properly; the zero Fault is a proper answer. Of several kinds in one
// Fault the first one below that is set is what happens.
type Fault struct {
	Hang     bool   // no answer until the client goes away or the server closes
	Trickle  bool   // the proper answer, but a byte at a time: it takes minutes
	Reset    bool   // the answer breaks off in its middle
	Redirect string // 302 to this URL
	HTML     bool   // a page in HTML with Status (0: 200), as a proxy or a login page would send
	Body     string // this body with Status (0: 200), as JSON
	Status   int    // this status with an empty body

	RetryAfter string // a header beside any of the answers above

	// Applied has the request take its effect before the fault, so that only the answer is lost.
	Applied bool
}

func (f Fault) serve(w http.ResponseWriter, r *http.Request, proper http.Handler, closing <-chan struct{}) {
	if f == (Fault{}) {
		proper.ServeHTTP(w, r)
		return
	}
	if f.Applied {
		proper.ServeHTTP(discard{header: http.Header{}}, r)
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	switch {
	case f.Hang:
		hang(r, closing)
	case f.Trickle:
		trickle(w, r, proper)
	case f.Reset:
		reset(w)
	case f.Redirect != "":
		http.Redirect(w, r, f.Redirect, http.StatusFound)
	case f.HTML:
		f.write(w, "text/html; charset=utf-8", "<!DOCTYPE html><title>Sign in</title>")
	default:
		f.write(w, "application/json; charset=utf-8", f.Body)
	}
}

func (f Fault) write(w http.ResponseWriter, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	if f.Status != 0 {
		w.WriteHeader(f.Status)
	}
	_, _ = io.WriteString(w, body)
}

func hang(r *http.Request, closing <-chan struct{}) {
	select {
	case <-r.Context().Done():
	case <-closing:
	}
	panic(http.ErrAbortHandler) // no answer, not an empty one
}

// dripEvery is less than any time-out between two bytes would be.
const dripEvery = 200 * time.Millisecond

// trickle never lets a client wait for a byte, only for the answer.
func trickle(w http.ResponseWriter, r *http.Request, proper http.Handler) {
	answer := &kept{header: w.Header(), status: http.StatusOK}
	proper.ServeHTTP(answer, r)
	w.WriteHeader(answer.status)
	drip := time.NewTicker(dripEvery)
	defer drip.Stop()
	for _, b := range answer.body.Bytes() {
		_, _ = w.Write([]byte{b})
		_ = http.NewResponseController(w).Flush()
		select {
		case <-drip.C:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// kept is the ResponseWriter of an answer that is sent later.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) Write(p []byte) (int, error) { return k.body.Write(p) }
func (k *kept) WriteHeader(status int)      { k.status = status }

// reset promises more than it sends, so that no client can take the part for the whole.
func reset(w http.ResponseWriter) {
	const part = `{"type":`
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(1000+len(part)))
	_, _ = io.WriteString(w, part)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// discard is the ResponseWriter of an answer that gets lost.
type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
