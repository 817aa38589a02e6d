package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"mergegate/internal/mergecheck"
	"mergegate/internal/terminal"
)

// keep leaves everything running until Ctrl-C, and prints what to try.
func (w *world) keep(ctx context.Context, page *page) {
	page.print("\n%s\n", page.style(bold, "Everything goes on running. Try, in another terminal:"))
	w.keptRequests(page)
	enter := make(chan struct{})
	if terminal.Is(os.Stdin) {
		page.print("# An invocation token lives 25 s. Press Enter here for a new one, Ctrl-C to end.")
		go readLines(os.Stdin, enter)
	} else {
		page.print("# An invocation token lives 25 s; in a terminal, Enter prints a new one. Ctrl-C ends the demo.")
	}
	for page.err == nil {
		w.keptMergeCheck(page)
		select {
		case <-ctx.Done():
			return
		case <-enter:
		}
	}
}

// readLines tells of every line until the input ends. The program ends before
// a terminal does, so nobody needs to stop it.
func readLines(r io.Reader, line chan<- struct{}) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line <- struct{}{}
	}
}

// keptRequests prints lines to copy, none of which needs another.
func (w *world) keptRequests(page *page) {
	repository := w.url + "/api/v1/repositories/" + repositoryName
	builds := w.appveyor.Builds("acme", "widgets")
	newest := builds[len(builds)-1]
	for _, request := range []struct{ what, curl string }{
		{"The builds of the repository", w.curlAPI(repository + "/builds")},
		{"The verdict of a pull request, explained", w.curlAPI(repository + "/pullrequests/9")},
		{"What was received, and what became of it", w.curlAPI(w.url + "/api/v1/deliveries")},
		{"AppVeyor's webhook", fmt.Sprintf(`curl -s %s/webhooks/appveyor -H 'Authorization: Bearer %s' \
  -d '{"eventName":"build_success","eventData":{"buildId":%d,"buildUrl":"%s/project/acme/widgets/builds/%[3]d"}}'`,
			w.url, webhookSecret, newest.ID, w.appveyor.URL)},
		{"What AppVeyor says about that build", fmt.Sprintf("curl -s %s/api/projects/acme/widgets/builds/%d", w.appveyor.URL, newest.ID)},
		{"What Bitbucket shows on the head of pull request 7", fmt.Sprintf("curl -s %s/2.0/repositories/%s/commit/%s/statuses",
			w.bitbucket.URL, repositoryName, headFixed)},
		{"The service's log", "tail -f " + w.logFile()},
	} {
		page.print("# %s", request.what)
		page.print("%s\n", request.curl)
	}
}

// curlAPI is a line that asks the API, with the token made for the demo.
func (w *world) curlAPI(url string) string {
	return fmt.Sprintf("curl -s -H 'Authorization: Bearer %s' \\\n  %s", w.token, url)
}

// keptMergeCheck prints a merge check of pull request 9 with a token signed now.
func (w *world) keptMergeCheck(page *page) {
	page.print("curl -s %s/forge/merge-check -d '%s' \\\n  -H 'Authorization: Bearer %s'\n",
		w.url, mergeCheckOf(9, mergecheck.TriggerOnMerge), w.forge.Token())
}
