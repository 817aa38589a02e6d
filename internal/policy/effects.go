package policy

import (
	"cmp"

	"mergegate/internal/mergecheck"
)

// Effects are those that any rule of the document asks for: what a credential has
// to be good for.
func (d *Document) Effects() mergecheck.Effects {
	var all mergecheck.Effects
	for _, r := range d.rules {
		var p mergecheck.Policy
		for _, g := range r.given {
			if g.apply != nil {
				g.apply(&p)
			}
		}
		all = mergecheck.Effects{
			Approve: all.Approve || p.Effects.Approve, RequestChanges: all.RequestChanges || p.Effects.RequestChanges,
			Comment: all.Comment || p.Effects.Comment, Task: cmp.Or(all.Task, p.Effects.Task), Report: all.Report || p.Effects.Report,
		}
	}
	return all
}
