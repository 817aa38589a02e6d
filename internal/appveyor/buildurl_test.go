package appveyor_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mergegate/internal/appveyor"
)

func client(t testing.TB, base string) *appveyor.Client {
	t.Helper()
	c, err := appveyor.NewClient(appveyor.Config{URL: base})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParseBuildURL(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		base  string
		given string
		want  appveyor.Ref
		err   error
	}{
		{name: "by version", given: "https://ci.appveyor.com/project/JohnSmith/test-web/build/1.0.26", want: appveyor.Ref{Account: "JohnSmith", Slug: "test-web", Version: "1.0.26"}},
		{name: "by id", given: "https://ci.appveyor.com/project/JohnSmith/test-web/builds/14636", want: appveyor.Ref{Account: "JohnSmith", Slug: "test-web", BuildID: 14636}},
		{name: "escaped version", given: "https://ci.appveyor.com/project/a/b/build/1.0%2F2%20x", want: appveyor.Ref{Account: "a", Slug: "b", Version: "1.0/2 x"}},
		{name: "another case", given: "HTTPS://CI.AppVeyor.COM/project/a/b/builds/1", want: appveyor.Ref{Account: "a", Slug: "b", BuildID: 1}},
		{name: "the project alone", given: "https://ci.appveyor.com/project/a/b", want: appveyor.Ref{Account: "a", Slug: "b"}},
		{name: "under a path", base: "https://ci.example.com/av/", given: "https://ci.example.com/av/project/a/b/builds/1", want: appveyor.Ref{Account: "a", Slug: "b", BuildID: 1}},
		{name: "a percent sign that escapes nothing", given: "https://ci.appveyor.com/project/a/b/build/50%-off.3", want: appveyor.Ref{Account: "a", Slug: "b", Version: "50%-off.3"}},
		{name: "a percent sign at the end", given: "https://ci.appveyor.com/project/a/b/build/1.0-100%", want: appveyor.Ref{Account: "a", Slug: "b", Version: "1.0-100%"}},
		{name: "half an escape", given: "https://ci.appveyor.com/project/a/b/build/1.0%2", want: appveyor.Ref{Account: "a", Slug: "b", Version: "1.0%2"}},
		{name: "an escape beside what is none", given: "https://ci.appveyor.com/project/a/b/build/5%25%-1%20x%zz", want: appveyor.Ref{Account: "a", Slug: "b", Version: "5%%-1 x%zz"}},
		{name: "a space", given: "https://ci.appveyor.com/project/a/b/build/1.0 beta 2", want: appveyor.Ref{Account: "a", Slug: "b", Version: "1.0 beta 2"}},
		{name: "letters of any script", given: "https://ci.appveyor.com/project/a/b/build/1.0-größe", want: appveyor.Ref{Account: "a", Slug: "b", Version: "1.0-größe"}},
		{name: "letters of any script, escaped", given: "https://ci.appveyor.com/project/a/b/build/1.0-gr%C3%B6%C3%9Fe", want: appveyor.Ref{Account: "a", Slug: "b", Version: "1.0-größe"}},
		{name: "a question mark", given: "https://ci.appveyor.com/project/a/b/build/1.0?3", want: appveyor.Ref{Account: "a", Slug: "b", Version: "1.0?3"}},
		{name: "a hash sign", given: "https://ci.appveyor.com/project/a/b/build/1.0#3", want: appveyor.Ref{Account: "a", Slug: "b", Version: "1.0#3"}},
		{name: "brackets and a colon", given: "https://ci.appveyor.com/project/a/b/build/[1]:2|3^", want: appveyor.Ref{Account: "a", Slug: "b", Version: "[1]:2|3^"}},
		{name: "a slash at the end", given: "https://ci.appveyor.com/project/a/b/build/1.0.26/", want: appveyor.Ref{Account: "a", Slug: "b", Version: "1.0.26"}},
		{name: "the project with a slash at the end", given: "https://ci.appveyor.com/project/a/b/", want: appveyor.Ref{Account: "a", Slug: "b"}},
		{name: "the project with a query", given: "https://ci.appveyor.com/project/a/b?x=/../c", want: appveyor.Ref{Account: "a", Slug: "b"}},
		{name: "a job", given: "https://ci.appveyor.com/project/a/b/build/1.0.26/job/es941edratul5jm3", want: appveyor.Ref{Account: "a", Slug: "b", Version: "1.0.26"}},
		{name: "a job by id", given: "https://ci.appveyor.com/project/a/b/builds/14636/job/es941edratul5jm3#L1", want: appveyor.Ref{Account: "a", Slug: "b", BuildID: 14636}},
		{name: "by id with a query", given: "https://ci.appveyor.com/project/a/b/builds/14636?fullLog=true", want: appveyor.Ref{Account: "a", Slug: "b", BuildID: 14636}},
		{name: "the port that is meant anyway", given: "https://ci.appveyor.com:443/project/a/b/builds/1", want: appveyor.Ref{Account: "a", Slug: "b", BuildID: 1}},
		{name: "a version beyond its bound", given: "https://ci.appveyor.com/project/a/b/build/" + strings.Repeat("1", 513), want: appveyor.Ref{Account: "a", Slug: "b"}},
		{name: "an account beyond its bound", given: "https://ci.appveyor.com/project/" + strings.Repeat("a", 256) + "/b/builds/1", err: appveyor.ErrNotBuildURL},
		{name: "a percent sign in a name", given: "https://ci.appveyor.com/project/50%-off/b/builds/1", err: appveyor.ErrNotBuildURL},
		{name: "climbing by a version", given: "https://ci.appveyor.com/project/a/b/build/..", err: appveyor.ErrNotBuildURL},
		{name: "climbing by an escaped version", given: "https://ci.appveyor.com/project/a/b/build/%2e%2E%2fc", err: appveyor.ErrNotBuildURL},
		{name: "climbing with a backslash", given: `https://ci.appveyor.com/project/a/b/build/x\..\c`, err: appveyor.ErrNotBuildURL},
		{name: "a control character", given: "https://ci.appveyor.com/project/a/b/build/1.0\n2", err: appveyor.ErrNotBuildURL},
		{name: "an escaped control character", given: "https://ci.appveyor.com/project/a/b/build/1.0%0d%0a2", err: appveyor.ErrNotBuildURL},
		{name: "an escaped NUL in a name", given: "https://ci.appveyor.com/project/a%00/b/builds/1", err: appveyor.ErrNotBuildURL},
		{name: "a host behind a backslash", given: `https://ci.appveyor.com\@evil.example/project/a/b/builds/1`, err: appveyor.ErrNotBuildURL},
		{name: "a host in a query", given: "https://evil.example?https://ci.appveyor.com/project/a/b/builds/1", err: appveyor.ErrOtherHost},
		{name: "a host that begins like ours", given: "https://ci.appveyor.com.evil.example/project/a/b/builds/1", err: appveyor.ErrOtherHost},
		{name: "beside the path", base: "https://ci.example.com/av/", given: "https://ci.example.com/avx/project/a/b/builds/1", err: appveyor.ErrNotBuildURL},
		{name: "another host", given: "https://evil.example/project/a/b/builds/1", err: appveyor.ErrOtherHost},
		{name: "another port", given: "https://ci.appveyor.com:8443/project/a/b/builds/1", err: appveyor.ErrOtherHost},
		{name: "host behind credentials", given: "https://ci.appveyor.com@evil.example/project/a/b/builds/1", err: appveyor.ErrOtherHost},
		{name: "credentials", given: "https://x@ci.appveyor.com/project/a/b/builds/1", err: appveyor.ErrOtherHost},
		{name: "no scheme", given: "//ci.appveyor.com/project/a/b/builds/1", err: appveyor.ErrNotBuildURL},
		{name: "file", given: "file:///project/a/b/builds/1", err: appveyor.ErrNotBuildURL},
		{name: "empty", err: appveyor.ErrNotBuildURL},
		{name: "climbing", given: "https://ci.appveyor.com/project/../b/builds/1", err: appveyor.ErrNotBuildURL},
		{name: "climbing, escaped", given: "https://ci.appveyor.com/project/%2e%2e/b/builds/1", err: appveyor.ErrNotBuildURL},
		{name: "a slash in a name", given: "https://ci.appveyor.com/project/a%2Fb/c/builds/1", err: appveyor.ErrNotBuildURL},
		{name: "another page", given: "https://ci.appveyor.com/account/a/b/builds/1", err: appveyor.ErrNotBuildURL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := client(t, tt.base).ParseBuildURL(tt.given)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ref (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseBuildURL(f *testing.F) {
	f.Add("https://ci.appveyor.com/project/JohnSmith/test-web/build/1.0.26")
	f.Add("https://ci.appveyor.com/project/%2e%2e/b/builds/1")
	f.Add("https://ci.appveyor.com@evil/project/a/b/builds/99999999999999999999")
	c := client(f, "")
	f.Fuzz(func(t *testing.T, given string) {
		ref, err := c.ParseBuildURL(given)
		if err != nil {
			return
		}
		// What is asked with it stays on this host and in this folder.
		u, err := url.Parse(c.BuildURL(ref.Account, ref.Slug, 1))
		if err != nil || u.Host != "ci.appveyor.com" || !strings.HasPrefix(u.Path, "/project/"+ref.Account+"/"+ref.Slug+"/") {
			t.Errorf("%q leads to %v", given, u)
		}
		if ref.BuildID < 0 || strings.ContainsRune(ref.Version, 0) {
			t.Errorf("ref %+v", ref)
		}
	})
}
