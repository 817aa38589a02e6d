package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	socketName = ".s.PGSQL.5432"
	// maxSocketPath is the shortest sun_path of the supported systems (macOS, 104 bytes with its NUL).
	maxSocketPath = 103
	// socketPrefix starts the names of socket folders that had to be made elsewhere.
	socketPrefix = "mergegate-socket-"
	// maxLog is the size at which the log file is begun anew.
	maxLog = 10 << 20
)

// folder is where one server keeps everything:
//
//	lock              held for as long as somebody runs the server
//	postgres/data     the database cluster
//	postgres/socket   the socket's folder, or a link to it when this path is too long for a socket
//	postgres/log      what PostgreSQL says
type folder struct{ root string }

// openFolder makes the folder if necessary. Its name is made canonical, since it is how a
// server's process is recognised.
func openFolder(dir string) (folder, error) {
	if dir == "" {
		return folder{}, errors.New("no data folder is given: set MERGEGATE_DATA_DIR or DATABASE_URL")
	}
	if err := os.MkdirAll(filepath.Join(dir, "postgres"), 0o700); err != nil {
		return folder{}, fmt.Errorf("make the data folder: %w", err)
	}
	return findFolder(dir)
}

func findFolder(dir string) (folder, error) {
	root, err := filepath.Abs(dir)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return folder{}, fmt.Errorf("find the data folder: %w", err)
	}
	return folder{root: root}, nil
}

func (f folder) data() string    { return filepath.Join(f.root, "postgres", "data") }
func (f folder) socket() string  { return filepath.Join(f.root, "postgres", "socket") }
func (f folder) logFile() string { return filepath.Join(f.root, "postgres", "log") }

// lock takes the folder until unlock or the end of the process, however it ends.
func (f folder) lock() (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(f.root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrInUse, f.root), file.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock the data folder %s: %w", f.root, err), file.Close())
	}
	return file, nil
}

// unlock gives the folder back. A child that is just being started has the file open until it
// becomes another program, so that closing it alone may come to nothing for a moment.
func unlock(lock *os.File) error {
	return errors.Join(syscall.Flock(int(lock.Fd()), syscall.LOCK_UN), lock.Close())
}

// makeSocket makes an empty private folder for the socket and returns its path. When the usual
// path is too long for a client's address, it is a link to a short one.
func (f folder) makeSocket(owner account) (string, error) {
	if err := f.removeSocket(); err != nil {
		return "", err
	}
	path := f.socket()
	if !fitsSocket(path) {
		return f.makeShortSocket(owner)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", fmt.Errorf("make the socket's folder: %w", err)
	}
	return path, owner.take(path)
}

func (f folder) makeShortSocket(owner account) (string, error) {
	path, err := os.MkdirTemp("", socketPrefix)
	if err != nil {
		return "", fmt.Errorf("make a short folder for the socket: %w", err)
	}
	if !fitsSocket(path) {
		return "", errors.Join(fmt.Errorf("neither %s nor %s is short enough for a socket: choose a shorter folder with MERGEGATE_DATA_DIR",
			f.socket(), path), os.Remove(path))
	}
	if err := os.Symlink(path, f.socket()); err != nil {
		return "", errors.Join(fmt.Errorf("record the socket's folder: %w", err), os.Remove(path))
	}
	return path, owner.take(path)
}

// socketFolder returns the folder that really holds the socket.
func (f folder) socketFolder() string {
	if target, err := os.Readlink(f.socket()); err == nil {
		return target
	}
	return f.socket()
}

func (f folder) removeSocket() error {
	var err error
	if target := f.socketFolder(); strings.HasPrefix(filepath.Base(target), socketPrefix) {
		err = os.RemoveAll(target)
	}
	if err = errors.Join(err, os.RemoveAll(f.socket())); err != nil {
		return fmt.Errorf("remove the socket's folder: %w", err)
	}
	return nil
}

func fitsSocket(dir string) bool { return len(filepath.Join(dir, socketName)) <= maxSocketPath }

// serverLog is the file that a child writes its messages to.
type serverLog struct {
	*os.File
	start int64 // where this run's messages begin
}

func (f folder) openLog() (serverLog, error) {
	file, err := os.OpenFile(f.logFile(), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return serverLog{}, fmt.Errorf("open PostgreSQL's log: %w", err)
	}
	info, err := file.Stat()
	if err == nil && info.Size() > maxLog {
		err = file.Truncate(0)
		return serverLog{File: file}, err
	}
	if err != nil {
		return serverLog{}, errors.Join(fmt.Errorf("open PostgreSQL's log: %w", err), file.Close())
	}
	return serverLog{File: file, start: info.Size()}, nil
}

// tail returns the end of what this run has logged, empty when it can't be read.
func (l serverLog) tail() string {
	const most = 2 << 10
	info, err := l.Stat()
	if err != nil {
		return ""
	}
	from := max(l.start, info.Size()-most)
	text := make([]byte, max(0, info.Size()-from))
	n, _ := l.ReadAt(text, from) // a short read still shows what there is
	return strings.TrimSpace(string(text[:n]))
}
