package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

func TestBuildIDs(t *testing.T) {
	t.Parallel()
	const workspace = "b7ea02c9-0871-4858-a2a6-a190d7de977c"
	tests := []struct {
		name, confirmedBy string
		id                int64
	}{
		{name: "a build", id: 4711, confirmedBy: mergecheck.ConfirmedByAppVeyor},
		{name: "a report", id: 12, confirmedBy: mergecheck.ConfirmedByReport},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := formatBuildID(workspace, mergecheck.Build{ID: tt.id, ConfirmedBy: tt.confirmedBy})
			got, ok := parseBuildID(text)
			want := postgres.BuildID{WorkspaceUUID: workspace, ID: tt.id, Reported: tt.confirmedBy == mergecheck.ConfirmedByReport}
			if diff := cmp.Diff(want, got); diff != "" || !ok || text[0] == 'r' != want.Reported {
				t.Errorf("%s (-want +got):\n%s", text, diff)
			}
		})
	}
	for _, text := range []string{"", "4711", "-", "0-w7vafsiiofefrivgugindx5gxy", "4711-w7", "4711-W7VAFSIIOFEFRIVGUGINDX5GXY", "x4711-w7vafsiiofefrivgugindx5gxy", "99999999999999999999-w7vafsiiofefrivgugindx5gxy"} {
		if id, ok := parseBuildID(text); ok {
			t.Errorf("%q is %+v", text, id)
		}
	}
}

func FuzzParseBuildID(f *testing.F) {
	f.Add("4711-w7vafsiiofefrivgugindx5gxy")
	f.Add("r1-aaaaaaaaaaaaaaaaaaaaaaaaaa")
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := parseBuildID(text)
		if !ok {
			return
		}
		b := mergecheck.Build{ID: id.ID, ConfirmedBy: mergecheck.ConfirmedByAppVeyor}
		if id.Reported {
			b.ConfirmedBy = mergecheck.ConfirmedByReport
		}
		if again := formatBuildID(id.WorkspaceUUID, b); again != text {
			t.Errorf("%q is read as %+v, which is %q", text, id, again)
		}
	})
}
