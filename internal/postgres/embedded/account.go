package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is the operating system's user that the child runs as. The zero value is ourselves.
type account struct {
	name     string
	uid, gid int
}

func (a account) other() bool { return a.name != "" }

// take makes the account own a path.
func (a account) take(path string) error {
	if !a.other() {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// accountFor picks the user to run PostgreSQL as. Existing data is run by its owner, so that a
// folder made as an ordinary user, or before the user postgres existed, goes on working.
func accountFor(data string) (account, error) {
	owner, err := ownerOf(data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		owner = -1
	case err != nil:
		return account{}, err
	}
	switch me := os.Geteuid(); {
	case me == 0 && owner == 0:
		return account{}, fmt.Errorf("%s belongs to root, as which PostgreSQL refuses to run: give it to another user (chown -R postgres %[1]s)", data)
	case me == 0:
		return unprivileged(owner)
	case owner >= 0 && owner != me:
		return account{}, fmt.Errorf("%s belongs to user %d, not to user %d", data, owner, me)
	}
	return account{}, nil
}

// unprivileged returns the user of that id, or for -1 the user postgres, else nobody. A user
// needs a name: PostgreSQL doesn't run as one that it can't look up.
func unprivileged(uid int) (account, error) {
	if uid >= 0 {
		u, err := user.LookupId(strconv.Itoa(uid))
		return newAccount(u, err)
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	return newAccount(u, err)
}

func newAccount(u *user.User, err error) (account, error) {
	if err != nil {
		return account{}, fmt.Errorf("find a user to run PostgreSQL as: %w", err)
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	return account{name: u.Username, uid: uid, gid: gid}, errors.Join(uidErr, gidErr)
}

func ownerOf(path string) (int, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("find the data's owner: %w", err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), nil
}
