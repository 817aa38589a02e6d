package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxFaults is how many faults of a document are told; more help nobody.
const maxFaults = 100

// Fault is one thing that is wrong with a document, and where. Lines and columns
// count from 1.
type Fault struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

// Error is the fault with its place.
func (f Fault) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", f.Line, f.Column, f.Message)
}

// Faults are all that is wrong with a document, in its order.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted are the faults in the document's order, at most maxFaults of them. A fault that
// several aliases lead to counts once.
func (f Faults) sorted() Faults {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	f = slices.Compact(f)
	if len(f) > maxFaults {
		last := f[maxFaults]
		last.Message = fmt.Sprintf("%d more faults follow", len(f)-maxFaults)
		f = append(f[:maxFaults:maxFaults], last)
	}
	return f
}

// unknown says that a word isn't one of the known, and suggests the nearest.
func unknown(word string, known []string) string {
	if meant := nearest(word, known); meant != "" {
		return "`" + word + "`: did you mean `" + meant + "`?"
	}
	return "`" + word + "` is unknown here; known are " + strings.Join(known, ", ")
}

// nearest is the known word that a slip of the fingers makes into word, or "".
func nearest(word string, known []string) string {
	if len(word) > 64 {
		return ""
	}
	best, least := "", max(1, len(word)/3)+1
	for _, k := range known {
		if d := distance(spelling(word), spelling(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters have to be added, dropped, changed or swapped with
// their neighbour to make a into b.
func distance(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			changed := last[j-1]
			if a[i-1] != b[j-1] {
				changed++
			}
			row[j] = min(last[j]+1, row[j-1]+1, changed)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// spelling makes one word of those that people write for it: required-if-present
// is required_if_present.
func spelling(word string) string {
	return strings.ReplaceAll(strings.ToLower(word), "-", "_")
}
