package retention_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/retention"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	tests := []struct {
		name, given string
		want        retention.Policy
		fails       bool
	}{
		{name: "two kinds", given: " deliveries=720h , decisions=9600h", want: retention.Policy{"deliveries": 30 * day, "decisions": 400 * day}},
		{name: "nothing is deleted", want: retention.Policy{}},
		{name: "a day", given: "builds=24h", want: retention.Policy{"builds": day}},
		{name: "less than a day", given: "builds=23h", fails: true},
		{name: "an unknown kind", given: "bodies=24h", fails: true},
		{name: "no duration", given: "builds", fails: true},
		{name: "not a duration", given: "builds=long", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := retention.Parse(tt.given, time.ParseDuration)
			if (err != nil) != tt.fails {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
		})
	}
}
