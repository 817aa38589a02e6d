package embedded

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the operating system's user that the child runs as. The zero value is ourselves.
type account struct {
	name     string
	uid, gid int
	nameless bool // the system has no name for it; name is for people
}

func (a account) other() bool { return a.name != "" }

// take makes the account own a path.
func (a account) take(path string) error {
	if !a.other() {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// takeAll makes the account own a folder with everything in it.
func (a account) takeAll(path string) error {
	return filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, a.uid, a.gid)
	})
}

// account picks the user to run PostgreSQL as. Existing data is run by its owner, so that a
// folder made as an ordinary user, or before the user postgres existed, goes on working. New data
// that root makes gets a user of its own.
func (f folder) account() (account, error) {
	data := f.data()
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
	case me == 0 && owner >= 0:
		return accountOf(owner)
	case me == 0:
		return f.newAccount()
	case owner >= 0 && owner != me:
		return account{}, fmt.Errorf("%s belongs to user %d, not to user %d", data, owner, me)
	}
	return account{}, nil
}

// Ids that Linux distributions and systemd leave alone, for users that exist nowhere else:
// https://systemd.io/UIDS-GIDS/
const (
	firstOwnID = 60706
	lastOwnID  = 61183
)

// newAccount returns a user whom nobody else is, where the system takes one. Whoever runs as the
// same user as the server reaches its folders through /proc, and so its data and its socket; as
// the users postgres and nobody many programs run.
func (f folder) newAccount() (account, error) {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(f.root))
	const ids = lastOwnID - firstOwnID + 1
	for i := range 20 {
		id := firstOwnID + (int(sum.Sum32()%ids)+i)%ids
		if _, err := user.LookupId(strconv.Itoa(id)); err == nil {
			continue // it has a name, so somebody is it
		}
		if canPassFolders && f.takes(id) {
			return ownAccount(id), nil
		}
		break
	}
	return unprivileged()
}

func ownAccount(id int) account {
	return account{name: "number " + strconv.Itoa(id), uid: id, gid: id, nameless: true}
}

// takes reports whether files can belong to a user of that id: a container may have fewer.
func (f folder) takes(id int) bool {
	probe, err := os.MkdirTemp(filepath.Dir(f.data()), "unfinished-")
	if err != nil {
		return false
	}
	return errors.Join(os.Chown(probe, id, id), os.Remove(probe)) == nil
}

// accountOf returns the user of that id.
func accountOf(uid int) (account, error) {
	if uid >= firstOwnID && uid <= lastOwnID {
		return ownAccount(uid), nil
	}
	return newAccount(user.LookupId(strconv.Itoa(uid)))
}

// unprivileged returns the user postgres, else nobody. initdb needs one that has a name.
func unprivileged() (account, error) {
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
