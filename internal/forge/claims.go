package forge

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"mergegate/internal/mergecheck"
)

// Invocation is what a verified token says about its call.
type Invocation struct {
	AppID          string // ARI, one of Config.AppIDs
	InstallationID string // ARI; stays on upgrades, changes when the app is installed again
	Environment    string // PRODUCTION, STAGING or DEVELOPMENT, as the token writes it
	ModuleKey      string // of the module that called, such as the endpoint's; "" when not told

	workspaces []string // every workspace UUID in the token, lower case, no braces
}

// ForWorkspace tells whether the token speaks for a workspace, given by UUID: it names one at least, and no other.
// Case and braces don't count: Atlassian writes the installation's without, the context's with braces.
func (i Invocation) ForWorkspace(uuid string) bool {
	uuid = mergecheck.BareUUID(uuid)
	if uuid == "" || len(i.workspaces) == 0 {
		return false
	}
	for _, workspace := range i.workspaces {
		if workspace != uuid {
			return false
		}
	}
	return true
}

// Workspace answers the one workspace the token speaks for, "" when it names none or several.
func (i Invocation) Workspace() string {
	if len(i.workspaces) == 0 || !i.ForWorkspace(i.workspaces[0]) {
		return ""
	}
	return i.workspaces[0]
}

// claims are those of Atlassian's "Forge Invocation Token (FIT)" that are used.
type claims struct {
	jwt.RegisteredClaims
	App struct {
		ID             string `json:"id"`
		InstallationID string `json:"installationId"`
		Installation   struct {
			ID       string `json:"id"`
			Contexts []struct {
				Name        string `json:"name"`
				WorkspaceID string `json:"workspaceId"`
			} `json:"contexts"`
		} `json:"installation"`
		Environment struct {
			Type string `json:"type"`
		} `json:"environment"`
		Module struct {
			Key string `json:"key"`
		} `json:"module"`
	} `json:"app"`
	Context struct {
		WorkspaceID string `json:"workspaceId"`
	} `json:"context"`
	Principal json.RawMessage `json:"principal"` // only with calls from a person's browser
	ICLabel   json.RawMessage `json:"icLabel"`   // only in Isolated Clouds, whose keys are elsewhere
}

// lastSecond ends the year 9999. What is later can't be a time of a token, and beyond int64 the parser would take it for
// one of the past.
const lastSecond = 253402300799

// UnmarshalJSON refuses times that aren't whole seconds since 1970: the parser reads them as floating-point numbers, and
// "not before" some of these would be now.
func (c *claims) UnmarshalJSON(data []byte) error {
	var times struct {
		ExpiresAt json.RawMessage `json:"exp"`
		NotBefore json.RawMessage `json:"nbf"`
		IssuedAt  json.RawMessage `json:"iat"`
	}
	if err := json.Unmarshal(data, &times); err != nil {
		return err
	}
	for _, at := range []json.RawMessage{times.ExpiresAt, times.NotBefore, times.IssuedAt} {
		if seconds, err := strconv.ParseInt(string(at), 10, 64); present(at) && (err != nil || seconds < 0 || seconds > lastSecond) {
			return errors.New("a time in the token isn't a whole number of seconds since 1970")
		}
	}
	type plain claims
	return json.Unmarshal(data, (*plain)(c))
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func (c *claims) invocation() Invocation {
	i := Invocation{
		AppID:          c.Audience[0],
		InstallationID: clean(c.App.InstallationID, 256),
		Environment:    clean(c.App.Environment.Type, 64),
		ModuleKey:      clean(c.App.Module.Key, 64),
	}
	if i.InstallationID == "" {
		i.InstallationID = clean(c.App.Installation.ID, 256)
	}
	for _, context := range c.App.Installation.Contexts {
		if context.Name == "bitbucket" {
			i.addWorkspace(context.WorkspaceID)
		}
	}
	i.addWorkspace(c.Context.WorkspaceID)
	return i
}

// addWorkspace keeps what is no UUID as well: it then equals no workspace, rather than being left out.
func (i *Invocation) addWorkspace(id string) {
	if id == "" {
		return
	}
	if uuid := workspaceUUID(id); uuid != "" {
		id = uuid
	}
	i.workspaces = append(i.workspaces, strings.ToLower(id))
}

// workspaceUUID reads a workspace's UUID, with or without braces, alone or at the end of an ARI such as
// ari:cloud:bitbucket::workspace/UUID.
func workspaceUUID(id string) string {
	if strings.HasPrefix(strings.ToLower(id), "ari:") {
		id = id[strings.LastIndexByte(id, '/')+1:]
	}
	return mergecheck.BareUUID(id)
}
