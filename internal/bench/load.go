package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// requestOf is one whole HTTP/1.1 request, made before the clock starts: a generator that
// shares the machine with what it measures has to be cheap.
func requestOf(method, path, bearer string, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: gate.example\r\nAuthorization: Bearer %s\r\n", method, path, bearer)
	if body != nil {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// source hands out requests; nil ends the load.
type source func() []byte

// cycle hands out the list again and again, and goes on where the last load ended.
func cycle(list [][]byte, at *atomic.Int64) source {
	return func() []byte { return list[(at.Add(1)-1)%int64(len(list))] }
}

// once hands out each request one time.
func once(list [][]byte) source {
	var at atomic.Int64
	return func() []byte {
		if i := at.Add(1) - 1; i < int64(len(list)) {
			return list[i]
		}
		return nil
	}
}

// load is what came of one load.
type load struct {
	answered  int
	refused   int    // answers that aren't what was expected
	why       string // one of them was
	wall      time.Duration
	latencies []time.Duration // sorted
}

// percentile is the latency that a share p of the answers doesn't exceed.
func (l load) percentile(p float64) time.Duration {
	if len(l.latencies) == 0 {
		return 0
	}
	return l.latencies[min(int(p*float64(len(l.latencies))), len(l.latencies)-1)]
}

// expectation says whether an answer is the right one.
type expectation func(status int, body []byte) bool

func passed(status int, body []byte) bool {
	return status == 200 && bytes.Contains(body, []byte(`"success":true`))
}
func accepted(status int, _ []byte) bool { return status == 202 }
func found(status int, _ []byte) bool    { return status == 200 }

// drive sends requests over so many connections, one at a time on each, until the
// duration is over or the source has no more.
func drive(ctx context.Context, address string, connections int, next source, duration time.Duration, right expectation) load {
	results := make([]load, connections)
	var group sync.WaitGroup
	start := time.Now()
	for i := range results {
		group.Go(func() { results[i] = driveOne(ctx, address, next, start.Add(duration), right) })
	}
	group.Wait()
	total := load{wall: time.Since(start)}
	for _, l := range results {
		total.answered += l.answered
		total.refused += l.refused
		total.latencies = append(total.latencies, l.latencies...)
		if l.why != "" {
			total.why = l.why
		}
	}
	slices.Sort(total.latencies)
	return total
}

func driveOne(ctx context.Context, address string, next source, end time.Time, right expectation) (l load) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return load{refused: 1, why: err.Error()}
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	reader := bufio.NewReaderSize(conn, 32<<10)
	var body []byte
	for ctx.Err() == nil {
		sent := time.Now()
		if sent.After(end) {
			break
		}
		request := next()
		if request == nil {
			break
		}
		status := 0
		if _, err = conn.Write(request); err == nil {
			status, body, err = readAnswer(reader, body[:0])
		}
		if err != nil {
			l.refused, l.why = l.refused+1, err.Error()
			break
		}
		if !right(status, body) {
			l.refused, l.why = l.refused+1, fmt.Sprintf("%d %.300s", status, body)
			continue
		}
		l.answered++
		l.latencies = append(l.latencies, time.Since(sent))
	}
	return l
}

// readAnswer reads one response, whose body has a length or is chunked, into body.
func readAnswer(r *bufio.Reader, body []byte) (status int, _ []byte, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil || len(line) < len("HTTP/1.1 200") {
		return 0, body, fmt.Errorf("no answer: %w", err)
	}
	status, _ = strconv.Atoi(string(line[9:12])) // what isn't a number is no expected status
	length, chunked := 0, false
	for len(line) > 2 {
		if line, err = r.ReadSlice('\n'); err != nil {
			return status, body, err
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
		chunked = chunked || bytes.HasPrefix(line, []byte("Transfer-Encoding: chunked"))
	}
	if !chunked {
		body, err = take(r, body, length)
		return status, body, err
	}
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return status, body, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return status, body, err
		}
		if body, err = take(r, body, int(n)+2); err != nil || n == 0 {
			return status, body, err
		}
		body = body[:len(body)-2]
	}
}

// take appends the next n bytes to body.
func take(r *bufio.Reader, body []byte, n int) ([]byte, error) {
	for n > 0 {
		part, err := r.Peek(min(n, r.Size()))
		if err != nil {
			return body, err
		}
		body = append(body, part...)
		n -= len(part)
		_, _ = r.Discard(len(part)) // what was peeked at is there
	}
	return body, nil
}
