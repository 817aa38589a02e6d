package appveyor

// The longest accepted value of every text that AppVeyor, or who poses as it,
// sends, in bytes, and how many entries of a list are kept; of a history, as many
// as were asked for. PostgreSQL indexes account and slug, which take no more than
// 2,704 bytes together.
//
// A text that names something is never cut, since a part of a name is another
// name: what it belongs to is refused, or it is taken as missing where that only
// makes something be looked up another way. A text for people is cut.
const (
	maxAccount    = 255      // longer: the project, and each build of it, is refused
	maxSlug       = 255      // longer: the same
	maxRepository = 255      // longer: taken as missing, and a build of no repository is refused
	maxProvider   = 64       // longer: taken as missing, which is another provider; in a webhook, AppVeyor is asked
	maxEventName  = 64       // longer: taken as missing, which is an unknown event
	maxVersion    = 512      // longer: taken as missing; a build is found by its id
	maxBranch     = 1024     // longer: the build is refused where it is the target, else taken as missing
	maxCommit     = 64       // longer: taken as missing
	maxStatus     = 64       // longer: taken as missing, which is running
	maxInstant    = 64       // longer: taken as missing
	maxURL        = 4096     // longer: taken as missing, so that the delivery leads to no project
	maxTitle      = 1024     // longer: cut
	maxJobID      = 128      // longer: taken as missing
	maxJobName    = 1024     // longer: cut
	maxNumber     = 32       // longer: taken as missing
	maxJobs       = 2000     // more: none of them is kept, since one that is left out may have failed
	maxProjects   = 10_000   // more: the list is not complete
	maxAnswer     = 16 << 20 // larger: the answer is refused
)
