package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"Shell: bash, zsh or fish"`
}

// Help says where the script goes.
func (completionCommand) Help() string {
	return `Examples:
  source <(mergegate completion bash)                                      # in ~/.bashrc
  source <(mergegate completion zsh)                                       # in ~/.zshrc, after compinit
  mergegate completion fish > ~/.config/fish/completions/mergegate.fish`
}

// Run prints a completion script.
func (c completionCommand) Run(p *program, parsed *kong.Context) error {
	writers := map[string]func(io.Writer, []place) error{"bash": writeBash, "zsh": writeZsh, "fish": writeFish}
	write, ok := writers[c.Shell]
	if !ok {
		return usageError{errors.New("there are scripts for bash, zsh and fish")}
	}
	return write(p.stdout, placesOf("", parsed.Model.Node))
}

// place is where somebody can be on the command line: after the name of a command,
// "" being the program itself.
type place struct {
	path  string
	words []word // commands and values that can follow
	flags []flag
}

// word is what can be typed, and what it means.
type word struct{ text, help string }

type flag struct {
	word
	takesValue bool
	values     []word // none: any
}

func (p place) flagWords() []word {
	words := make([]word, len(p.flags))
	for i, f := range p.flags {
		words[i] = f.word
	}
	return words
}

// placesOf is the place of a command and those below it.
func placesOf(path string, node *kong.Node) []place {
	here := place{path: path}
	var below []place
	for _, child := range node.Children {
		if child.Hidden || child.Type != kong.CommandNode {
			continue
		}
		here.words = append(here.words, word{child.Name, child.Help})
		below = append(below, placesOf(strings.TrimSpace(path+" "+child.Name), child)...)
	}
	for _, positional := range node.Positional {
		here.words = append(here.words, valuesOf(positional)...)
	}
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			here.flags = append(here.flags, flag{word: word{"--" + f.Name, f.Help}, takesValue: !f.IsBool(), values: valuesOf(f.Value)})
		}
	}
	return append([]place{here}, below...)
}

// valuesOf is what a flag or argument can be, none where it can be anything.
func valuesOf(value *kong.Value) []word {
	var words []word
	for _, text := range value.EnumSlice() {
		if text != "" {
			words = append(words, word{text, value.Help})
		}
	}
	return words
}

// paths are the places' as alternatives of a shell's case.
func paths(places []place) string {
	var quoted []string
	for _, p := range places[1:] {
		quoted = append(quoted, quote(p.path))
	}
	return strings.Join(quoted, "|")
}

// quote makes text one word of a POSIX shell, whatever is in it.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// writeBash writes a function that finds the place by the words so far, and offers
// what can follow there: a flag's values, else commands, or flags after a dash.
func writeBash(w io.Writer, places []place) error {
	fmt.Fprintf(w, `# bash completion of mergegate
_mergegate() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at= next words= flags= i
	if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		next="${at:+$at }${COMP_WORDS[i]}"
		case $next in
		%s) at=$next ;;
		esac
	done
	case "$at $prev" in
`, paths(places))
	writeValues(w, places, func(values []word) string { return "words=" + quote(joined(values)) })
	fmt.Fprint(w, "\t*)\n\t\tcase $at in\n")
	for _, p := range places {
		fmt.Fprintf(w, "\t\t%s) words=%s flags=%s ;;\n", quote(p.path), quote(joined(p.words)), quote(joined(p.flagWords())))
	}
	_, err := fmt.Fprint(w, `		esac
		if [[ $cur == -* ]]; then words=$flags; fi
		;;
	esac
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _mergegate mergegate
`)
	return err
}

// writeValues writes the branches of a case for flags whose values are to be typed:
// those there are, or nothing for the shell's own completion to take over.
func writeValues(w io.Writer, places []place, offer func([]word) string) {
	for _, p := range places {
		var free []string
		for _, f := range p.flags {
			at := quote(p.path + " " + f.text)
			switch {
			case !f.takesValue:
			case len(f.values) == 0:
				free = append(free, at)
			default:
				fmt.Fprintf(w, "\t%s) %s ;;\n", at, offer(f.values))
			}
		}
		if len(free) > 0 {
			fmt.Fprintf(w, "\t%s) ;;\n", strings.Join(free, "|"))
		}
	}
}

func joined(words []word) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = w.text
	}
	return strings.Join(list, " ")
}

// writeZsh does the same with zsh's own functions, which show the help too.
func writeZsh(w io.Writer, places []place) error {
	fmt.Fprintf(w, `#compdef mergegate
_mergegate() {
	local at= next i prev=${words[CURRENT-1]}
	local -a found flags
	for ((i = 2; i < CURRENT; i++)); do
		next="${at:+$at }${words[i]}"
		case $next in
		(%s) at=$next ;;
		esac
	done
	case "$at $prev" in
`, paths(places))
	writeValues(w, places, func(values []word) string { return "found=(" + described(values) + ")" })
	fmt.Fprint(w, "\t*)\n\t\tcase $at in\n")
	for _, p := range places {
		fmt.Fprintf(w, "\t\t(%s) found=(%s) flags=(%s) ;;\n", quote(p.path), described(p.words), described(p.flagWords()))
	}
	_, err := fmt.Fprint(w, `		esac
		if [[ ${words[CURRENT]} == -* ]]; then found=("${flags[@]}"); fi
		;;
	esac
	if ((${#found})); then _describe mergegate found; else _files; fi
}
if [[ ${funcstack[1]} == _mergegate ]]; then _mergegate "$@"; else compdef _mergegate mergegate; fi
`)
	return err
}

// described is words as _describe takes them: a colon parts a word from its help.
func described(words []word) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = quote(strings.ReplaceAll(w.text, ":", `\:`) + ":" + w.help)
	}
	return strings.Join(list, " ")
}

// writeFish writes one line for each word and flag, with the place it is for.
func writeFish(w io.Writer, places []place) error {
	fmt.Fprintf(w, `# fish completion of mergegate
function __mergegate_at
	set -l at
	for word in (commandline -opc)[2..-1]
		set -l next (string trim -- "$at $word")
		if contains -- $next %s
			set at $next
		end
	end
	test "$at" = "$argv"
end
complete -c mergegate -f
complete -c mergegate -n '__mergegate_at policy validate; or __mergegate_at policy apply; or __mergegate_at policy simulate' -F
`, strings.ReplaceAll(paths(places), "|", " "))
	var err error
	for _, p := range places {
		at := fishQuote("__mergegate_at " + p.path)
		for _, word := range p.words {
			_, err = fmt.Fprintf(w, "complete -c mergegate -n %s -a %s -d %s\n", at, fishQuote(word.text), fishQuote(word.help))
		}
		for _, f := range p.flags {
			values := ""
			if f.takesValue {
				values = " -x -a " + fishQuote(joined(f.values))
			}
			_, err = fmt.Fprintf(w, "complete -c mergegate -n %s -l %s%s -d %s\n", at, strings.TrimPrefix(f.text, "--"), values, fishQuote(f.help))
		}
	}
	return err
}

// fishQuote makes text one word of fish, where a backslash counts between quotes.
func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
