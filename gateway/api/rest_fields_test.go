package api

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"civgate/gateway"
)

func TestMemberCursorRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := memberCursor{
			former:  rapid.Bool().Draw(t, "former"),
			since:   time.UnixMicro(rapid.Int64Range(0, 1e6*maxUnix).Draw(t, "since")).UTC(),
			contact: gateway.ContactID(rapid.Int64Range(1, math.MaxInt64).Draw(t, "contact")),
		}
		got, err := parseMemberCursor(c.former, c.String())
		if err != nil || got != c {
			t.Fatalf("%+v became %+v, %v", c, got, err)
		}
		if _, err := parseMemberCursor(!c.former, c.String()); gateway.CodeOf(err) != gateway.CodeInvalid {
			t.Fatalf("a cursor of the other list: %v", err)
		}
	})
}

// FuzzMemberCursor: what is accepted is exactly what String writes.
func FuzzMemberCursor(f *testing.F) {
	f.Add(memberCursor{since: time.Unix(1, 0), contact: 1}.String())
	f.Add(memberCursor{former: true, since: time.Unix(0, 0), contact: math.MaxInt64}.String())
	f.Add(memberCursor{}.String())
	f.Add(cursor{list: listContacts, id: 1}.String())
	f.Fuzz(func(t *testing.T, s string) {
		for _, former := range []bool{false, true} {
			c, err := parseMemberCursor(former, s)
			switch {
			case err != nil:
				if gateway.CodeOf(err) != gateway.CodeInvalid {
					t.Errorf("%q: %v", s, err)
				}
			case c.String() != s || c.former != former || c.contact < 1:
				t.Errorf("%q was read as %+v, whose text is %q", s, c, c.String())
			}
		}
	})
}

func TestInstant(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, tt := range []struct {
		json string
		want time.Time // zero: now
		bad  bool
	}{
		{json: `1700000000`, want: at("2023-11-14T22:13:20Z")},
		{json: `"1700000000"`, want: at("2023-11-14T22:13:20Z")},
		{json: `1700000000.5`, want: at("2023-11-14T22:13:20.5Z")},
		{json: `1700000000123`, want: at("2023-11-14T22:13:20.123Z")},
		{json: `1.7e9`, want: at("2023-11-14T22:13:20Z")},
		{json: `99999999999`, want: at("5138-11-16T09:46:39Z")},
		{json: `100000000000`, want: at("1973-03-03T09:46:40Z")},
		{json: `-86400`, want: at("1969-12-31T00:00:00Z")},
		{json: `"2024-05-06"`, want: at("2024-05-06T00:00:00Z")},
		{json: `"2024-05-06T07:08:09.123456789+02:00"`, want: at("2024-05-06T05:08:09.123456Z")},
		{json: `null`}, {json: `""`}, {json: `0`}, {json: `"0"`}, {json: `-62135596800`}, {json: `"0001-01-01T00:00:00Z"`},
		{json: `253402300800000`, bad: true}, {json: `-62135596801`, bad: true}, {json: `1e400`, bad: true}, {json: `"NaN"`, bad: true}, {json: `"Inf"`, bad: true},
		{json: `"soon"`, bad: true}, {json: `true`, bad: true}, {json: `[1]`, bad: true}, {json: `{}`, bad: true}, {json: `"2024-13-01"`, bad: true},
	} {
		got, err := fields{{Name: "timestamp", Value: []byte(tt.json)}}.instant("timestamp")
		if tt.bad != (gateway.CodeOf(err) == gateway.CodeInvalid) || !got.Equal(tt.want) {
			t.Errorf("%s is %v, %v; want %v, bad %t", tt.json, got, err, tt.want, tt.bad)
		}
	}
}

// FuzzEventFields: whatever a client sends, it is refused with the field at fault, or
// within the bounds of what can be stored.
func FuzzEventFields(f *testing.F) {
	for _, s := range []string{`1`, `"x"`, `null`, `{"a":1,"a":2}`, `{"product_id":"z"}`, `"{\"a\":1}"`, `[]`, `1e999`, `-0`, `"\ud800"`, `"\u0000"`, `{"":{"__proto__":1}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if !json.Valid(value) || len(value) > maxRESTBody {
			return
		}
		in := fields{{Name: "x", Value: value}}
		refused := func(err error) bool {
			if err != nil && gateway.CodeOf(err) != gateway.CodeInvalid {
				t.Errorf("%s: %v", value, err)
			}
			return err != nil
		}
		if at, err := in.instant("x"); !refused(err) && !at.IsZero() && (at.Year() < 1 || at.Year() > 9999) {
			t.Errorf("%s is the time %v", value, at)
		}
		if data, err := in.object("x"); !refused(err) && data != "" {
			if !json.Valid([]byte(data)) || data[0] != '{' || len(data) > gateway.MaxValue {
				t.Errorf("%s is the object %s", value, data)
			}
			merged, err := withProduct("p", data)
			if !refused(err) && (!strings.HasPrefix(merged, `{"product_id":"p"`) || !json.Valid([]byte(merged)) || len(merged) > gateway.MaxValue) {
				t.Errorf("%s with a product is %s", value, merged)
			}
		}
		in[0].Name = "user_id"
		if w, err := in.whom(); !refused(err) && (w.idField == "" || w.id < 0) {
			t.Errorf("%s names %+v", value, w)
		}
		in[0].Name = "user_custom_id"
		if w, err := in.whom(); !refused(err) && (w.own == "" || len(w.own) > gateway.MaxID) {
			t.Errorf("%s names %+v", value, w)
		}
	})
}

func TestHistoryCursorRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := historyCursor{
			list:   listTimeline,
			source: rapid.IntRange(0, 2).Draw(t, "source"),
			at:     time.UnixMicro(rapid.Int64Range(1, 1e6*maxUnix).Draw(t, "at")).UTC(),
			id:     rapid.Int64Range(1, math.MaxInt64).Draw(t, "id"),
		}
		got, err := parseHistoryCursor(listTimeline, 3, c.String())
		if err != nil || got != c {
			t.Fatalf("%+v became %+v, %v", c, got, err)
		}
		if _, err := parseHistoryCursor(listPageViews, 3, c.String()); gateway.CodeOf(err) != gateway.CodeInvalid {
			t.Fatalf("a cursor of another list: %v", err)
		}
		if _, err := parseHistoryCursor(listTimeline, c.source, c.String()); gateway.CodeOf(err) != gateway.CodeInvalid {
			t.Fatalf("a cursor of a source that there isn't: %v", err)
		}
	})
}

// FuzzHistoryCursor: what is accepted is exactly what String writes.
func FuzzHistoryCursor(f *testing.F) {
	f.Add(historyCursor{list: listTimeline, source: 2, at: time.Unix(1, 0), id: 1}.String())
	f.Add(historyCursor{list: listTimeline, id: math.MaxInt64}.String())
	f.Add(memberCursor{since: time.Unix(1, 0), contact: 1}.String())
	f.Add(cursor{list: listContacts, id: 1}.String())
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseHistoryCursor(listTimeline, 3, s)
		switch {
		case err != nil:
			if gateway.CodeOf(err) != gateway.CodeInvalid {
				t.Errorf("%q: %v", s, err)
			}
		case c.String() != s || c.source > 2 || c.id < 1:
			t.Errorf("%q was read as %+v, whose text is %q", s, c, c.String())
		}
	})
}

func TestStamp(t *testing.T) {
	t.Parallel()
	if got := string(stamp{}.append(nil)); got != "null" {
		t.Errorf("no instant: %s", got)
	}
	in := time.FixedZone("", -5*3600-1800)
	for _, at := range []time.Time{
		time.Date(2018, 10, 29, 20, 0, 32, 471199_999, time.UTC), time.Date(2026, 1, 2, 3, 4, 5, 0, in), time.Date(2026, 12, 31, 23, 59, 59, 1000, in),
		time.Unix(0, 0), time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(-44, 3, 15, 0, 0, 0, 999_999_000, time.UTC), time.Date(12345, 6, 7, 8, 9, 10, 10_000, time.UTC),
	} {
		if got, want := string(stamp(at).append([]byte("x"))), "x"+at.UTC().Format(stampLayout); got != want {
			t.Errorf("%v: %s, want %s", at, got, want)
		}
	}
}
