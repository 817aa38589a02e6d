// Package jsonobject reads a few members of a JSON object that somebody else wrote.
// Whatever else the object has is passed over without being kept, so that reading
// it takes no more memory than the members that are asked for.
package jsonobject

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
)

// ErrNotJSON is a body that is not one JSON value.
var ErrNotJSON = errors.New("not JSON")

// Members are values by their names. They are parts of the body, not copies.
type Members map[string]json.RawMessage

// Read reads the named members of a JSON object. Names are matched exactly, and of
// one that is given twice the last counts, as encoding/json has it. It returns nil
// for JSON that is no object, and [ErrNotJSON] for what is not one JSON value.
func Read(body []byte, names ...string) (Members, error) {
	if !json.Valid(body) {
		return nil, ErrNotJSON
	}
	return read(body, names), nil
}

// Object reads the named members of a value that is valid JSON; nil: it is no
// object.
func Object(value []byte, names ...string) Members { return read(value, names) }

// Member reads the named members of a member that is an object; nil: it is none.
func (m Members) Member(name string, names ...string) Members { return read(m[name], names) }

// read expects valid JSON, or nothing.
func read(value []byte, names []string) Members {
	value = bytes.TrimSpace(value)
	if len(value) == 0 || value[0] != '{' {
		return nil
	}
	members := Members{}
	for at := next(value, 1); value[at] != '}'; {
		end := skip(value, at)
		name := key(value[at:end])
		at = next(value, end) // the colon
		at = next(value, at+1)
		end = skip(value, at)
		if slices.Contains(names, name) {
			members[name] = json.RawMessage(value[at:end:end])
		}
		if at = next(value, end); value[at] == ',' {
			at = next(value, at+1)
		}
	}
	return members
}

// Elements calls yield for each element of an array, until it returns false. What
// is no array has none. The array has to be valid JSON.
func Elements(array []byte, yield func(element []byte) bool) {
	array = bytes.TrimSpace(array)
	if len(array) == 0 || array[0] != '[' {
		return
	}
	for at := next(array, 1); array[at] != ']'; {
		end := skip(array, at)
		if !yield(array[at:end:end]) {
			return
		}
		if at = next(array, end); array[at] == ',' {
			at = next(array, at+1)
		}
	}
}

// maxKey is more than six bytes, an escape, for each letter of any name here.
const maxKey = 512

func key(quoted []byte) string {
	if len(quoted) > maxKey {
		return ""
	}
	if !bytes.Contains(quoted, []byte{'\\'}) {
		return string(quoted[1 : len(quoted)-1])
	}
	var name string
	if json.Unmarshal(quoted, &name) != nil {
		return ""
	}
	return name
}

// next is where the next token is, at i or after spaces.
func next(value []byte, i int) int {
	for value[i] == ' ' || value[i] == '\t' || value[i] == '\n' || value[i] == '\r' {
		i++
	}
	return i
}

// skip is where the value ends that begins at i.
func skip(value []byte, i int) int {
	switch value[i] {
	case '"':
		return skipString(value, i)
	case '{', '[':
		for depth := 0; ; i++ {
			switch value[i] {
			case '"':
				i = skipString(value, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for i < len(value) && !bytes.ContainsRune([]byte(" \t\r\n,]}"), rune(value[i])) {
		i++
	}
	return i
}

func skipString(value []byte, i int) int {
	for i++; value[i] != '"'; i++ {
		if value[i] == '\\' {
			i++
		}
	}
	return i + 1
}
