package mergecheck_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"mergegate/api"
	"mergegate/internal/mergecheck"
)

// declaredCodes reads the constants of type Code, in their order. A list kept by hand
// could miss one.
func declaredCodes(t *testing.T) (codes []mergecheck.Code) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			if group, ok := declaration.(*ast.GenDecl); ok && group.Tok == token.CONST {
				codes = append(codes, codesOf(t, group)...)
			}
		}
	}
	if len(codes) == 0 {
		t.Fatal("no code is declared")
	}
	return codes
}

func codesOf(t *testing.T, constants *ast.GenDecl) (codes []mergecheck.Code) {
	t.Helper()
	for _, spec := range constants.Specs {
		values, _ := spec.(*ast.ValueSpec) // a group of constants has nothing else
		if of, ok := values.Type.(*ast.Ident); !ok || of.Name != "Code" {
			continue
		}
		for _, value := range values.Values {
			literal, ok := value.(*ast.BasicLit)
			if !ok {
				t.Fatalf("%s is not a word written out", values.Names[0].Name)
			}
			code, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, mergecheck.Code(code))
		}
	}
	return codes
}

// TestEveryCodePassesOrHasItsPlace fails for a code that is neither a pass nor among
// those that are reported in order: decide would never return it.
func TestEveryCodePassesOrHasItsPlace(t *testing.T) {
	t.Parallel()
	var passes []mergecheck.Code
	for _, code := range declaredCodes(t) {
		if code.Success() {
			passes = append(passes, code)
		}
	}
	if diff := cmp.Diff(slices.Concat(passes, mergecheck.FailCodes), declaredCodes(t)); diff != "" {
		t.Errorf("codes (-passes and FailCodes +declared):\n%s", diff)
	}
}

// TestDocumentsNameEveryCode holds the lists of codes that people and programs read to
// those that there are. Their order says which of several is reported.
func TestDocumentsNameEveryCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		where string
		names func(t *testing.T) []mergecheck.Code
	}{
		{where: "README.md, under Codes", names: func(t *testing.T) []mergecheck.Code {
			_, section, _ := strings.Cut(read(t, "../../README.md"), "\n## Codes\n")
			section, _, _ = strings.Cut(section, "\n## ")
			var codes []mergecheck.Code
			for line := range strings.Lines(section) {
				if cells := strings.Split(line, "|"); len(cells) > 1 {
					codes = append(codes, backticked(cells[1])...)
				}
			}
			return codes
		}},
		{where: "api/openapi.yaml, in the enum code", names: func(t *testing.T) []mergecheck.Code {
			doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
			if err != nil {
				t.Fatal(err)
			}
			var codes []mergecheck.Code
			for _, value := range doc.Components.Schemas["code"].Value.Enum {
				code, _ := value.(string)
				codes = append(codes, mergecheck.Code(code))
			}
			return codes
		}},
		{where: "docs/api.md, where it lists the codes", names: func(t *testing.T) []mergecheck.Code {
			_, paragraph, _ := strings.Cut(read(t, "../../docs/api.md"), "\nThe codes that pass are ")
			paragraph, _, _ = strings.Cut(paragraph, "\n\n")
			return backticked(paragraph)
		}},
	} {
		t.Run(tt.where, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(declaredCodes(t), tt.names(t)); diff != "" {
				t.Errorf("codes (-declared +named):\n%s", diff)
			}
		})
	}
}

var word = regexp.MustCompile("`([a-z_]+)`")

func backticked(text string) (codes []mergecheck.Code) {
	for _, match := range word.FindAllStringSubmatch(text, -1) {
		codes = append(codes, mergecheck.Code(match[1]))
	}
	return codes
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
