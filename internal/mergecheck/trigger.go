package mergecheck

// The triggers of a merge check, as Forge names them. There are others, and may be more.
const (
	// TriggerOnMerge is of a check that decides a merge; every other one only informs.
	TriggerOnMerge = "on-merge"
	// TriggerOnCodePushed is of a check after a push.
	TriggerOnCodePushed = "on-code-pushed"
)
