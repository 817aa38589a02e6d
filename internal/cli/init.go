package cli

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/term"

	"mergegate/internal/config"
	"mergegate/internal/mergecheck"
	"mergegate/internal/sealed"
	"mergegate/internal/terminal"
)

type initCommand struct {
	Workspace          string `placeholder:"ID" help:"Bitbucket workspace, as in https://bitbucket.org/ID"`
	Account            string `placeholder:"NAME" help:"AppVeyor account that builds its repositories, as in https://ci.appveyor.com/account/NAME"`
	PublicURL          string `name:"public-url" placeholder:"URL" help:"Where Bitbucket and AppVeyor reach the service, such as https://gate.example.com"`
	EnvFile            string `default:".env" placeholder:"FILE" help:"File to write, default .env; an existing file is never replaced"`
	AppVeyorTokenFile  string `name:"appveyor-token-file" placeholder:"FILE" help:"File with an AppVeyor API token; needed for private projects"`
	BitbucketTokenFile string `name:"bitbucket-token-file" placeholder:"FILE" help:"File with a Bitbucket access token; not needed with the Forge app"`
}

// Help explains what is written and printed.
func (initCommand) Help() string {
	return `Writes the service's configuration to a file that a shell and Docker can read, and
prints what to paste into AppVeyor, Bitbucket and Forge. It makes the webhook secrets and
the encryption key. On a terminal it asks for what no flag gives; elsewhere --workspace,
--account and --public-url are required.

Examples:
  mergegate init
  mergegate init --workspace acme-team --account acme --public-url https://gate.example.com
  mergegate init --workspace acme-team --account acme --public-url https://gate.example.com \
    --env-file /etc/mergegate.env --appveyor-token-file appveyor.token`
}

// setting is one line of the file.
type setting struct{ name, value string }

// Run asks, writes the file and says what to do next.
func (c initCommand) Run(p *program) error {
	if _, err := os.Lstat(c.EnvFile); err == nil {
		return exists(c.EnvFile)
	}
	tokens, err := c.readTokens()
	if err != nil {
		return err
	}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		err = c.ask(&person{in: bufio.NewReader(os.Stdin), out: p.stderr, secret: readSecret}, tokens)
	} else {
		err = c.missing()
	}
	if err != nil {
		return err
	}
	settings := c.settings(tokens)
	if err := check(settings); err != nil {
		return err
	}
	if err := writeEnvFile(c.EnvFile, settings); err != nil {
		return err
	}
	return c.printNext(p.stdout, settings)
}

func exists(file string) error {
	return usageError{fmt.Errorf("%s exists, and init never replaces a file; move it away, or choose another with --env-file", file)}
}

// missing names every flag that is needed where nobody can be asked.
func (c initCommand) missing() error {
	var flags []string
	for _, flag := range []struct{ name, value string }{{"--workspace", c.Workspace}, {"--account", c.Account}, {"--public-url", c.PublicURL}} {
		if flag.value == "" {
			flags = append(flags, flag.name)
		}
	}
	if len(flags) > 0 {
		return usageError{fmt.Errorf("this is no terminal, so init can't ask; give %s", strings.Join(flags, ", "))}
	}
	return nil
}

const (
	accountsName       = "MERGEGATE_APPVEYOR_ACCOUNTS"
	publicURLName      = "MERGEGATE_PUBLIC_URL"
	appveyorTokenName  = "MERGEGATE_APPVEYOR_TOKEN"
	bitbucketTokenName = "MERGEGATE_BITBUCKET_TOKEN"
	appveyorHookName   = "MERGEGATE_APPVEYOR_WEBHOOK_SECRET"
	bitbucketHookName  = "MERGEGATE_BITBUCKET_WEBHOOK_SECRET"
)

// readTokens reads the tokens that files hold, by variable.
func (c initCommand) readTokens() (map[string]string, error) {
	tokens := map[string]string{}
	for _, token := range []struct{ flag, file, name string }{
		{"--appveyor-token-file", c.AppVeyorTokenFile, appveyorTokenName},
		{"--bitbucket-token-file", c.BitbucketTokenFile, bitbucketTokenName},
	} {
		if token.file == "" {
			continue
		}
		content, err := os.ReadFile(token.file)
		var of *fs.PathError
		switch text := strings.TrimSpace(string(content)); {
		case errors.As(err, &of):
			return nil, usageError{fmt.Errorf("%s: can't read %q: %w", token.flag, token.file, of.Err)}
		case err != nil:
			return nil, usageError{fmt.Errorf("%s: can't read %q: %w", token.flag, token.file, err)}
		case text == "":
			return nil, usageError{fmt.Errorf("%s: %q is empty", token.flag, token.file)}
		default:
			tokens[token.name] = text
		}
	}
	return tokens, nil
}

// person answers questions.
type person struct {
	in     *bufio.Reader
	out    io.Writer
	secret func() (string, error) // reads a line that isn't shown
}

func readSecret() (string, error) {
	line, err := term.ReadPassword(int(os.Stdin.Fd()))
	return string(line), err
}

// answer asks until wrong has nothing to say. A secret may be left out.
func (p *person) answer(question string, isSecret bool, wrong func(answer string) error) (string, error) {
	for {
		fmt.Fprintf(p.out, "%s: ", question)
		line, err := "", error(nil)
		if isSecret {
			line, err = p.secret()
			fmt.Fprintln(p.out)
		} else {
			line, err = p.in.ReadString('\n')
		}
		line = strings.TrimSpace(line)
		if err != nil && line == "" {
			return "", usageError{errors.New("the questions were not answered; nothing was written")}
		}
		if line == "" && isSecret {
			return "", nil
		}
		err = errors.New("an answer is needed")
		if line != "" {
			err = wrong(line)
		}
		if err == nil {
			return line, nil
		}
		fmt.Fprintln(p.out, err)
	}
}

// ask asks for what no flag gives.
func (c *initCommand) ask(p *person, tokens map[string]string) (err error) {
	one := func(name, before, after string) func(string) error {
		return func(answer string) error { return check([]setting{{name, before + answer + after}}) }
	}
	for _, question := range []struct {
		into  *string
		text  string
		wrong func(string) error
	}{
		{&c.Workspace, "Bitbucket workspace (https://bitbucket.org/ID)", one(accountsName, "account=", "")},
		{&c.Account, "AppVeyor account (https://ci.appveyor.com/account/NAME)", one(accountsName, "", "=workspace")},
		{&c.PublicURL, "Public URL of mergegate (such as https://gate.example.com)", one(publicURLName, "", "")},
	} {
		if *question.into != "" {
			continue
		}
		if *question.into, err = p.answer(question.text, false, question.wrong); err != nil {
			return err
		}
	}
	for _, question := range []struct{ name, text string }{
		{appveyorTokenName, "AppVeyor API token (not shown; Enter for none: public projects only)"},
		{bitbucketTokenName, "Bitbucket access token (not shown; Enter for none: with the Forge app)"},
	} {
		if tokens[question.name] != "" {
			continue
		}
		if tokens[question.name], err = p.answer(question.text, true, one(question.name, "", "")); err != nil {
			return err
		}
	}
	return nil
}

// settings are what the file says, with secrets that are made here.
func (c initCommand) settings(tokens map[string]string) []setting {
	list := []setting{
		{publicURLName, strings.TrimRight(c.PublicURL, "/")},
		{accountsName, c.Account + "=" + strings.Trim(c.Workspace, "{}")},
		{appveyorHookName, hex.EncodeToString(random(24))},
		{bitbucketHookName, hex.EncodeToString(random(24))},
		{"MERGEGATE_SECRET_KEY", base64.StdEncoding.EncodeToString(random(sealed.KeySize))},
		{"POSTGRES_PASSWORD", hex.EncodeToString(random(24))},
	}
	for _, name := range []string{appveyorTokenName, bitbucketTokenName} {
		if tokens[name] != "" {
			list = append(list, setting{name, tokens[name]})
		}
	}
	return list
}

func random(size int) []byte {
	made := make([]byte, size)
	_, _ = rand.Read(made) // never fails: crypto/rand ends the program instead
	return made
}

// portable is what a shell and Docker read alike, without quotes.
var portable = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// check has the service's own code read the settings, and wants each to mean the same to a
// shell and to Docker.
func check(settings []setting) error {
	variables := map[string]string{}
	for _, s := range settings {
		variables[s.name] = s.value
	}
	if _, err := config.Load(config.EnvironOf(variables)); err != nil {
		return err
	}
	for _, s := range settings {
		if !portable.MatchString(s.value) {
			return config.NewError(fmt.Errorf("%s: has a character that a shell would change; set it with %s_FILE instead", s.name, s.name))
		}
	}
	return nil
}

// writeEnvFile makes the file, readable for its owner alone. A file that is there stays.
func writeEnvFile(path string, settings []setting) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	var of *fs.PathError
	switch {
	case errors.Is(err, fs.ErrExist):
		return exists(path)
	case errors.As(err, &of):
		return fmt.Errorf("can't write %s: %w", path, of.Err)
	case err != nil:
		return err
	}
	var text strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&text, "%s=%s\n", s.name, s.value)
	}
	_, err = file.WriteString(text.String())
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(fmt.Errorf("can't write %s: %w", path, err), os.Remove(path))
	}
	return nil
}

// printNext says what to paste where. Secrets are shown on a terminal alone: elsewhere they
// would be kept in a log.
func (c initCommand) printNext(w io.Writer, settings []setting) error {
	shown := func(name string) string {
		for _, s := range settings {
			if s.name == name && terminal.Is(w) {
				return s.value
			}
		}
		return "SECRET, with the value of " + name + " in " + c.EnvFile
	}
	read := "set -a; . " + shellPath(c.EnvFile) + "; set +a"
	text := strings.NewReplacer("FILE", c.EnvFile, "READ", read, "PUBLIC_URL", settings[0].value, "WORKSPACE", sitePath(c.Workspace),
		"APPVEYOR_SECRET", shown(appveyorHookName), "BITBUCKET_SECRET", shown(bitbucketHookName)).Replace(next)
	_, err := io.WriteString(w, text)
	return err
}

// sitePath is a workspace as Bitbucket's addresses have it: a UUID with its braces.
func sitePath(workspace string) string {
	if bare := mergecheck.BareUUID(workspace); bare != "" {
		return "{" + bare + "}"
	}
	return workspace
}

// shellPath is a path that the shell's dot takes for one, instead of looking it up in PATH.
func shellPath(path string) string {
	if !filepath.IsAbs(path) && !strings.HasPrefix(path, ".") || filepath.Base(path) == path {
		path = "./" + path
	}
	if portable.MatchString(path) {
		return path
	}
	return quote(path)
}

// next is what is left to do, with capitals where printNext puts something in.
const next = `Wrote FILE, readable only by you. It holds secrets: keep it out of version control.

1. Start mergegate, behind a reverse proxy with TLS:

   READ; mergegate serve
   docker compose up --build --detach     # instead: compose.yaml reads .env, and brings a PostgreSQL

2. Deploy the Forge app (Node 22 or newer, as an admin of the workspace):

   npm install --global @forge/cli && forge login
   cd manifest && npm ci --ignore-scripts
   export BACKEND_URL=PUBLIC_URL
   forge register mergegate && forge lint
   forge deploy --environment production
   forge install --product bitbucket --site https://bitbucket.org/WORKSPACE/ --environment production

   Add MERGEGATE_FORGE_APP_ID=ari:cloud:ecosystem::app/… to FILE, with app.id from
   manifest/manifest.yml, and restart mergegate.

3. AppVeyor, project > Settings > Notifications > Add notification > Webhook:

   URL      PUBLIC_URL/webhooks/appveyor
   Method   POST
   Header   Authorization: Bearer APPVEYOR_SECRET
   Send     on build success, on build failure

4. Bitbucket, Repository settings > Webhooks > Add webhook (not needed with the Forge app):

   URL      PUBLIC_URL/webhooks/bitbucket
   Secret   BITBUCKET_SECRET
   Send     Repository: Push; Pull request: Created, Updated, Merged, Declined

5. Bitbucket, Repository settings > Workflow > Custom merge checks > Add check:

   Check    AppVeyor PR build (on merge)
   Branch   the branch that pull requests go to, such as main
   Tick     Required (needs Bitbucket Premium)

Check the configuration:

   READ; mergegate doctor
`
