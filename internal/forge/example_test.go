package forge_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"mergegate/internal/forge"
	"mergegate/internal/forge/forgetest"
)

// A question of a merge check: who asks, and what about.
func Example() {
	issuer, err := forgetest.New()
	if err != nil {
		log.Fatal(err)
	}
	defer issuer.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	verifier, err := forge.NewVerifier(ctx, forge.Config{AppIDs: []string{forgetest.AppID}, JWKSURL: issuer.URL})
	if err != nil {
		log.Fatal(err)
	}

	invocation, err := verifier.Verify(ctx, issuer.Token())
	if err != nil {
		log.Fatal(err)
	}
	check, err := forge.ParseMergeCheck([]byte(`{
		"workspace": {"uuid": "{b7ea02c9-0871-4858-a2a6-a190d7de977c}"},
		"repository": {"uuid": "{15a31549-1cff-45dc-9d0d-310114c5038b}"},
		"pullrequest": {"id": 123}, "trigger": {"type": "on-merge"}}`))
	fmt.Println(check.Trigger, check.PullRequestID, err)
	fmt.Println(invocation.ForWorkspace(check.WorkspaceUUID))

	_, err = verifier.Verify(ctx, issuer.Token(forgetest.WithClaim("principal", "a person")))
	fmt.Println(errors.Is(err, forge.ErrForbidden))
	// Output:
	// on-merge 123 <nil>
	// true
	// true
}
