package main

type demoCommand struct {
	Keep bool `help:"Leave everything running and print what to try."`
}

// Run tells the story.
func (d demoCommand) Run(*program) error { return nil }
