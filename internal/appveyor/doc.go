// Package appveyor reads what AppVeyor sends and answers: the default webhook
// body, build URLs, and builds from its REST API.
//
// A webhook only hints at a build: it carries no head commit, and a build
// script, so a pull request author, can write what is in it. [Client.Build]
// reads the build itself:
//
//	hook, err := appveyor.ParseWebhook(body)
//	ref, err := client.ParseBuildURL(hook.BuildURL)
//	ref.BuildID = hook.BuildID
//	answer, err := client.Build(ctx, ref)
//
// Sources: https://www.appveyor.com/docs/notifications/ and
// https://www.appveyor.com/docs/api/.
package appveyor
