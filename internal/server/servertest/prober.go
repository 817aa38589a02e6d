package servertest

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Prober asks merge checks all the time and holds each answer to its bound.
type Prober struct {
	tr *Traffic

	mu          sync.Mutex
	Longest     time.Duration
	Answers     int
	Unavailable int
}

// Probe asks until the returned function is called, with a pause between two
// questions of each of two people.
func (tr *Traffic) Probe(pause time.Duration) (p *Prober, end func()) {
	p = &Prober{tr: tr}
	ctx, stop := context.WithCancel(tr.T.Context())
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for ctx.Err() == nil {
				p.once()
				<-tick.C
			}
		})
	}
	return p, func() { stop(); group.Wait() }
}

func (p *Prober) once() {
	start := time.Now()
	body := strings.Replace(Event("on-merge", Bringing(HeadOf(101, 0))), `"id":7`, `"id":101`, 1)
	status, content, err := p.tr.request("/forge/merge-check", p.tr.Forge.Token(), body)
	took := time.Since(start)
	var a Answer
	if err != nil || status != http.StatusOK || json.Unmarshal(content, &a) != nil {
		p.tr.T.Errorf("merge check answered %d %s, error %v", status, content, err)
		return
	}
	if took > AnswerWithin {
		p.tr.T.Errorf("merge check answered after %s", took)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Answers++
	p.Longest = max(p.Longest, took)
	if strings.Contains(a.Message, "mergegate can't reach its database") {
		p.Unavailable++
		if a.Success {
			p.tr.T.Error("a merge check passed without its database")
		}
	}
}
