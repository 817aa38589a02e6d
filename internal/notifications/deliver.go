package notifications

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"mergegate/internal/outbox"
	"mergegate/internal/postgres"
	"mergegate/internal/retry"
	"mergegate/internal/retryafter"
)

const (
	// timeout is within the 15 to 30 seconds of the specification.
	timeout = 15 * time.Second
	// lease is longer than an attempt takes.
	lease = 30 * time.Second
	// resolveTimeout is how long a name is looked up for who subscribes.
	resolveTimeout = 2 * time.Second
)

// schedule is how long after each attempt the next one comes: the example of the
// specification, three days in all.
var schedule = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// maxPerSubscription is how many notifications one subscriber is sent at a time.
const maxPerSubscription = 2

// Kind is how notifications are made.
func (s *Service) Kind() outbox.Kind {
	return outbox.Kind{Name: postgres.NotificationEntry, Lease: lease, Most: maxPerSubscription, Make: s.make, Settled: settled}
}

func (s *Service) make(ctx context.Context, e *postgres.Entry) (postgres.Attempt, error) {
	m, sub, err := s.store.Notification(ctx, e.ID)
	if err != nil {
		return postgres.Attempt{}, err
	}
	a := postgres.Attempt{Outcome: postgres.Failed, Reason: "the subscription is disabled: " + sub.DisabledReason}
	if sub.DisabledOn == nil {
		a = s.attempt(ctx, m, sub)
	}
	s.attempts.WithLabelValues(string(a.Outcome)).Inc()
	s.opts.Log.InfoContext(ctx, "notification attempted", "notification", m.ID, "subscription", sub.ID, "event", m.Event, "outcome", a.Outcome,
		"http_status", a.HTTPStatus, "reason", a.Reason)
	if a.HTTPStatus == http.StatusGone {
		return a, s.store.DisableSubscription(ctx, sub.ID, "the receiver answered 410 Gone")
	}
	return a, nil
}

// settled keeps the attempt. Where the lease ran out somebody else has the message by now.
func settled(ctx context.Context, tx *postgres.Tx, e postgres.Entry, a postgres.Attempt, how postgres.Settling) error {
	if how == postgres.LeaseLost {
		return nil
	}
	return tx.AddNotificationAttempt(ctx, e.ID, a)
}

func (s *Service) attempt(ctx context.Context, m postgres.Notification, sub postgres.Subscription) postgres.Attempt {
	start := time.Now()
	secrets, err := s.secrets(sub, start)
	if err != nil {
		return again(m, postgres.Attempt{Reason: "reading the subscription's secrets failed: " + err.Error()}, 0)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := s.request(ctx, m, sub, secrets, start)
	if err != nil {
		return postgres.Attempt{Outcome: postgres.Failed, Reason: "creating the request failed"}
	}
	client := s.client
	if req.URL.Scheme != "https" {
		client = s.plain
	}
	res, err := client.Do(req)
	took := time.Since(start)
	if err != nil {
		return again(m, postgres.Attempt{Reason: transportProblem(err), Took: took}, 0)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection is used again
	a := postgres.Attempt{HTTPStatus: res.StatusCode, Took: time.Since(start)}
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		a.Outcome = postgres.Delivered
		return a
	case res.StatusCode == http.StatusGone:
		a.Outcome, a.Reason = postgres.Failed, "the receiver answered 410 Gone, so mergegate disabled the subscription"
		return a
	case res.StatusCode >= 300 && res.StatusCode < 400:
		a.Reason = "the receiver redirected (" + res.Status + "); mergegate doesn't follow redirects"
	default:
		a.Reason = "the receiver answered " + strconv.Itoa(res.StatusCode)
	}
	return again(m, a, retryafter.Read(res.Header, time.Now()))
}

// request is the message, signed with every secret that is valid.
func (s *Service) request(ctx context.Context, m postgres.Notification, sub postgres.Subscription, secrets []secret, now time.Time) (*http.Request, error) {
	id := "msg_" + strconv.FormatInt(m.ID, 10)
	var signatures []string
	for _, secret := range secrets {
		signer, err := standardwebhooks.NewWebhookRaw(secret.Key)
		if err != nil {
			return nil, err
		}
		signature, err := signer.Sign(id, now, []byte(m.Body))
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sub.URL, bytes.NewReader([]byte(m.Body)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", s.opts.UserAgent)
	req.Header.Set(standardwebhooks.HeaderWebhookID, id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return req, nil
}

// again says when the next attempt comes, by the schedule or when the answer asked
// for; after the last one the notification has failed.
func again(m postgres.Notification, a postgres.Attempt, asked time.Duration) postgres.Attempt {
	if m.Attempts > len(schedule) {
		return retry.GivenUpAfter(a, m.Attempts)
	}
	return retry.Later(a, max(schedule[max(m.Attempts, 1)-1], asked))
}

// transportProblem says why there was no answer, and nothing of the network that
// only somebody inside it should learn.
func transportProblem(err error) string {
	var dns *net.DNSError
	var netErr net.Error
	switch {
	case errors.Is(err, ssrf.ErrProhibitedIP):
		return "the name resolves to a private address; add its network to MERGEGATE_WEBHOOK_NETWORKS to allow it"
	case errors.Is(err, errPlain):
		return "the name resolves outside MERGEGATE_WEBHOOK_NETWORKS, where mergegate uses only https"
	case errors.As(err, &dns):
		return "the name doesn't resolve"
	case errors.As(err, &netErr) && netErr.Timeout():
		return fmt.Sprintf("no answer within %s", timeout)
	default:
		return "the connection failed"
	}
}

// newClient connects to what control lets it. What a name leads to is checked when it is
// connected to, so that no answer of a name server comes between.
func newClient(control func(network, address string, _ syscall.RawConn) error) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: control}
	return &http.Client{
		Timeout: timeout,
		// No proxy: it would connect for us, to wherever.
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 5 * time.Second,
			MaxIdleConnsPerHost: 1, IdleConnTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// guard lets through public addresses and those networks.
func guard(networks []netip.Prefix) func(network, address string, _ syscall.RawConn) error {
	var v4, v6 []netip.Prefix
	for _, prefix := range networks {
		if prefix.Addr().Is4() {
			v4 = append(v4, prefix)
		} else {
			v6 = append(v6, prefix)
		}
	}
	return ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...)).Safe
}

// errPlain is what http to anywhere but the networks ends with.
var errPlain = errors.New("http outside MERGEGATE_WEBHOOK_NETWORKS")

// guardPlain lets through those networks alone.
func guardPlain(networks []netip.Prefix) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil || !inside(networks, to.Addr()) {
			return errPlain
		}
		return nil
	}
}

func inside(networks []netip.Prefix, ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(network netip.Prefix) bool { return network.Contains(ip) })
}

// reachable reports whether messages may go to the address.
func (s *Service) reachable(ip netip.Addr) bool {
	network := "tcp4"
	if ip = ip.Unmap(); ip.Is6() {
		network = "tcp6"
	}
	return guard(s.opts.Networks)(network, netip.AddrPortFrom(ip, 443).String(), nil) == nil
}
