//go:build slow

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mergegate/internal/appveyor/appveyortest"
	"mergegate/internal/bitbucket/bitbuckettest"
	"mergegate/internal/bitbucket/bitbuckettest/held"
	"mergegate/internal/forge/forgetest"
	"mergegate/internal/postgres/postgrestest"
	"mergegate/internal/server/servertest"
)

// The place that docs/install.md installs for.
const (
	installedURL        = "https://gate.example.com"
	installedRepository = "acme-team/widgets"
	installedSystem     = "the-app-system-token"
)

// installation follows docs/install.md in a copy of the repository, with an empty home. What
// is Bitbucket's, AppVeyor's and Atlassian's are stand-ins; curl, docker, npm and forge are
// this test's own, and everything else is what the machine has.
type installation struct {
	*testing.T
	folder    string
	address   string // where the service listens
	shell     io.WriteCloser
	output    *bufio.Reader
	appveyor  *appveyortest.Server
	bitbucket *bitbuckettest.Server
	forge     *forgetest.Issuer
}

// step is a block of commands in docs/install.md, with what is done on other people's pages
// before it, and what it has to print.
type step struct {
	name   string
	before func(i *installation)
	prints []string
}

// TestInstallation runs every command of docs/install.md as it is written, in one shell, to a
// blocked and then an allowed merge.
func TestInstallation(t *testing.T) {
	t.Parallel()
	steps := []step{
		{name: "build and init", prints: []string{".env", "/webhooks/appveyor"}},
		{name: "compose"},
		{name: "readyz", prints: []string{"200 OK"}},
		{name: "token", prints: []string{`"values":[]`}},
		{name: "forge"},
		{name: "app id"},
		{name: "merge check is on", prints: []string{"401 Unauthorized"}},
		{name: "the secret is right", prints: []string{"422 Unprocessable Entity"}},
		{name: "a build", before: (*installation).firstBuild, prints: []string{`"processed"`, `"state":"success"`}},
		{name: "backfill"},
		{name: "a bot", prints: []string{`"code":"passed"`}},
		{name: "tried", before: (*installation).try, prints: []string{`"code":"no_build"`, `"code":"passed"`, "passed"}},
		{name: "doctor", prints: []string{"appveyor"}},
	}
	blocks := shellBlocks(t, "../../docs/install.md")
	if len(blocks) != len(steps) {
		t.Fatalf("docs/install.md has %d blocks of commands, this test knows %d", len(blocks), len(steps))
	}
	i := newInstallation(t)
	for n, step := range steps {
		if step.before != nil {
			step.before(i)
		}
		printed := i.run(blocks[n])
		for _, want := range step.prints {
			if !strings.Contains(printed, want) {
				t.Fatalf("%s: %q is not in what\n%s\nprinted:\n%s", step.name, want, blocks[n], printed)
			}
		}
	}
}

// shellBlocks are a document's blocks of commands.
func shellBlocks(t *testing.T, file string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("(?s)\n```sh\n(.*?\n)```\n").FindAllSubmatch(text, -1) {
		blocks = append(blocks, string(match[1]))
	}
	return blocks
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	i := &installation{T: t, folder: filepath.Join(t.TempDir(), "mergegate")}
	i.standIns()
	copyRepository(t, i.folder)
	i.address = freeAddress(t)
	tools := t.TempDir()
	self, err := os.Executable()
	i.must(err)
	for tool := range installTools {
		i.must(os.Symlink(self, filepath.Join(tools, tool)))
	}
	cmd := exec.Command("bash")
	cmd.Dir = i.folder
	cmd.Env = []string{
		"PATH=" + tools + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "INSTALL_PROGRAM=" + self, "INSTALL_ADDRESS=" + i.address, "INSTALL_FOLDER=" + i.folder,
		"DATABASE_URL=" + postgrestest.Empty(t), "MERGEGATE_APPVEYOR_URL=" + i.appveyor.URL, "MERGEGATE_BITBUCKET_API_URL=" + i.bitbucket.URL,
		"MERGEGATE_FORGE_JWKS_URL=" + i.forge.URL + "/keys", "GORACE=atexit_sleep_ms=0",
	}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOSUMDB"} { // no command of Go's has to fetch or build anew what is there
		value, err := exec.Command("go", "env", name).Output()
		i.must(err)
		cmd.Env = append(cmd.Env, name+"="+strings.TrimSpace(string(value)))
	}
	i.shell, err = cmd.StdinPipe()
	i.must(err)
	stdout, err := cmd.StdoutPipe()
	i.must(err)
	cmd.Stderr = cmd.Stdout
	i.output = bufio.NewReader(stdout)
	i.must(cmd.Start())
	t.Cleanup(func() {
		stopInstalled(i.folder)
		_ = i.shell.Close()
		_ = cmd.Wait()
	})
	return i
}

func (i *installation) standIns() {
	i.Helper()
	var err error
	if i.appveyor, err = appveyortest.New(); err != nil {
		i.Fatal(err)
	}
	i.bitbucket, err = held.New()
	i.must(err)
	i.forge, err = forgetest.New()
	i.must(err)
	i.Cleanup(func() { i.appveyor.Close(); i.bitbucket.Close(); i.forge.Close() })
	i.bitbucket.AllowToken(installedSystem, "acme-team")
	i.must(i.appveyor.AddProject(appveyortest.Project{ID: 12064, Account: "acme", Slug: "widgets", RepositoryName: installedRepository}))
	i.must(i.bitbucket.AddRepository(bitbuckettest.Repository{
		WorkspaceUUID: servertest.WorkspaceUUID, UUID: servertest.RepositoryUUID, FullName: installedRepository,
	}))
}

func (i *installation) must(err error) {
	i.Helper()
	if err != nil {
		i.Fatal(err)
	}
}

// run runs commands in the shell, where none may fail, and returns what they printed.
func (i *installation) run(commands string) string {
	i.Helper()
	const done = "<<<done>>>"
	_, err := fmt.Fprintf(i.shell, "set -e\n%s\necho %q\n", commands, done)
	i.must(err)
	var printed strings.Builder
	for {
		line, err := i.output.ReadString('\n')
		if strings.TrimSpace(line) == done {
			return printed.String()
		}
		printed.WriteString(line)
		if err != nil {
			i.Fatalf("a command failed in\n%s\nit printed:\n%s", commands, printed.String())
		}
	}
}

// built has AppVeyor build a head, and tell the service as its webhook does.
func (i *installation) built(head, status string) {
	i.Helper()
	b, err := i.appveyor.PutBuild("acme", "widgets", appveyortest.Build{
		Branch: "main", PullRequestID: 7, PullRequestHeadBranch: "feature", PullRequestHeadRepository: installedRepository,
		PullRequestHeadCommit: head, Status: status,
	})
	i.must(err)
	env, err := os.ReadFile(filepath.Join(i.folder, ".env"))
	i.must(err)
	secret := regexp.MustCompile(`(?m)^MERGEGATE_APPVEYOR_WEBHOOK_SECRET=(.*)$`).FindSubmatch(env)
	if secret == nil {
		i.Fatal("init made no secret for AppVeyor's webhook")
	}
	code, body, err := i.appveyor.Notify(i.Context(), "http://"+i.address+"/webhooks/appveyor", string(secret[1]), b.ID)
	if err != nil || code != http.StatusAccepted {
		i.Fatalf("the webhook was answered %d %s, %v", code, body, err)
	}
}

// pushed has the pull request have a head.
func (i *installation) pushed(head string) {
	i.Helper()
	i.must(i.bitbucket.PutPullRequest(installedRepository, servertest.PullRequest(head)))
}

// merge clicks Merge: the merge check is asked until it answers so, for as long as a person
// would try.
func (i *installation) merge(want bool) {
	i.Helper()
	body := servertest.Event("on-merge")
	deadline := time.After(servertest.Patience)
	for {
		req, err := http.NewRequestWithContext(i.Context(), http.MethodPost, "http://"+i.address+"/forge/merge-check", strings.NewReader(body))
		i.must(err)
		req.Header.Set("Authorization", "Bearer "+i.forge.Token())
		req.Header.Set("x-forge-oauth-system", installedSystem)
		res, err := http.DefaultClient.Do(req)
		i.must(err)
		var answer struct {
			Success bool
			Message string
		}
		err = json.NewDecoder(res.Body).Decode(&answer)
		_ = res.Body.Close()
		if err == nil && answer.Success == want {
			return
		}
		if !want {
			i.Fatalf("the merge was not blocked: %d, %+v, %v", res.StatusCode, answer, err)
		}
		select {
		case <-deadline:
			i.Fatalf("the merge was not allowed: %d, %+v, %v", res.StatusCode, answer, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// firstBuild is the pull request that the reader builds to see that AppVeyor is connected.
func (i *installation) firstBuild() {
	i.Helper()
	i.pushed(commit('1'))
	i.built(commit('1'), "success")
	i.merge(true)
}

// try is what the last part tells to do.
func (i *installation) try() {
	i.Helper()
	i.pushed(commit('2'))
	i.merge(false)
	i.built(commit('2'), "success")
	i.merge(true)
}

// copyRepository copies what git would, and no more than the commands need.
func copyRepository(t *testing.T, to string) {
	t.Helper()
	skipped := map[string]bool{".git": true, "node_modules": true, ".cache": true, "testdata": true}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if skipped[entry.Name()] {
			return fs.SkipDir
		}
		target := filepath.Join(to, strings.TrimPrefix(path, "../.."))
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755) //nolint:gosec // a copy of what everybody can read
		}
		if !entry.Type().IsRegular() || entry.Name() == ".env" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o644) //nolint:gosec // likewise
	})
	if err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// installTools are the commands that this test stands in for. Each is the test's own binary,
// called by that name.
var installTools = map[string]func(args []string) error{"curl": curl, "docker": docker, "npm": npm, "forge": forgeCLI}

func init() {
	if tool, is := installTools[filepath.Base(os.Args[0])]; is && os.Getenv("INSTALL_FOLDER") != "" {
		if err := tool(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// curl sends what is for the public URL to the service, as the reverse proxy does.
func curl(args []string) error {
	req, err := http.NewRequest(http.MethodGet, "", nil)
	if err != nil {
		return err
	}
	showHeader := false
	for n := 0; n < len(args); n++ {
		switch arg := args[n]; arg {
		case "-i":
			showHeader = true
		case "-X":
			n++
			req.Method = args[n]
		case "-H":
			n++
			name, value, _ := strings.Cut(args[n], ": ")
			req.Header.Set(name, value)
		case "-d":
			n++
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(args[n])), int64(len(args[n]))
		default:
			if !strings.HasPrefix(arg, installedURL+"/") {
				return fmt.Errorf("curl: %s is not for the service", arg)
			}
			if req.URL, err = req.URL.Parse("http://" + os.Getenv("INSTALL_ADDRESS") + strings.TrimPrefix(arg, installedURL)); err != nil {
				return err
			}
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if showHeader {
		fmt.Printf("HTTP/1.1 %s\n\n", res.Status)
	}
	_, err = io.Copy(os.Stdout, res.Body)
	fmt.Println()
	return err
}

// docker is what compose.yaml would do: it wants the variables that are required there, and
// starts the service anew with .env.
func docker(args []string) error {
	switch command := strings.Join(args, " "); {
	case command == "compose up --build --detach", command == "compose up --detach":
		return composeUp()
	case strings.HasPrefix(command, "compose exec -T mergegate /mergegate "):
		env, err := installedEnv()
		if err != nil {
			return err
		}
		cmd := exec.Command(os.Getenv("INSTALL_PROGRAM"), args[5:]...)
		cmd.Env, cmd.Stdout, cmd.Stderr = env, os.Stdout, os.Stderr
		return cmd.Run()
	default:
		return fmt.Errorf("docker: no %s in this test", command)
	}
}

func composeUp() error {
	env, err := installedEnv()
	if err != nil {
		return err
	}
	compose, err := os.ReadFile("compose.yaml")
	if err != nil {
		return err
	}
	for _, match := range regexp.MustCompile(`\$\{(\w+):\?`).FindAllSubmatch(compose, -1) {
		if !strings.Contains("\n"+strings.Join(env, "\n"), "\n"+string(match[1])+"=") {
			return fmt.Errorf("compose.yaml wants %s in .env", match[1])
		}
	}
	stopInstalled(os.Getenv("INSTALL_FOLDER"))
	log, err := os.Create(filepath.Join(os.Getenv("INSTALL_FOLDER"), "service.log"))
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Getenv("INSTALL_PROGRAM"), "serve")
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives this command
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	if err := os.WriteFile(filepath.Join(os.Getenv("INSTALL_FOLDER"), "service.pid"), []byte(pid), 0o600); err != nil {
		return err
	}
	return awaitReady("http://" + os.Getenv("INSTALL_ADDRESS") + "/readyz")
}

func awaitReady(url string) error {
	for deadline := time.Now().Add(servertest.Patience); time.Now().Before(deadline); <-time.After(50 * time.Millisecond) {
		res, err := http.Get(url)
		if err != nil {
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return nil
		}
	}
	log, _ := os.ReadFile(filepath.Join(os.Getenv("INSTALL_FOLDER"), "service.log"))
	return fmt.Errorf("the service doesn't get ready:\n%s", log)
}

// installedEnv is the service's environment: what compose.yaml and .env set, and where the
// stand-ins are.
func installedEnv() ([]string, error) {
	file, err := os.ReadFile(filepath.Join(os.Getenv("INSTALL_FOLDER"), ".env"))
	if err != nil {
		return nil, err
	}
	env := []string{asProgram + "=1", "MERGEGATE_LISTEN=" + os.Getenv("INSTALL_ADDRESS")}
	for _, name := range []string{"PATH", "HOME", "GORACE", "DATABASE_URL", "MERGEGATE_APPVEYOR_URL", "MERGEGATE_BITBUCKET_API_URL", "MERGEGATE_FORGE_JWKS_URL"} {
		env = append(env, name+"="+os.Getenv(name))
	}
	for line := range strings.Lines(string(file)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			env = append(env, line)
		}
	}
	return env, nil
}

func stopInstalled(folder string) {
	text, err := os.ReadFile(filepath.Join(folder, "service.pid"))
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	_ = os.Remove(filepath.Join(folder, "service.pid"))
}

// npm only has to be called where a package.json is.
func npm([]string) error {
	_, err := os.Stat("package.json")
	return err
}

// forgeCLI registers the app in the manifest of its folder, and else wants what Atlassian's
// wants.
func forgeCLI(args []string) error {
	manifest, err := os.ReadFile("manifest.yml")
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return fmt.Errorf("forge: no command")
	}
	switch args[0] {
	case "register":
		registered := regexp.MustCompile(`ari:cloud:ecosystem::app/\S+`).ReplaceAll(manifest, []byte(forgetest.AppID))
		return os.WriteFile("manifest.yml", registered, 0o644) //nolint:gosec // as it is in a checkout
	case "deploy", "install":
		if os.Getenv("BACKEND_URL") != installedURL {
			return fmt.Errorf("forge: BACKEND_URL is %q", os.Getenv("BACKEND_URL"))
		}
		return nil
	case "login":
		return nil
	default:
		return fmt.Errorf("forge: no %s in this test", args[0])
	}
}
