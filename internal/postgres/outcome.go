package postgres

import "time"

// Outcome is how far a delivery, a commit status, an effect or a notification has come.
type Outcome string

// The outcomes. Only a [Delivery] is processed or ignored, only a [Notification] delivered;
// a [CommitStatus] and an [Effect] are posted.
const (
	Pending     Outcome = "pending"
	Processed   Outcome = "processed"
	Ignored     Outcome = "ignored" // the reason says by which rule
	Posted      Outcome = "posted"
	NotPostable Outcome = "not_postable" // no repository that has the commit takes it
	Delivered   Outcome = "delivered"
	Failed      Outcome = "failed" // the reason says what stood in the way to the end
)

// Attempt is how one try to tell others something ended: a [CommitStatus], an [Effect]
// or a [Notification].
type Attempt struct {
	Outcome    Outcome // Pending: to be tried again after RetryIn
	HTTPStatus int     // 0 where there was no answer
	Reason     string  // "" where it was taken
	RetryIn    time.Duration
	Shown      string        // the state that was to be shown, kept of a commit status that was posted
	Took       time.Duration // kept of a notification's alone
	Unasked    bool          // nobody was asked: this was no attempt
}
