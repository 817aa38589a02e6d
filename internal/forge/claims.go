package forge

import (
	"encoding/json"
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
	if id != "" {
		i.workspaces = append(i.workspaces, strings.ToLower(strings.Trim(id, "{}")))
	}
}
