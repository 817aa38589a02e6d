package server

import (
	"encoding/base32"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"mergegate/internal/mergecheck"
	"mergegate/internal/postgres"
)

// A build's id in the API carries the workspace, so that its row is looked for where that
// workspace's are: "4711-" and 26 characters, with an r before the number of what a build
// script reported.
var buildIDPattern = regexp.MustCompile(`^(r?)([1-9][0-9]{0,17})-([a-z2-7]{26})$`)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func formatBuildID(workspaceUUID string, b mergecheck.Build) string {
	id, err := hex.DecodeString(strings.ReplaceAll(workspaceUUID, "-", ""))
	if err != nil {
		return "" // never: it is a column of that type
	}
	text := strconv.FormatInt(b.ID, 10) + "-" + base32Lower.EncodeToString(id)
	if b.ConfirmedBy == mergecheck.ConfirmedByReport {
		text = "r" + text
	}
	return text
}

// parseBuildID reads what formatBuildID wrote and nothing else.
func parseBuildID(text string) (id postgres.BuildID, ok bool) {
	parts := buildIDPattern.FindStringSubmatch(text)
	if parts == nil {
		return id, false
	}
	workspace, err := base32Lower.DecodeString(parts[3])
	if err != nil || base32Lower.EncodeToString(workspace) != parts[3] {
		return id, false
	}
	id.Reported = parts[1] != ""
	id.ID, _ = strconv.ParseInt(parts[2], 10, 64) // 18 digits always fit
	id.WorkspaceUUID = uuid.UUID(workspace).String()
	return id, true
}
