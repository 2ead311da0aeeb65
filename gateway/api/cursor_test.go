package api

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"civgate/gateway"
)

func TestCursorRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := cursor{
			list:  rapid.SampledFrom([]list{listContacts, listCompanies, listTags}).Draw(t, "list"),
			newer: rapid.Bool().Draw(t, "newer"),
			id:    rapid.Int64Range(0, math.MaxInt64-1).Draw(t, "id"),
		}
		got, err := parseCursor(c.list, c.String())
		if err != nil || got != c {
			t.Fatalf("%+v became %+v, %v", c, got, err)
		}
	})
}

// FuzzCursor: what is accepted is exactly what String writes.
func FuzzCursor(f *testing.F) {
	for _, c := range []cursor{{list: listContacts, id: 1}, {list: listCompanies, id: 5, newer: true}, {list: listContacts, id: math.MaxInt64 - 1}} {
		f.Add(c.String())
		f.Add(c.String() + "\n")
		f.Add(c.String()[1:])
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		for _, of := range []list{listContacts, listCompanies, listTags} {
			c, err := parseCursor(of, s)
			switch {
			case err != nil:
				if gateway.CodeOf(err) != gateway.CodeInvalid {
					t.Errorf("%q: %v", s, err)
				}
			case c.String() != s || c.list != of:
				t.Errorf("%q was read as %+v, whose text is %q", s, c, c.String())
			}
		}
	})
}
