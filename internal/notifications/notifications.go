// Package notifications tells programs of others what happens in a workspace: a
// verdict that changed, a build that was confirmed, a waiver that was given, a
// commit status that Bitbucket refused.
//
// Messages are signed and sent as the Standard Webhooks specification says
// (https://www.standardwebhooks.com): with webhook-id, webhook-timestamp and
// webhook-signature, again and again for three days until they are taken. Each is
// a row, written in the transaction of what it tells of, so that none is lost; one
// that was taken can come a second time, with the same webhook-id.
//
//	service := notifications.New(store, box, notifications.Options{Log: log})
//	sub, secret, err := service.Subscribe(ctx, workspaceUUID, "https://example.com/hook", events, "ops")
//	outbox.New(store, service.Kind()).AddWorkers(workers)
//
// Nothing is sent to private addresses, whatever name leads there: see
// [Options.Networks].
package notifications

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"mergegate/internal/postgres"
	"mergegate/internal/sealed"
)

const (
	// maxSubscriptions is how many a workspace may have.
	maxSubscriptions = 20
	maxURL           = 2048
	// overlap is how long a secret goes on signing after it was replaced.
	overlap = 24 * time.Hour
	// secretSize is within the 24 to 64 bytes of the specification.
	secretSize = 32
)

// What keeps a subscription from being made.
var (
	// ErrInvalid says that the request itself is wrong.
	ErrInvalid = errors.New("the subscription is not valid")
	// ErrNoKey says that secrets can't be kept.
	ErrNoKey = errors.New("mergegate needs MERGEGATE_SECRET_KEY to store a subscription's secret; ask your mergegate admin to set it")
)

// Options are what a service can do without. Log is required.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: not counted
	// Networks are private networks that messages may go to; to those, and nowhere
	// else, http is allowed as well.
	Networks  []netip.Prefix
	UserAgent string // "": mergegate
}

// Service sends messages. It is safe for concurrent use.
type Service struct {
	store    *postgres.Store
	box      sealed.Box
	opts     Options
	client   *http.Client // for https
	plain    *http.Client // for http: to those networks alone
	attempts *prometheus.CounterVec
}

// New returns a service that keeps secrets in box.
func New(store *postgres.Store, box sealed.Box, opts Options) *Service {
	if opts.UserAgent == "" {
		opts.UserAgent = "mergegate"
	}
	return &Service{
		store: store, box: box, opts: opts, client: newClient(guard(opts.Networks)), plain: newClient(guardPlain(opts.Networks)),
		attempts: promauto.With(opts.Metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "mergegate_notification_attempts_total", Help: "Attempts to deliver a notification, by how they ended.",
		}, []string{"result"}),
	}
}

// secret signs messages until a time, or for good where that is zero.
type secret struct {
	Key   []byte    `json:"key"`
	Until time.Time `json:"until,omitzero"`
}

// Subscribe has url told of events. The secret is for whoever receives them, and
// is not shown again.
func (s *Service) Subscribe(ctx context.Context, workspaceUUID, address string, events []string, by string) (sub postgres.Subscription, shown string, err error) {
	if !s.box.Usable() {
		return sub, "", ErrNoKey
	}
	if err := s.checkURL(ctx, address); err != nil {
		return sub, "", err
	}
	if err := checkEvents(events); err != nil {
		return sub, "", err
	}
	fresh := newSecret()
	sub, err = s.store.AddSubscription(ctx, postgres.Subscription{
		WorkspaceUUID: workspaceUUID, URL: address, Events: events, CreatedBy: by, Secrets: s.seal(workspaceUUID, []secret{fresh}),
	}, maxSubscriptions)
	return sub, fresh.String(), err
}

// Rotate gives a subscription another secret. Messages are signed with the one
// before too, for a day. It enables a subscription that was disabled.
func (s *Service) Rotate(ctx context.Context, sub postgres.Subscription, now time.Time) (shown string, err error) {
	if !s.box.Usable() {
		return "", ErrNoKey
	}
	secrets, err := s.secrets(sub, now)
	if err != nil {
		return "", err
	}
	if len(secrets) > 0 {
		secrets[0].Until = now.Add(overlap)
	}
	fresh := newSecret()
	secrets = append([]secret{fresh}, secrets[:min(len(secrets), 2)]...)
	return fresh.String(), s.store.SetSecrets(ctx, sub, s.seal(sub.WorkspaceUUID, secrets))
}

func newSecret() secret {
	key := make([]byte, secretSize)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	return secret{Key: key}
}

// String is the secret as the specification writes it.
func (s secret) String() string { return "whsec_" + base64.StdEncoding.EncodeToString(s.Key) }

// place is what a workspace's secrets are sealed for.
func place(workspaceUUID string) string { return "subscription secrets of " + workspaceUUID }

func (s *Service) seal(workspaceUUID string, secrets []secret) []byte {
	text, _ := json.Marshal(secrets) // bytes and times always marshal
	return s.box.Seal(place(workspaceUUID), text)
}

// secrets are those that sign now, the newest first.
func (s *Service) secrets(sub postgres.Subscription, now time.Time) ([]secret, error) {
	text, err := s.box.Open(place(sub.WorkspaceUUID), sub.Secrets)
	if err != nil {
		return nil, err
	}
	var secrets []secret
	if err := json.Unmarshal(text, &secrets); err != nil {
		return nil, fmt.Errorf("read secrets of subscription %d: %w", sub.ID, err)
	}
	return slices.DeleteFunc(secrets, func(s secret) bool { return !s.Until.IsZero() && !now.Before(s.Until) }), nil
}

// checkURL rejects a URL that mergegate can't or mayn't call. What its name resolves to is
// checked at every call; for http also here, so the subscriber learns of it at once.
func (s *Service) checkURL(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || len(address) > maxURL || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return refuse("url: %q is not a URL like https://example.com/hook", strings.ToValidUTF8(address[:min(80, len(address))], ""))
	case u.Scheme != "https" && (u.Scheme != "http" || len(s.opts.Networks) == 0):
		return refuse("url: must start with https://")
	case u.User != nil:
		return refuse("url: must not have a user or a password; mergegate signs its notifications")
	case u.Fragment != "":
		return refuse("url: must not have a fragment (#…)")
	}
	if ip, err := netip.ParseAddr(strings.Trim(u.Hostname(), "[]")); err == nil && !s.reachable(ip) {
		return refuse("url: %s is a private address; add its network to MERGEGATE_WEBHOOK_NETWORKS to allow it", u.Hostname())
	}
	if u.Scheme == "http" && !s.leadsInside(ctx, u.Hostname()) {
		return refuse("url: must start with https://, or resolve to a network in MERGEGATE_WEBHOOK_NETWORKS")
	}
	return nil
}

// leadsInside reports whether a host is in one of the networks.
func (s *Service) leadsInside(ctx context.Context, host string) bool {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	return err == nil && slices.ContainsFunc(ips, func(ip netip.Addr) bool { return inside(s.opts.Networks, ip) })
}

// refusal is an [ErrInvalid] that says only what is wrong and what to give instead.
type refusal string

func (r refusal) Error() string { return string(r) }

func (refusal) Unwrap() error { return ErrInvalid }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

func checkEvents(events []string) error {
	if len(events) == 0 {
		return refuse("events: empty; give one or more of %s", strings.Join(postgres.NotificationEvents, ", "))
	}
	for i, event := range events {
		if !slices.Contains(postgres.NotificationEvents, event) || slices.Contains(events[:i], event) {
			return refuse("events: %q is unknown or given twice; known are %s", event, strings.Join(postgres.NotificationEvents, ", "))
		}
	}
	return nil
}
