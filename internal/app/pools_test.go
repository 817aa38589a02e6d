package app

import (
	"errors"
	"testing"

	"mergegate/internal/config"
)

func TestConnectionsAreSharedOut(t *testing.T) {
	t.Parallel()
	for conns := int32(leastConns); conns <= 200; conns++ {
		s := shareOut(conns)
		if sum := s.checks + s.receiving + s.reading + s.jobs + listenerConns; sum != conns {
			t.Errorf("of %d connections %d are shared out", conns, sum)
		}
		if s.checks < 2 || s.receiving < 1 || s.reading < 2 || s.jobs < 3 {
			t.Errorf("of %d connections somebody has too few: %+v", conns, s)
		}
	}
	if got, want := shareOut(defaultConns), (share{checks: 8, receiving: 6, reading: 6, jobs: 10}); got != want {
		t.Errorf("without pool_max_conns: %+v, want %+v", got, want)
	}
}

func TestConnectionsOfTheURL(t *testing.T) {
	t.Parallel()
	tests := []struct {
		url  string
		want int32
	}{
		{url: "postgres://u@h/d", want: defaultConns},
		{url: "postgres://u@h/d?pool_max_conns=12", want: 12},
		{url: "host=h user=u pool_max_conns=40", want: 40},
		{url: "postgres://u@h/d?pool_max_conns=8"},
		{url: "postgres://u@h/d?pool_max_conns=many"},
	}
	for _, tt := range tests {
		got, err := connsOf(tt.url)
		if got != tt.want || (err != nil) != (tt.want == 0) || err != nil && !errors.As(err, new(config.Error)) {
			t.Errorf("%s: %d, %v; want %d", tt.url, got, err, tt.want)
		}
	}
}
