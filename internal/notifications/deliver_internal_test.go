package notifications

import (
	"net/netip"
	"testing"
	"time"

	"mergegate/internal/postgres"
	"mergegate/internal/sealed"
)

func TestOnlyPublicAddressesAreReachable(t *testing.T) {
	t.Parallel()
	allowing := func(networks ...string) *Service {
		s := &Service{}
		for _, n := range networks {
			s.opts.Networks = append(s.opts.Networks, netip.MustParsePrefix(n))
		}
		return s
	}
	tests := []struct {
		name    string
		service *Service
		address string
		want    bool
	}{
		{name: "public", service: allowing(), address: "93.184.216.34", want: true},
		{name: "public IPv6", service: allowing(), address: "2606:2800:220:1:248:1893:25c8:1946", want: true},
		{name: "loopback", service: allowing(), address: "127.0.0.1"},
		{name: "another loopback", service: allowing(), address: "127.8.8.8"},
		{name: "loopback IPv6", service: allowing(), address: "::1"},
		{name: "mapped loopback", service: allowing(), address: "::ffff:127.0.0.1"},
		{name: "NAT64 of loopback", service: allowing(), address: "64:ff9b::7f00:1"},
		{name: "6to4 of a private address", service: allowing(), address: "2002:0a00:0001::1"},
		{name: "unspecified", service: allowing(), address: "0.0.0.0"},
		{name: "unspecified IPv6", service: allowing(), address: "::"},
		{name: "private 10", service: allowing(), address: "10.1.2.3"},
		{name: "private 172", service: allowing(), address: "172.16.0.1"},
		{name: "private 192", service: allowing(), address: "192.168.1.1"},
		{name: "carrier's NAT", service: allowing(), address: "100.64.0.1"},
		{name: "link-local, a cloud's metadata", service: allowing(), address: "169.254.169.254"},
		{name: "link-local IPv6", service: allowing(), address: "fe80::1"},
		{name: "unique local IPv6", service: allowing(), address: "fd00::1"},
		{name: "multicast", service: allowing(), address: "224.0.0.1"},
		{name: "broadcast", service: allowing(), address: "255.255.255.255"},
		{name: "documentation", service: allowing(), address: "192.0.2.1"},
		{name: "allowed network", service: allowing("10.1.0.0/16"), address: "10.1.2.3", want: true},
		{name: "beside the allowed network", service: allowing("10.1.0.0/16"), address: "10.2.2.3"},
		{name: "allowed IPv6 network", service: allowing("fd00:1::/32"), address: "fd00:1::5", want: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.service.reachable(netip.MustParseAddr(tt.address)); got != tt.want {
				t.Errorf("reachable %v, want %v", got, tt.want)
			}
		})
	}
}

// TestHTTPGoesToTheNetworksAlone has networks set, which never make http to others right.
func TestHTTPGoesToTheNetworksAlone(t *testing.T) {
	t.Parallel()
	networks := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}
	s := New(nil, sealed.Box{}, Options{Networks: networks})
	tests := []struct {
		name, address string
		want          bool
	}{
		{name: "https to anywhere", address: "https://example.com/hook", want: true},
		{name: "https to a public address", address: "https://93.184.216.34/", want: true},
		{name: "http to a network", address: "http://10.1.2.3:8080/hook", want: true},
		{name: "http to a network by IPv6", address: "http://[fd00:1::5]/hook", want: true},
		{name: "http to a network by a mapped address", address: "http://[::ffff:10.1.2.3]/hook", want: true},
		{name: "http to a name in a network", address: "http://localhost/hook", want: true},
		{name: "http to a public address", address: "http://93.184.216.34/hook"},
		{name: "http to a public address by IPv6", address: "http://[2606:2800:220:1:248:1893:25c8:1946]/hook"},
		{name: "http beside the networks", address: "http://10.2.2.3/hook"},
		{name: "http to a name that leads nowhere", address: "http://nowhere.invalid/hook"},
		{name: "HTTP in capitals", address: "HTTP://93.184.216.34/hook"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := s.checkURL(t.Context(), tt.address); (err == nil) != tt.want {
				t.Errorf("%v", err)
			}
		})
	}
	for address, want := range map[string]bool{"10.1.2.3:80": true, "[fd00:1::5]:80": true, "93.184.216.34:80": false, "10.2.2.3:80": false, "169.254.169.254:80": false} {
		if err := guardPlain(networks)("tcp", address, nil); (err == nil) != want {
			t.Errorf("http to %s: %v", address, err)
		}
	}
}

func TestAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		attempts int
		after    time.Duration
		want     postgres.Outcome
		retryIn  time.Duration
	}{
		{name: "first", attempts: 1, want: postgres.Pending, retryIn: 5 * time.Second},
		{name: "second", attempts: 2, want: postgres.Pending, retryIn: 5 * time.Minute},
		{name: "ninth", attempts: 9, want: postgres.Pending, retryIn: 24 * time.Hour},
		{name: "tenth", attempts: 10, want: postgres.Failed},
		{name: "asked to wait", attempts: 1, after: time.Hour, want: postgres.Pending, retryIn: time.Hour},
		{name: "asked to wait less", attempts: 2, after: time.Second, want: postgres.Pending, retryIn: 5 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := again(postgres.Notification{Entry: postgres.Entry{Attempts: tt.attempts}}, postgres.Attempt{Reason: "no"}, tt.after)
			if got.Outcome != tt.want || got.RetryIn != tt.retryIn {
				t.Errorf("%s in %v; want %s in %v", got.Outcome, got.RetryIn, tt.want, tt.retryIn)
			}
		})
	}
}
