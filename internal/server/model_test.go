//go:build slow

package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/mergecheck/modeltest"
	"mergegate/internal/server/servertest"
)

// TestMergeChecksAgreeWithTheContract plays random histories to the running program, on
// a real database and with a slow Bitbucket: on the way no merge check passes by what
// was told to be over, and in the end verdicts are the model's. MODEL_HISTORIES is how
// many, MODEL_SEED the first one's seed.
func TestMergeChecksAgreeWithTheContract(t *testing.T) {
	t.Parallel()
	const atOnce = 10
	first := modelSeed(t)
	count := servertest.HowOften(t, "MODEL_HISTORIES", 20)
	t.Logf("MODEL_SEED=%d MODEL_HISTORIES=%d", first, count)
	for begin := 0; begin < count; begin += 2 * atOnce { // a program looks at what it knows every second
		t.Run(fmt.Sprintf("from %d", begin), func(t *testing.T) {
			s := newStage(t)
			defer s.Stop()
			limit := make(chan struct{}, atOnce)
			var group sync.WaitGroup
			for i := begin; i < min(count, begin+2*atOnce); i++ {
				group.Go(func() {
					limit <- struct{}{}
					defer func() { <-limit }()
					s.hold(modeltest.Random(first+uint64(i), 12))
				})
			}
			group.Wait()
		})
	}
}

func modelSeed(t *testing.T) uint64 {
	t.Helper()
	if n := servertest.HowOften(t, "MODEL_SEED", 0); n > 0 {
		return uint64(n)
	}
	return uint64(time.Now().UnixNano() / 1000)
}

// stage is a running program on which histories are played, each on a repository and a
// pull request of its own.
type stage struct {
	*world
	played  atomic.Int64
	waivers string // a token

	mu    sync.Mutex
	rules []string
	down  map[string]bool // repositories that Bitbucket doesn't answer for, by UUID
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{down: map[string]bool{}}
	s.world = idleWorld(t, "MERGEGATE_RECONCILE_INTERVAL=1s", "MERGEGATE_BITBUCKET_WEBHOOK_SECRET="+servertest.WebhookSecret, "MERGEGATE_APPVEYOR_TOKEN=acme=list-token")
	s.AppVeyor.RequireToken("acme", "list-token")
	s.Env["MERGEGATE_BITBUCKET_API_URL"] = s.slowly(s.Bitbucket.URL)
	s.Start()
	s.Token = s.TokenOf("model", "admin")
	s.waivers = s.TokenOf("release", "waive")
	s.Check(event("on-merge")) // now the workspace is known
	return s
}

// slowly stands before Bitbucket: it answers what was so a while ago, and sometimes not
// at all.
func (s *stage) slowly(target string) string {
	to, err := url.Parse(target)
	s.Must(err)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(res *http.Response) error {
			if res.Request.Method != http.MethodGet || !strings.Contains(res.Request.URL.Path, "/pullrequests/") {
				return nil
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				return err
			}
			_ = res.Body.Close()
			res.Body = io.NopCloser(strings.NewReader(string(body)))
			select {
			case <-time.After(50*time.Millisecond + rand.N(200*time.Millisecond)): //nolint:gosec // a delay, no secret
			case <-res.Request.Context().Done():
			}
			return nil
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.isDown(r.URL.Path) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	s.T.Cleanup(server.Close)
	return server.URL
}

func (s *stage) isDown(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for repository, down := range s.down {
		if down && strings.Contains(path, repository) {
			return true
		}
	}
	return false
}

// hold plays a history, and shows the shortest that fails too where it does.
func (s *stage) hold(h modeltest.History) {
	fault := s.play(h)
	if fault == "" {
		return
	}
	deadline := time.Now().Add(time.Minute)
	why := ""
	shortest := modeltest.Shortest(h, func(h modeltest.History) bool {
		for range 3 { // chance is in how slow Bitbucket is
			if time.Now().After(deadline) {
				return false
			}
			if fault := s.play(h); fault != "" {
				why = fault
				return true
			}
		}
		return false
	})
	s.T.Errorf("MODEL_SEED=%d: %s\n%s\nas it was found: %s\n%s", h.Seed, why, shortest, fault, h)
}

// play plays a history to its end and says what was wrong.
func (s *stage) play(h modeltest.History) string {
	p := s.newPlayer(h)
	for i, step := range h.Steps {
		p.step(step)
		p.arrive(i)
		if p.fault != "" {
			return p.fault
		}
	}
	p.arrive(1 << 30)
	return p.ends()
}

// player plays one history.
type player struct {
	*stage
	h    modeltest.History // as it is played: with the times at which it happened
	n    int64
	uuid string
	name string

	begun     time.Time
	k         modeltest.Knowledge
	due       []dueMessage
	snapshots []modeltest.Fact
	waiverIDs map[int64]string
	tokens    map[int64]string // for reports, by project
	fault     string
	steps     int
}

type dueMessage struct {
	after int // this step
	send  func()
}

func (s *stage) newPlayer(h modeltest.History) *player {
	n := s.played.Add(1)
	p := &player{
		stage: s, h: h.Unplayed(int(n)), n: n, uuid: fmt.Sprintf("15a31549-0000-4000-8000-%012d", n), name: fmt.Sprintf("acme/model-%04d", n),
		begun: time.Now().UTC().Truncate(time.Microsecond), waiverIDs: map[int64]string{}, tokens: map[int64]string{},
		k: modeltest.Knowledge{UpToDate: h.UpToDate, Looked: map[int64]modeltest.Time{}},
	}
	p.called(p.name)
	p.policyAsks(h.Policy)
	root := strings.Repeat("0", 40)
	p.Must(p.Bitbucket.AddCommit(p.name, root))
	for _, branch := range []string{"main", "release"} {
		p.Must(p.Bitbucket.AddCommit(p.name, p.tip(branch), root))
	}
	for _, letter := range "ATUB" {
		parents := []string{root}
		if h.UpToDate {
			parents = []string{p.tip("main"), p.tip("release")}
		}
		p.Must(p.Bitbucket.AddCommit(p.name, p.h.Commit(byte(letter)), parents...))
	}
	return p
}

// called has Bitbucket and AppVeyor call the repository so.
func (p *player) called(name string) {
	p.name = name
	p.Must(p.Bitbucket.AddRepository(bitbuckettest.Repository{WorkspaceUUID: workspaceUUID, UUID: p.uuid, FullName: name}))
	for id := range int64(3) {
		p.Must(p.AppVeyor.AddProject(appveyortest.Project{ID: p.project(id + 1), Account: "acme", Slug: p.slug(id + 1), RepositoryName: name}))
	}
}

// policyAsks has the workspace's policy ask of the repository what the history's asks.
func (p *player) policyAsks(policy modeltest.Policy) {
	var reports []string
	for _, id := range policy.AcceptReports {
		reports = append(reports, fmt.Sprintf("%d", p.project(id)))
	}
	for _, id := range policy.AcceptNamed {
		reports = append(reports, "acme/"+p.slug(id))
	}
	rule := fmt.Sprintf("- {repositories: [%q], accept_reports: [%s]", p.name+"*", strings.Join(reports, ", "))
	if policy.AcceptBranches {
		rule += ", accept_branch_builds: when_up_to_date"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, rule+"}")
	p.Policy("rules:\n" + strings.Join(p.rules, "\n"))
}

func (p *player) project(id int64) int64   { return 1_000_000 + 10*p.n + id }
func (p *player) slug(id int64) string     { return fmt.Sprintf("model-%04d-%d", p.n, id) }
func (p *player) build(id int64) int64     { return 1_000_000*p.n + id }
func (p *player) pullRequest() int64       { return 10_000 + p.n }
func (p *player) tip(branch string) string { return fmt.Sprintf("%.2x%036x", branch, p.n) }

// now is a time of its own.
func (p *player) now() modeltest.Time {
	return time.Since(p.begun).Truncate(time.Microsecond)
}

func (p *player) at(t modeltest.Time) time.Time { return p.begun.Add(t) }

func (p *player) step(s modeltest.Step) {
	if s.Do == modeltest.Waive {
		p.nextSecond()
	}
	s.At = p.now()
	p.h.Steps = append(p.h.Steps, s)
	p.steps = len(p.h.Steps)
	pr, updated := p.h.PullRequest(s.At)
	if pr.Head == "" {
		return
	}
	switch s.Do {
	case modeltest.Push, modeltest.Retarget, modeltest.Comment, modeltest.Close:
		if updated == s.At {
			p.put(pr, updated)
			p.tell(s, pr)
		}
	case modeltest.Begin, modeltest.Run, modeltest.End:
		p.appveyorHas(s)
	case modeltest.Report:
		p.report(s, pr)
	case modeltest.Waive:
		p.waive(s, pr)
	case modeltest.Revoke:
		p.revoke(s)
	case modeltest.Rename:
		p.called(fmt.Sprintf("acme/model-%04d-%d", p.n, p.steps))
		p.put(pr, updated)
	case modeltest.Ask:
		p.ask(s)
	case modeltest.Pause:
		<-time.After(100*time.Millisecond + rand.N(400*time.Millisecond)) //nolint:gosec // a delay, no secret
	case modeltest.Round, modeltest.Delete: // every second; and the stand-in forgets nothing
	}
	p.snapshots = append(p.snapshots, modeltest.Fact{PullRequest: pr, On: updated, Whole: true})
}

// nextSecond waits for it: what Bitbucket answers was so until the end of its second.
func (p *player) nextSecond() {
	now := time.Now()
	<-time.After(now.Truncate(time.Second).Add(time.Second).Sub(now))
}

func (p *player) put(pr modeltest.PullRequest, updated modeltest.Time) {
	state := "OPEN"
	if pr.Closed {
		state = "DECLINED"
	}
	p.Must(p.Bitbucket.PutPullRequest(p.name, bitbuckettest.PullRequest{
		ID: p.pullRequest(), State: state, Title: "Change something", SourceBranch: "feature", SourceCommit: pr.Head,
		DestinationBranch: pr.Destination, DestinationCommit: p.tip(pr.Destination), UpdatedOn: p.at(updated),
	}))
}

// tell has Bitbucket send what it sends of a change, as is its fate.
func (p *player) tell(s modeltest.Step, pr modeltest.PullRequest) {
	if s.Do == modeltest.Push {
		p.sent(s.PushFate, func() {
			f := modeltest.Fact{PullRequest: modeltest.PullRequest{Head: pr.Head}, On: s.At, Undated: s.Undated}
			if s.Undated {
				p.webhook(pr.Head)
				f.On = p.now()
			} else {
				p.event(fmt.Sprintf(`"eventType":"avi:bitbucket:push:repository","timestamp":%q,"push":{"ref":"refs/heads/feature","after":%q}`, p.stamp(s.At), pr.Head))
			}
			p.k.Facts = append(p.k.Facts, f)
		})
	}
	if s.Do == modeltest.Comment {
		return
	}
	p.sent(s.Fate, func() {
		short := pr
		short.Head = pr.Head[:12]
		state := "OPEN"
		if pr.Closed {
			state = "DECLINED"
		}
		p.event(fmt.Sprintf(`"eventType":"avi:bitbucket:updated:pullrequest","timestamp":%q,"pullrequest":{"id":%d,"state":%q,`+
			`"source":{"branch":"feature","commit":{"hash":%q},"repository":{"uuid":"{%s}"}},"destination":{"branch":%q,"commit":{"hash":%q}}}`,
			p.stamp(s.At), p.pullRequest(), state, short.Head, p.uuid, pr.Destination, p.tip(pr.Destination)[:12]))
		p.k.Facts = append(p.k.Facts, modeltest.Fact{PullRequest: short, On: s.At, Whole: true})
	})
}

func (p *player) stamp(t modeltest.Time) string { return p.at(t).Format(time.RFC3339Nano) }

// sent has a message arrive as is its fate, a tick being a step here.
func (p *player) sent(f modeltest.Fate, send func()) {
	if f.Lost {
		return
	}
	p.due = append(p.due, dueMessage{after: p.steps + f.Late/2, send: send})
	if f.Again > 0 {
		p.due = append(p.due, dueMessage{after: p.steps + f.Late/2 + f.Again, send: send})
	}
}

// arrive has everything arrive that is due after the step.
func (p *player) arrive(step int) {
	p.due = slices.DeleteFunc(p.due, func(m dueMessage) bool {
		if m.after > step+1 {
			return false
		}
		m.send()
		return true
	})
}

func (p *player) event(content string) {
	body := fmt.Sprintf(`{"workspace":{"uuid":"{%s}"},"repository":{"uuid":"{%s}"},%s}`, workspaceUUID, p.uuid, content)
	p.accepted(func() servertest.Response { return p.Post("/forge/events", p.Forge.Token(), body) })
}

// webhook tells of a push as Bitbucket's webhooks do: without a time.
func (p *player) webhook(head string) {
	body := fmt.Sprintf(`{"repository":{"uuid":"{%s}","full_name":%q,"owner":{"uuid":"{%s}"},"workspace":{"uuid":"{%s}"}},`+
		`"push":{"changes":[{"new":{"type":"branch","name":"feature","target":{"hash":%q}}}]}}`, p.uuid, p.name, workspaceUUID, workspaceUUID, head)
	p.accepted(func() servertest.Response {
		req, err := http.NewRequestWithContext(p.T.Context(), http.MethodPost, p.URL+"/webhooks/bitbucket", strings.NewReader(body))
		p.Must(err)
		req.Header.Set("X-Event-Key", "repo:push")
		req.Header.Set("X-Hub-Signature", signature(servertest.WebhookSecret, body))
		return servertest.Send(p.T, req)
	})
}

// accepted sends until it is acknowledged: what isn't was not told.
func (p *player) accepted(send func() servertest.Response) {
	p.T.Helper()
	p.Eventually("a message is acknowledged", func() bool {
		res := send()
		if res.Status != http.StatusAccepted && res.Status != http.StatusServiceUnavailable {
			p.T.Errorf("a message was answered %d %s", res.Status, res.Body)
			return true
		}
		return res.Status == http.StatusAccepted
	})
}

// appveyorHas has AppVeyor have the build as it is after the step, and tell of its end.
func (p *player) appveyorHas(s modeltest.Step) {
	for _, b := range p.h.Builds(s.At) {
		if b.ID != s.ID {
			continue
		}
		is := appveyortest.Build{
			ID: p.build(b.ID), Version: fmt.Sprintf("1.0.%d", b.ID), Branch: b.Destination, CommitID: b.CommitID,
			Status: b.State, Created: p.at(b.Created), Updated: p.at(b.Updated),
		}
		if b.State != "queued" {
			is.Started = p.at(b.Created)
		}
		if b.Finished != 0 {
			is.Finished = p.at(b.Finished)
		}
		if b.Kind == modeltest.OfPullRequest {
			is.PullRequestID, is.PullRequestName, is.PullRequestHeadCommit = p.pullRequest(), "Change something", b.Named
			is.PullRequestHeadRepository, is.PullRequestHeadBranch = p.name, "feature"
		} else {
			is.Branch = "feature"
		}
		_, err := p.AppVeyor.PutBuild("acme", p.slug(b.Project), is)
		p.Must(err)
		if s.Do == modeltest.End {
			p.sent(s.PushFate, func() {
				p.accepted(func() servertest.Response {
					return p.Post("/webhooks/appveyor", servertest.WebhookSecret, string(p.AppVeyor.WebhookBody(is.ID)))
				})
			})
		}
	}
}

// report is of a build script. Where nobody accepts it, none is sent: a token for it
// takes a while to be made.
func (p *player) report(s modeltest.Step, pr modeltest.PullRequest) {
	accepted := slices.Concat(p.h.Policy.AcceptReports, p.h.Policy.AcceptNamed)
	known := slices.ContainsFunc(p.k.Results, func(r modeltest.Result) bool { return r.ID == s.ID })
	if pr.Closed || known || !slices.Contains(accepted, s.Project) {
		return
	}
	if p.tokens[s.Project] == "" {
		p.tokens[s.Project] = p.TokenOf("script", "report", servertest.ReportingFor(p.project(s.Project)))
	}
	body := fmt.Sprintf(`{"project":{"id":%d,"slug":"acme/%s"},"build_id":%d,"version":"1.0.%d","state":%q,"pullrequest":{"id":%d},"source":{"commit":%q}}`,
		p.project(s.Project), p.slug(s.Project), p.build(s.ID), s.ID, s.State, p.pullRequest(), pr.Head)
	switch res := p.Post("/api/v1/repositories/"+p.name+"/builds", p.tokens[s.Project], body); res.Status {
	case http.StatusCreated:
		p.k.Results = append(p.k.Results, modeltest.Result{
			Kind: modeltest.Reported, ID: s.ID, Project: s.Project, Named: pr.Head, Destination: pr.Destination,
			State: s.State, Created: p.now(), Updated: p.now(),
		})
	case http.StatusConflict, http.StatusNotFound: // its new name or its head isn't known now
	default:
		p.T.Errorf("a report was answered %d %s", res.Status, res.Body)
	}
}

func (p *player) waiversPath() string {
	return fmt.Sprintf("/api/v1/repositories/%s/pullrequests/%d/waivers", p.name, p.pullRequest())
}

// waive gives a waiver, where the program finds what it is for. Half of them expire
// soon.
func (p *player) waive(s modeltest.Step, pr modeltest.PullRequest) {
	expires, project := "1h", ""
	if s.Life%2 == 0 {
		expires = "1s"
	}
	if s.Project != 0 {
		project = fmt.Sprintf(`,"project":%d`, p.project(s.Project))
	}
	res := p.Post(p.waiversPath(), p.waivers, fmt.Sprintf(`{"reason":"it is urgent","expires":%q%s}`, expires, project))
	if res.Status != http.StatusCreated {
		return
	}
	var given struct {
		ID                  string
		Commit, Destination string
		CreatedOn           time.Time `json:"created_on"`
		ExpiresOn           time.Time `json:"expires_on"`
	}
	p.Must(json.Unmarshal(res.Body, &given))
	if given.Commit != pr.Head || given.Destination != pr.Destination {
		p.fault = fmt.Sprintf("waiver %d is of %s into %s, and the pull request is %s into %s", s.ID, given.Commit, given.Destination, pr.Head, pr.Destination)
	}
	p.waiverIDs[s.ID] = given.ID
	p.k.Facts = append(p.k.Facts, modeltest.Fact{PullRequest: pr, On: s.At, Whole: true})
	p.k.Waivers = append(p.k.Waivers, modeltest.Waiver{
		ID: s.ID, Project: s.Project, Head: pr.Head, Destination: pr.Destination,
		Given: given.CreatedOn.Sub(p.begun), Expires: given.ExpiresOn.Sub(p.begun),
	})
}

func (p *player) revoke(s modeltest.Step) {
	for i, w := range p.k.Waivers {
		if w.ID != s.ID {
			continue
		}
		if res := p.Do(http.MethodDelete, p.waiversPath()+"/"+p.waiverIDs[w.ID], p.waivers, nil); res.Status == http.StatusNoContent {
			p.k.Waivers[i].Revoked = p.now()
		}
	}
}

// decided is a merge check's answer with what it was given for.
type decided struct {
	Success           bool
	Code, Message     string
	Head, Destination string
}

// ask asks a merge check with what its function read some steps ago. It never passes
// by a head, a destination or a state that is told to be over.
func (p *player) ask(s modeltest.Step) {
	if len(p.snapshots) == 0 {
		return
	}
	brought := p.snapshots[max(0, len(p.snapshots)-1-s.Back)]
	real, _ := p.h.PullRequest(s.At)
	read := &real
	if s.BitbucketDown {
		p.setDown(true)
		defer p.setDown(false)
		read = nil
	}
	allowed := []modeltest.PullRequest{real}
	body := p.question(nil, s.OnMerge)
	if !s.Nothing {
		allowed = append(allowed, p.k.Believed(brought, read))
		body = p.question(&brought, s.OnMerge)
	}
	d := p.decision(body)
	if !s.Nothing {
		p.k.Facts = append(p.k.Facts, brought)
	}
	if !d.Success {
		return
	}
	for _, pr := range allowed {
		if !pr.Closed && pr.Head == d.Head && pr.Destination == d.Destination && p.everPassed(d) {
			return
		}
	}
	p.fault = fmt.Sprintf("step %d passes (%s) for %.14s into %s; it was brought %.14s into %s of %s, and it is %.14s into %s",
		p.steps, d.Code, d.Head, d.Destination, brought.Head, brought.Destination, brought.On, real.Head, real.Destination)
}

// everPassed tells whether there ever was a result or a waiver that a pass could be by.
func (p *player) everPassed(d decided) bool {
	for _, s := range p.h.Steps {
		for _, b := range p.h.Builds(s.At) {
			if b.Head == d.Head && b.State == "success" {
				return true
			}
		}
	}
	return slices.ContainsFunc(p.k.Results, func(r modeltest.Result) bool { return r.Named == d.Head && r.State == "success" }) ||
		slices.ContainsFunc(p.k.Waivers, func(w modeltest.Waiver) bool { return w.Head == d.Head && w.Destination == d.Destination })
}

func (p *player) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down[p.uuid] = down
}

// question is the body of a merge check; brought nil: the function brings nothing.
func (p *player) question(brought *modeltest.Fact, onMerge bool) string {
	trigger := "on-code-pushed"
	if onMerge {
		trigger = "on-merge"
	}
	body := fmt.Sprintf(`{"workspace":{"uuid":"{%s}"},"repository":{"uuid":"{%s}"},"pullrequest":{"id":%d},"trigger":{"type":%q}`,
		workspaceUUID, p.uuid, p.pullRequest(), trigger)
	if brought != nil {
		state := "OPEN"
		if brought.Closed {
			state = "DECLINED"
		}
		body += fmt.Sprintf(`,"pullRequest":{"state":%q,"updated_on":%q,"source":{"commit":%q,"branch":"feature","repository":{"uuid":"{%s}","full_name":%q}},`+
			`"destination":{"commit":%q,"branch":%q,"repository":{"uuid":"{%s}","full_name":%q}}}`, state, p.stamp(brought.On), brought.Head, p.uuid, p.name,
			p.tip(brought.Destination), brought.Destination, p.uuid, p.name)
	}
	return body + "}"
}

// decision asks a merge check, and reads what was decided.
func (p *player) decision(body string) (d decided) {
	asked := p.Check(body)
	res := p.Do(http.MethodGet, fmt.Sprintf("/api/v1/repositories/{%s}/{%s}/pullrequests/%d/decisions?pagelen=1", workspaceUUID, p.uuid, p.pullRequest()), p.Token, nil)
	var list struct{ Values []decided }
	if res.Status == http.StatusOK {
		p.Must(json.Unmarshal(res.Body, &list))
	}
	if len(list.Values) == 0 || list.Values[0].Message != asked.Message {
		return decided{Success: asked.Success, Message: asked.Message}
	}
	return list.Values[0]
}

// ends asks again and again, until the verdict is the one that the model has.
func (p *player) ends() string {
	const within = 25 * time.Second
	pr, updated := p.h.PullRequest(p.h.End())
	if pr.Head == "" {
		return ""
	}
	brought := modeltest.Fact{PullRequest: pr, On: updated, Whole: true}
	p.k.Facts = append(p.k.Facts, brought)
	deadline := time.After(within)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		d := p.decision(p.question(&brought, true))
		want := p.wants(pr)
		if slices.Contains(want, d.Code) {
			return ""
		}
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Sprintf("it ends as %s (%s), and the contract says %s", d.Code, d.Message, strings.Join(want, " or "))
		}
	}
}

// wants are the codes that it may end with: what was read meanwhile may have told of
// what no message told of, or not. Where AppVeyor names no head, not to know
// which one a build is of is always a safe answer.
func (p *player) wants(pr modeltest.PullRequest) (codes []string) {
	told := p.k
	told.Results = slices.Clone(p.k.Results)
	unnamed := false
	for _, b := range p.h.Builds(p.h.End()) {
		if b.Kind == modeltest.OfPullRequest || p.h.Policy.AcceptBranches {
			told.Results = append(told.Results, b.Result)
		}
		unnamed = unnamed || b.Kind == modeltest.OfPullRequest && b.Named == ""
	}
	// In the end somebody has read the pull request.
	told.Facts = append(slices.Clone(told.Facts), modeltest.Fact{PullRequest: pr, On: p.now(), Whole: true})
	all := told
	all.Facts = slices.Clone(told.Facts)
	for _, s := range p.h.Steps {
		if was, _ := p.h.PullRequest(s.At); was.Head != "" {
			all.Facts = append(all.Facts, modeltest.Fact{PullRequest: was, On: s.At, Whole: true})
		}
	}
	codes = []string{told.Verdict(p.h.Policy, pr, p.now()).Code, all.Verdict(p.h.Policy, pr, p.now()).Code}
	if unnamed {
		codes = append(codes, "unavailable")
	}
	return codes
}
