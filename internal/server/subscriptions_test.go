package server_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"mergegate/api"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/server/servertest"
)

const subscriptionsPath = "/api/v1/workspaces/acme/subscriptions"

// receiver is somebody's program that notifications are sent to.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	answers  []int // of the next requests; then 204
	received []received
}

type received struct {
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T, answers ...int) *receiver {
	t.Helper()
	r := &receiver{answers: answers}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.received = append(r.received, received{req.Header.Clone(), body})
		status := http.StatusNoContent
		if len(r.answers) > 0 {
			status, r.answers = r.answers[0], r.answers[1:]
		}
		w.Header().Set("Location", "http://169.254.169.254/")
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.received)
}

// types are the events received, each once.
func (r *receiver) types(t *testing.T) []string {
	t.Helper()
	var types []string
	for _, got := range r.all() {
		var message struct{ Type string }
		if err := json.Unmarshal(got.body, &message); err != nil {
			t.Fatal(err)
		}
		types = append(types, message.Type)
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// verdicts are the codes of verdicts that were told, in order.
func (r *receiver) verdicts(t *testing.T) string {
	t.Helper()
	var codes []string
	for _, got := range r.all() {
		var event api.Event
		if err := json.Unmarshal(got.body, &event); err != nil {
			t.Fatal(err)
		}
		if event.Data.Verdict != nil {
			codes = append(codes, event.Data.Verdict.Code)
		}
	}
	return strings.Join(codes, " ")
}

type subscribed struct {
	ID, Secret string
	DisabledOn *string `json:"disabled_on"`
}

func (w *world) subscribe(address string, events ...string) (made subscribed) {
	w.T.Helper()
	body, err := json.Marshal(map[string]any{"url": address, "events": events})
	w.Must(err)
	res := w.Post(subscriptionsPath, w.Token, string(body))
	if res.Status != http.StatusCreated {
		w.T.Fatalf("subscribing was answered %d %s", res.Status, res.Body)
	}
	w.Must(json.Unmarshal(res.Body, &made))
	return made
}

func verified(t *testing.T, secret string, got received) error {
	t.Helper()
	check, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return check.Verify(got.body, got.header)
}

// holdsToTheAPI looks up what an event tells of by the ids in it, waivers with the token waiving.
func (w *world) holdsToTheAPI(told api.EventData, waiving string) {
	w.T.Helper()
	if told.Build != nil {
		var build api.Build
		w.Get("/api/v1/builds/"+told.Build.ID, &build)
		if build.BuildID != told.Build.BuildID || build.Project != told.Build.Project || build.Repository.UUID == nil {
			w.T.Errorf("build %s is %+v, and was told as %+v", told.Build.ID, build, told.Build)
		}
	}
	if told.Waiver != nil {
		var list struct{ Values []api.Waiver }
		res := w.Do(http.MethodGet, "/api/v1/repositories/acme/widgets/pullrequests/7/waivers", waiving, nil)
		w.Must(json.Unmarshal(res.Body, &list))
		if diff := cmp.Diff([]api.Waiver{*told.Waiver}, list.Values); diff != "" {
			w.T.Errorf("waivers told and listed (-told +listed):\n%s", diff)
		}
	}
	if told.CommitStatus != nil {
		var list struct{ Values []api.CommitStatus }
		w.Get("/api/v1/commit-statuses?outcome=failed", &list)
		ignored := cmpopts.IgnoreFields(api.CommitStatus{}, "UpdatedOn")
		if diff := cmp.Diff([]api.CommitStatus{*told.CommitStatus}, list.Values, ignored); diff != "" {
			w.T.Errorf("statuses told and listed (-told +listed):\n%s", diff)
		}
	}
	if v := told.Verdict; v != nil && v.Code == "waived" && (told.Previous == nil || told.Previous.Code != "failed") {
		w.T.Errorf("waived after %+v", told.Previous)
	}
}

func TestSubscribersAreNotified(t *testing.T) {
	t.Parallel()
	w := newWorld(t, servertest.SecretKey, "MERGEGATE_WEBHOOK_NETWORKS=127.0.0.0/8")
	w.Expect("no_build", "")
	r := newReceiver(t)
	all := []string{"verdict.changed", "build.confirmed", "waiver.given", "status.refused"}
	made := w.subscribe(r.URL+"/subscribed", all...)
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(made.Secret, "whsec_")); err != nil || len(raw) < 24 {
		t.Errorf("secret of %d bytes, %v", len(raw), err)
	}
	w.Built(commit('1'), "failed")
	w.Eventually("the verdict is told without anybody asking", func() bool { return strings.HasSuffix(r.verdicts(t), "failed") })
	w.Expect("failed", "") // nothing new
	waiving := w.TokenOf("release", "waive")
	w.waive(waiving, `{"reason":"because"}`)
	w.Eventually("it is told again", func() bool { return strings.HasSuffix(r.verdicts(t), "failed waived") })
	w.Expect("waived", "")
	// What Bitbucket doesn't take for what it is, is not tried again.
	w.Bitbucket.OnRequest(func(r *http.Request) bitbuckettest.Fault {
		if r.Method == http.MethodPost && strings.Contains(r.URL.Path, commit('9')) {
			return bitbuckettest.Fault{Status: http.StatusBadRequest, Body: `{"type":"error","error":{"message":"key: too long"}}`}
		}
		return bitbuckettest.Fault{}
	})
	w.Notify(w.Build(commit('9'), "success"))
	want := slices.Sorted(slices.Values(all))
	w.Eventually("every event is told", func() bool { return slices.Equal(r.types(t), want) })

	for _, got := range r.all() {
		if err := verified(t, made.Secret, got); err != nil {
			t.Errorf("%s: %v", got.body, err)
		}
		servertest.HoldEventToSpecification(t, got.body)
		var event api.Event
		w.Must(json.Unmarshal(got.body, &event))
		w.holdsToTheAPI(event.Data, waiving)
	}
	if told := r.verdicts(t); !strings.HasSuffix(told, "failed waived") {
		t.Errorf("told of %s", told)
	}
	if strings.Contains(w.Log(), strings.TrimPrefix(made.Secret, "whsec_")) {
		t.Error("the log has the secret")
	}
	var list struct{ Values []map[string]any }
	w.Get(subscriptionsPath, &list)
	if len(list.Values) != 1 || list.Values[0]["secret"] != nil {
		t.Errorf("listed %v", list.Values)
	}
}

func TestNotificationsAreRetriedAndReplayed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, servertest.SecretKey, "MERGEGATE_WEBHOOK_NETWORKS=127.0.0.0/8")
	w.Expect("no_build", "")
	r := newReceiver(t, http.StatusInternalServerError)
	made := w.subscribe(r.URL, "waiver.given")
	path := subscriptionsPath + "/" + made.ID
	if res := w.Post(path+"/test", w.Token, ""); res.Status != http.StatusAccepted {
		t.Fatalf("testing was answered %d %s", res.Status, res.Body)
	}
	type message struct {
		ID, Event, Outcome string
		Attempts           []struct {
			HTTPStatus int `json:"http_status"`
		}
	}
	var messages struct{ Values []message }
	w.Eventually("the second attempt is taken", func() bool {
		w.Get(path+"/notifications", &messages)
		return len(messages.Values) == 1 && messages.Values[0].Outcome == "delivered"
	})
	if a := messages.Values[0].Attempts; len(a) != 2 || a[0].HTTPStatus != 500 || a[1].HTTPStatus != 204 {
		t.Errorf("attempts %+v", a)
	}
	first, second := r.all()[0], r.all()[1]
	if first.header.Get("webhook-id") != second.header.Get("webhook-id") || string(first.body) != string(second.body) {
		t.Errorf("two attempts differ: %v, %v", first, second)
	}

	res := w.Post(path+"/rotate", w.Token, "")
	var rotated subscribed
	w.Must(json.Unmarshal(res.Body, &rotated))
	if res.Status != http.StatusOK || rotated.Secret == made.Secret || rotated.Secret == "" {
		t.Fatalf("rotating was answered %d %s", res.Status, res.Body)
	}
	if res := w.Post(path+"/notifications/"+messages.Values[0].ID+"/replay", w.Token, ""); res.Status != http.StatusAccepted {
		t.Fatalf("replaying was answered %d %s", res.Status, res.Body)
	}
	w.Eventually("it is sent again", func() bool { return len(r.all()) == 3 })
	for _, secret := range []string{made.Secret, rotated.Secret} {
		if err := verified(t, secret, r.all()[2]); err != nil {
			t.Errorf("after rotating: %v", err)
		}
	}

	r.mu.Lock()
	r.answers = []int{http.StatusGone}
	r.mu.Unlock()
	w.Post(path+"/test", w.Token, "")
	w.Eventually("410 disables it", func() bool {
		var now subscribed
		w.Get(path, &now)
		return now.DisabledOn != nil
	})
	if res := w.Do(http.MethodDelete, path, w.Token, nil); res.Status != http.StatusNoContent {
		t.Errorf("deleting was answered %d %s", res.Status, res.Body)
	}
	if res := w.Do(http.MethodGet, path, w.Token, nil); res.Status != http.StatusNotFound {
		t.Errorf("a deleted subscription was answered %d", res.Status)
	}
}

// TestNotificationsStayOutOfPrivateNetworks sends to a name that leads home, and to
// whoever redirects there.
func TestNotificationsStayOutOfPrivateNetworks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, servertest.SecretKey, "MERGEGATE_WEBHOOK_NETWORKS=10.99.0.0/16")
	w.Expect("no_build", "")
	r := newReceiver(t)
	made := w.subscribe(strings.Replace(r.URL, "http://127.0.0.1", "https://localhost", 1), "waiver.given")
	path := subscriptionsPath + "/" + made.ID
	w.Post(path+"/test", w.Token, "")
	var messages struct {
		Values []struct {
			Attempts []struct{ Reason string }
		}
	}
	w.Eventually("an attempt is made", func() bool {
		w.Get(path+"/notifications", &messages)
		return len(messages.Values) == 1 && len(messages.Values[0].Attempts) > 0
	})
	if reason := messages.Values[0].Attempts[0].Reason; !strings.Contains(reason, "private address") {
		t.Errorf("reason %q", reason)
	}
	if len(r.all()) != 0 {
		t.Errorf("it was told: %v", r.all())
	}
}

func TestSubscriptionsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, servertest.SecretKey)
	w.Expect("no_build", "")
	some := w.TokenOf("some", "admin", servertest.Covering("acme/widgets"))
	reader := w.TokenOf("reader", "read")
	tests := []struct {
		name, token, body string
		status            int
	}{
		{name: "no address", token: w.Token, body: `{"events":["waiver.given"]}`, status: 422},
		{name: "http", token: w.Token, body: `{"url":"http://example.com/","events":["waiver.given"]}`, status: 422},
		{name: "this machine", token: w.Token, body: `{"url":"https://127.0.0.1/","events":["waiver.given"]}`, status: 422},
		{name: "this machine by IPv6", token: w.Token, body: `{"url":"https://[::1]/","events":["waiver.given"]}`, status: 422},
		{name: "this machine by a mapped address", token: w.Token, body: `{"url":"https://[::ffff:127.0.0.1]/","events":["waiver.given"]}`, status: 422},
		{name: "a cloud's metadata", token: w.Token, body: `{"url":"https://169.254.169.254/","events":["waiver.given"]}`, status: 422},
		{name: "a password", token: w.Token, body: `{"url":"https://user:secret@example.com/","events":["waiver.given"]}`, status: 422},
		{name: "no event", token: w.Token, body: `{"url":"https://example.com/","events":[]}`, status: 422},
		{name: "an unknown event", token: w.Token, body: `{"url":"https://example.com/","events":["everything"]}`, status: 422},
		{name: "an event twice", token: w.Token, body: `{"url":"https://example.com/","events":["waiver.given","waiver.given"]}`, status: 422},
		{name: "no JSON", token: w.Token, body: `{`, status: 400},
		{name: "another scope", token: reader, body: `{"url":"https://example.com/","events":["waiver.given"]}`, status: 403},
		{name: "a part of the workspace", token: some, body: `{"url":"https://example.com/","events":["waiver.given"]}`, status: 403},
		{name: "good", token: w.Token, body: `{"url":"https://example.com/","events":["waiver.given"]}`, status: 201},
	}
	for _, tt := range tests {
		if res := w.Post(subscriptionsPath, tt.token, tt.body); res.Status != tt.status {
			t.Errorf("%s: answered %d %s; want %d", tt.name, res.Status, res.Body, tt.status)
		}
	}
	without := newWorld(t)
	without.Expect("no_build", "")
	if res := without.Post(subscriptionsPath, without.Token, tests[len(tests)-1].body); res.Status != http.StatusConflict || !strings.Contains(string(res.Body), "MERGEGATE_SECRET_KEY") {
		t.Errorf("without a key: answered %d %s", res.Status, res.Body)
	}
}
