package terminal

import (
	"bytes"
	"testing"
)

func TestControlsAreEscaped(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{name: "plain", text: "Grün: 1.0\tok\n日本 🎉", want: "Grün: 1.0\tok\n日本 🎉"},
		{name: "nothing"},
		{name: "escape", text: "a\x1b[2Jb", want: `a\u001b[2Jb`},
		{name: "carriage return and bell", text: "a\r\ab", want: `a\u000d\u0007b`},
		{name: "C1", text: "\u009b31m", want: `\u009b31m`},
		{name: "direction", text: "x\u202ey\u2066", want: `x\u202ey\u2066`},
		{name: "tag", text: "\U000e0041", want: `\U000e0041`},
		{name: "broken UTF-8, as of a C1", text: "\x9b31m\xff", want: `\x9b31m\xff`},
		{name: "a real replacement character", text: "\ufffd", want: "\ufffd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if n, err := (printable{&out}).Write([]byte(tt.text)); n != len(tt.text) || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
			if out.String() != tt.want {
				t.Errorf("%q, want %q", out.String(), tt.want)
			}
		})
	}
}
