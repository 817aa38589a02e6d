package config

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mergegate/internal/sealed"
)

// OwnSecretKey returns the key that the embedded database goes with, from the data folder, made when it isn't there. A file that
// holds none is a fault: without the key that was in it, what is sealed can't be read, and
// another key would have nobody notice.
func OwnSecretKey(dir string) ([][]byte, error) {
	file := filepath.Join(dir, "secret.key")
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		content, err = makeSecretKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("secret key: %w", err)
	}
	keys, err := parseKeys(strings.TrimSpace(string(content)))
	if err != nil || len(keys) == 0 {
		return nil, Error{fmt.Errorf("%s is empty or damaged: restore it from a backup, or delete it to start with a new key. "+
			"With a new key, links to pages and badges, webhook secrets and kept app tokens are made again", file)}
	}
	return keys, nil
}

// makeSecretKey makes a key where there is none, and returns what is there: another
// process may make one at the same moment. The file is whole from the moment it is there.
func makeSecretKey(file string) (content []byte, err error) {
	key := make([]byte, sealed.KeySize)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	fresh, err := os.CreateTemp(filepath.Dir(file), "secret.key.*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(fresh.Name()) }()
	_, err = fresh.WriteString(base64.StdEncoding.EncodeToString(key))
	if err := errors.Join(err, fresh.Sync(), fresh.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(fresh.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := syncFolder(filepath.Dir(file)); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// syncFolder makes a new name in a folder survive a crash of the machine.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
