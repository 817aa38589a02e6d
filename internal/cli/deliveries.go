package cli

import (
	"errors"
	"fmt"

	"mergegate/api"
	"mergegate/internal/client"
	"mergegate/internal/terminal"
)

type deliveriesCommand struct {
	List   deliveriesList   `cmd:"" help:"List what AppVeyor, Forge and Bitbucket sent, newest first"`
	Replay deliveriesReplay `cmd:"" help:"Process one delivery again, or all since a time"`
}

type deliveriesList struct {
	Limit int `default:"20" placeholder:"N" help:"How many to list at most"`
	remote
	jsonFlag
}

// Help shows examples.
func (deliveriesList) Help() string {
	return `A running service wants a token with scope admin.

Examples:
  mergegate deliveries list
  mergegate deliveries list --limit 500 --json | jq '.[] | select(.outcome == "failed")'`
}

// Run lists deliveries.
func (d deliveriesList) Run(p *program) error {
	return p.withAPI(d.remote, command("deliveries list"), func(c *client.Client) error {
		list, more, err := c.Deliveries(p.ctx, d.Limit)
		if err != nil {
			return err
		}
		columns := []string{"ID", "RECEIVED", "SOURCE", "OUTCOME", "APPVEYOR BUILD ID", "ATTEMPTS", "REASON"}
		return printList(p, d.JSON, list, more, columns, func(d api.Delivery) []any {
			build := ""
			if d.BuildID != nil {
				build = fmt.Sprint(*d.BuildID)
			}
			return []any{d.ID, terminal.Time(&d.ReceivedOn, ""), d.Source, d.Outcome, build, d.Attempts, text(d.Reason)}
		})
	})
}

type deliveriesReplay struct {
	ID    string `arg:"" optional:"" help:"Delivery id, from deliveries list"`
	Since string `placeholder:"2d" help:"Replay every delivery received since then instead"`
	remote
	jsonFlag
}

// Help shows examples.
func (deliveriesReplay) Help() string {
	return `What was decided on receipt is decided anew: a delivery that was ignored because its account
was not configured is confirmed now. The running service does the work; this queues it.

Examples:
  mergegate deliveries replay 4711
  mergegate deliveries replay --since 2d`
}

// Run queues deliveries to be processed again.
func (d deliveriesReplay) Run(p *program) error {
	if (d.ID == "") == (d.Since == "") {
		return usageError{errors.New("name one delivery by its id, or give --since for all of a time")}
	}
	since, err := instant("since", d.Since)
	if err != nil {
		return err
	}
	return p.withAPI(d.remote, command("deliveries replay"), func(c *client.Client) error {
		if d.ID != "" {
			return d.one(p, c)
		}
		show, done := p.progress()
		queued, err := c.ReplaySince(p.ctx, since, func(r api.Replayed) { show(fmt.Sprintf("%d of %d deliveries queued", r.Deliveries, r.Of)) })
		done()
		switch {
		case err != nil:
			return err
		case d.JSON:
			return writeJSON(p.stdout, queued)
		}
		_, err = fmt.Fprintf(p.stdout, "%d deliveries queued\n", queued.Deliveries)
		return err
	})
}

func (d deliveriesReplay) one(p *program, c *client.Client) error {
	delivery, err := c.ReplayDelivery(p.ctx, d.ID)
	switch {
	case err != nil:
		return unknown(err, fmt.Sprintf("there is no delivery %s; see mergegate deliveries list", terminal.Plain(d.ID)))
	case d.JSON:
		return writeJSON(p.stdout, delivery)
	}
	_, err = fmt.Fprintf(p.stdout, "delivery %s is queued\n", terminal.Plain(delivery.ID))
	return err
}
