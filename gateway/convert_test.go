package gateway_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

// mustValue returns the value that a JSON text has at first sight.
func mustValue(t testing.TB, raw string) gateway.Value {
	t.Helper()
	v, err := gateway.ParseValue([]byte(raw))
	if err != nil {
		t.Fatalf("ParseValue(%s): %v", raw, err)
	}
	return v
}

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
}

// checkValue checks what holds of every value.
func checkValue(t tester, v gateway.Value) {
	t.Helper()
	switch {
	case len(v.Raw) > gateway.MaxValue:
		t.Errorf("value of %d bytes", len(v.Raw))
	case !utf8.ValidString(v.Raw):
		t.Errorf("raw %q is no UTF-8", v.Raw)
	case strings.Contains(gateway.Text(v), "\x00"):
		t.Errorf("raw %q holds NUL", v.Raw)
	}
	kinds := map[gateway.Type]string{
		gateway.TypeNull: "n", gateway.TypeText: `"`, gateway.TypeDate: `"`, gateway.TypeDatetime: `"`, gateway.TypeBool: "tf",
		gateway.TypeNumber: "-0123456789", gateway.TypeList: "[", gateway.TypeJSON: `"tfn-0123456789[{`,
	}
	if !strings.Contains(kinds[v.Type], v.Raw[:1]) {
		t.Errorf("raw %q has type %s", v.Raw, v.Type)
	}
	// All numbers are within float64, or this would fail.
	var x any
	if err := json.Unmarshal([]byte(v.Raw), &x); err != nil {
		t.Errorf("raw %q: %v", v.Raw, err)
	}
	// Canonical text is canonical.
	again, err := gateway.ParseValue([]byte(v.Raw))
	if err != nil || again.Raw != v.Raw && again.Type != gateway.TypeDatetime {
		t.Errorf("raw %q becomes %q, %v", v.Raw, again.Raw, err)
	}
}

func TestParseValue(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"null", "null", "null null"},
		{"text", `"x"`, `text "x"`},
		{"empty text", `""`, `text ""`},
		{"text with space", `" x "`, `text " x "`},
		{"text with needless escapes", `"\u0041\/\u00e9"`, `text "A/é"`},
		{"text with needed escapes", `"\"\\\n\u0001\u001f"`, `text "\"\\\n\u0001\u001f"`},
		{"text of a script", `"<a href='x'>&\u2028"`, "text \"<a href='x'>&\u2028\""},
		{"surrogates", `"\ud83d\ude00"`, `text "😀"`},
		{"lone surrogates", `"a\ud83db\ude00c"`, "text \"a\uFFFDb\uFFFDc\""},
		{"NUL", `"a\u0000b"`, `text "ab"`},
		{"invalid UTF-8", "\"a\xffb\"", "text \"a\uFFFDb\""},
		{"text of a number", `"42"`, `text "42"`},
		{"text of a boolean", `"true"`, `text "true"`},
		{"true", "true", "bool true"},
		{"false", " false ", "bool false"},
		{"date", `"2016-08-03"`, `date "2016-08-03"`},
		{"no such day", `"2016-02-30"`, `text "2016-02-30"`},
		{"date, escaped", `"2016\u002d08-03"`, `date "2016-08-03"`},
		{"datetime", `"2017-07-25T14:14:08.612Z"`, `datetime "2017-07-25T14:14:08.612Z"`},
		{"datetime with offset", `"2016-08-03 12:00:00+02:00"`, `datetime "2016-08-03T10:00:00Z"`},
		{"datetime with zeros", `"2016-08-03T12:00:00.500Z"`, `datetime "2016-08-03T12:00:00.5Z"`},
		{"datetime with nanoseconds", `"2016-08-03T12:00:00.123456789Z"`, `datetime "2016-08-03T12:00:00.123456Z"`},
		{"datetime with eight decimals", `"2016-08-03T12:00:00.12345678Z"`, `datetime "2016-08-03T12:00:00.123456Z"`},
		{"datetime without offset", `"2016-08-03T12:00:00"`, `datetime "2016-08-03T12:00:00Z"`},
		{"zero", "0", "number 0"},
		{"minus zero", "-0", "number 0"},
		{"zero with decimals", "-0.000e5", "number 0"},
		{"decimals without value", "1.0", "number 1"},
		{"decimals", "10.50", "number 10.5"},
		{"exponent", "4.2e1", "number 42"},
		{"negative exponent", "42E-1", "number 4.2"},
		{"small", "0.000001", "number 0.000001"},
		{"smaller", "0.0000001", "number 1e-7"},
		{"large", "1e20", "number 100000000000000000000"},
		{"larger", "1e21", "number 1e+21"},
		{"larger still", "-1.5e+22", "number -1.5e+22"},
		{"more digits than a float64", "12345678901234567890", "number 12345678901234567890"},
		{"many more digits", "1234567890123456789012345.5", "number 1.2345678901234567890123455e+24"},
		{"decimals beyond a float64", "0.1234567890123456789", "number 0.1234567890123456789"},
		{"largest float64", "1.7976931348623157e308", "number 1.7976931348623157e+308"},
		{"beyond float64", "1e309", "number_range"},
		{"just beyond float64", "1.8e308", "number_range"},
		{"far beyond float64", "-1e99999999999999999999", "number_range"},
		{"smallest float64", "5e-324", "number 5e-324"},
		{"below float64", "1e-400", "number_range"},
		{"just below float64", "1e-325", "number_range"},
		{"far below float64", "1e-99999999999999999999", "number_range"},
		{"zero with any exponent", "0e99999999999999999999", "number 0"},
		{"digits that cancel the exponent", "1" + strings.Repeat("0", 400) + "e-400", "number 1"},
		{"list", `[ "v1" , "v2" ]`, `list ["v1","v2"]`},
		{"list of one", `["v"]`, `list ["v"]`},
		{"list of scalars", `[1.0,true,"2016-08-03 12:00"]`, `list [1,true,"2016-08-03 12:00"]`},
		{"empty list", `[ ]`, `list []`},
		{"list with null", `[1,null]`, `json [1,null]`},
		{"list of lists", `[[1],[]]`, `json [[1],[]]`},
		{"list with a number beyond float64", `[1,1e999]`, "number_range"},
		{"object", ` { "b" : 1.0 , "a" : [ { } ] } `, `json {"b":1,"a":[{}]}`},
		{"equal names", `{"a":1,"b":2,"a":3,"\u0061":4}`, `json {"b":2,"a":4}`},
		{"equal names inside", `{"x":[{"a":1,"a":{"b":2}}]}`, `json {"x":[{"a":{"b":2}}]}`},
		{"forbidden names", `{"__proto__":{"a":1},"b":1,"x":{"constructor":1}}`, `json {"b":1,"x":{}}`},
		{"escaped forbidden name", `{"__pr\u006fto__":{"a":1}}`, `json {}`},
		{"broken text inside", "{\"a\\u0000\":\"\\ud800\"}", "json {\"a\":\"\uFFFD\"}"},
		{"number out of range inside", `{"a":{"b":1e999}}`, "number_range"},
		{"depth 5", nested(5), "json " + nested(5)},
		{"depth 6", nested(6), "too_deep"},
		{"depth 6 before less", `[` + nested(5) + `,[],1]`, "too_deep"},
		{"brackets in texts", `{"a":"[[[[[[[[["}`, `json {"a":"[[[[[[[[["}`},
		{"quotes in texts", `["\\","\"]","\\\"]"]`, `list ["\\","\"]","\\\"]"]`},
		{"too large", `["` + strings.Repeat("x", gateway.MaxValue) + `"]`, "too_large"},
		{"too large by escapes", `"` + strings.Repeat(`\u0001`, 1400) + `"`, "too_large"},
		{"large by needless escapes", `"` + strings.Repeat(`\u0041`, 8000) + `"`, `text "` + strings.Repeat("A", 8000) + `"`},
	}
	// What ParseValue says of a code.
	advice := map[string]string{"number_range": "64-bit", "too_deep": "nest", "too_large": "8 KiB"}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v, err := gateway.ParseValue([]byte(test.in))
			if a := advice[test.want]; a != "" {
				if gateway.CodeOf(err) != gateway.CodeInvalid || !strings.Contains(err.Error(), a) {
					t.Errorf("ParseValue = %+v, %v", v, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := v.Type.String() + " " + v.Raw; got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			checkValue(t, v)
		})
	}
	for _, bad := range []string{"", " ", "\x00", "0\x00", "{", "x", "1 2", `{"a":}`, "[1,]", "'a'"} {
		if v, err := gateway.ParseValue([]byte(bad)); gateway.CodeOf(err) != gateway.CodeInvalid {
			t.Errorf("ParseValue(%q) = %+v, %v", bad, v, err)
		}
	}
}

func TestConvert(t *testing.T) {
	t.Parallel()
	const none = "no"
	tests := []struct {
		in   string
		from gateway.Type // if not what ParseValue says
		to   gateway.Type
		want string
	}{
		{`"5"`, 0, gateway.TypeNumber, "5"},
		{`" 5.50 "`, 0, gateway.TypeNumber, "5.5"},
		{`"-0.5"`, 0, gateway.TypeNumber, "-0.5"},
		{`"12345678901234567890"`, 0, gateway.TypeNumber, "12345678901234567890"},
		{`"007"`, 0, gateway.TypeNumber, none},
		{`"+5"`, 0, gateway.TypeNumber, none},
		{`"5."`, 0, gateway.TypeNumber, none},
		{`".5"`, 0, gateway.TypeNumber, none},
		{`"--5"`, 0, gateway.TypeNumber, none},
		{`"-"`, 0, gateway.TypeNumber, none},
		{`"1e3"`, 0, gateway.TypeNumber, none},
		{`"0x10"`, 0, gateway.TypeNumber, none},
		{`"1,5"`, 0, gateway.TypeNumber, none},
		{`"$5"`, 0, gateway.TypeNumber, none},
		{`""`, 0, gateway.TypeNumber, none},
		{`"` + strings.Repeat("9", 400) + `"`, 0, gateway.TypeNumber, none},
		{`true`, 0, gateway.TypeNumber, none},
		{`"2016-08-03"`, 0, gateway.TypeNumber, none},
		{`5`, 0, gateway.TypeText, `"5"`},
		{`true`, 0, gateway.TypeText, `"true"`},
		{`"2016-08-03"`, 0, gateway.TypeText, `"2016-08-03"`},
		{`"2016-08-03T12:00Z"`, 0, gateway.TypeText, `"2016-08-03T12:00:00Z"`},
		{`["a"]`, 0, gateway.TypeText, `"a"`},
		{`["a","b"]`, 0, gateway.TypeText, none},
		{`[]`, 0, gateway.TypeText, none},
		{`{"a":1}`, 0, gateway.TypeText, none},
		{`"true"`, 0, gateway.TypeBool, "true"},
		{`"FALSE"`, 0, gateway.TypeBool, "false"},
		{`"1"`, 0, gateway.TypeBool, "true"},
		{`0`, 0, gateway.TypeBool, "false"},
		{`1`, 0, gateway.TypeBool, "true"},
		{`2`, 0, gateway.TypeBool, none},
		{`"yes"`, 0, gateway.TypeBool, none},
		{`"2016-08-03"`, 0, gateway.TypeBool, none},
		{`"2016-08-03T23:30:00-02:00"`, 0, gateway.TypeDate, `"2016-08-04"`},
		{`"2016-08-03"`, gateway.TypeText, gateway.TypeDate, `"2016-08-03"`},
		{`"2016-08-03"`, 0, gateway.TypeDatetime, `"2016-08-03T00:00:00Z"`},
		{`"2016-08-03 12:00"`, gateway.TypeText, gateway.TypeDatetime, `"2016-08-03T12:00:00Z"`},
		{`"03.08.2016"`, 0, gateway.TypeDate, none},
		{`20160803`, 0, gateway.TypeDate, none},
		{`1470182400`, 0, gateway.TypeDatetime, none},
		{`"a,b"`, 0, gateway.TypeList, `["a,b"]`},
		{`5`, 0, gateway.TypeList, `[5]`},
		{`"2016-08-03"`, 0, gateway.TypeList, `["2016-08-03"]`},
		{`{"a":1}`, 0, gateway.TypeList, none},
		{`"` + strings.Repeat("x", gateway.MaxValue-2) + `"`, 0, gateway.TypeList, none},
		{`["5"]`, 0, gateway.TypeNumber, "5"},
		{`["2016-08-03"]`, 0, gateway.TypeDate, `"2016-08-03"`},
		{`"a"`, 0, gateway.TypeJSON, `"a"`},
		{`[1,2]`, 0, gateway.TypeJSON, `[1,2]`},
		{`[1,2]`, gateway.TypeJSON, gateway.TypeList, `[1,2]`},
		{`[1]`, gateway.TypeJSON, gateway.TypeText, `"1"`},
		{`[1,null]`, gateway.TypeJSON, gateway.TypeList, none},
		{`"5"`, gateway.TypeJSON, gateway.TypeNumber, "5"},
		{`"2016-08-03 12:00"`, gateway.TypeJSON, gateway.TypeText, `"2016-08-03 12:00"`},
		{`null`, 0, gateway.TypeNumber, "null"},
		{`null`, gateway.TypeJSON, gateway.TypeNumber, "null"},
		{`5`, 0, gateway.TypeNull, none},
	}
	for _, test := range tests {
		t.Run(test.in[:min(len(test.in), 20)]+" to "+test.to.String(), func(t *testing.T) {
			t.Parallel()
			v := mustValue(t, test.in)
			if test.from != 0 {
				v = gateway.Value{Type: test.from, Raw: test.in}
			}
			got, ok := gateway.Convert(v, test.to)
			if !ok {
				got.Raw = none
			}
			if got.Raw != test.want || ok && got.Type != test.to && !got.IsNull() {
				t.Errorf("Convert(%v, %s) = %v, %t; want %s", v, test.to, got, ok, test.want)
			}
		})
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"null": "", `"a\"b"`: `a"b`, "1.50": "1.5", "true": "true", `"2016-08-03"`: "2016-08-03", `"2016-08-03 12:00"`: "2016-08-03T12:00:00Z",
		`["a",1,true]`: "a, 1, true", "[]": "", `{"a":[1]}`: `{"a":[1]}`,
	} {
		if got := gateway.Text(mustValue(t, in)); got != want {
			t.Errorf("Text(%s) = %q, want %q", in, got, want)
		}
	}
	if got := gateway.Text(gateway.Value{}); got != "" {
		t.Errorf("Text of the zero Value = %q", got)
	}
}

func TestConstructors(t *testing.T) {
	t.Parallel()
	at := time.Date(2016, 8, 3, 23, 30, 0, 123456789, time.FixedZone("", -2*3600))
	tests := []struct {
		name string
		got  gateway.Value
		want string
	}{
		{"text", gateway.TextValue("a\x00\"\xff<é\n"), "text \"a\\\"\uFFFD<é\\n\""},
		{"text of a date", gateway.TextValue("2016-08-03"), `text "2016-08-03"`},
		{"inferred date", gateway.InferText("2016-08-03"), `date "2016-08-03"`},
		{"inferred datetime", gateway.InferText("2016-08-03T12:00:00Z"), `datetime "2016-08-03T12:00:00Z"`},
		{"inferred text", gateway.InferText("2016-08-33"), `text "2016-08-33"`},
		{"number", gateway.NumberValue(0.1), "number 0.1"},
		{"whole number", gateway.NumberValue(1e20), "number 100000000000000000000"},
		{"minus zero", gateway.NumberValue(math.Copysign(0, -1)), "number 0"},
		{"largest", gateway.NumberValue(math.MaxFloat64), "number 1.7976931348623157e+308"},
		{"smallest", gateway.NumberValue(math.SmallestNonzeroFloat64), "number 5e-324"},
		{"NaN", gateway.NumberValue(math.NaN()), "null null"},
		{"infinity", gateway.NumberValue(math.Inf(-1)), "null null"},
		{"int", gateway.IntValue(math.MinInt64), "number -9223372036854775808"},
		{"bool", gateway.BoolValue(true), "bool true"},
		{"date", gateway.DateValue(at), `date "2016-08-04"`},
		{"datetime", gateway.DatetimeValue(at), `datetime "2016-08-04T01:30:00.123456Z"`},
		{"list", gateway.ListValue("a", "\"\x00"), `list ["a","\""]`},
		{"empty list", gateway.ListValue(), `list []`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := test.got.Type.String() + " " + test.got.Raw; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestItemsAndNumber(t *testing.T) {
	t.Parallel()
	want := []gateway.Value{gateway.TextValue("a"), gateway.IntValue(1), gateway.BoolValue(true)}
	if diff := cmp.Diff(want, gateway.Items(mustValue(t, `["a",1,true]`))); diff != "" {
		t.Errorf("Items (-want +got):\n%s", diff)
	}
	if got := gateway.Items(mustValue(t, `{"a":1}`)); got != nil {
		t.Errorf("Items of an object = %v", got)
	}
	if f, ok := gateway.Number(mustValue(t, "1.5e3")); f != 1500 || !ok {
		t.Errorf("Number = %v, %t", f, ok)
	}
	if _, ok := gateway.Number(gateway.TextValue("5")); ok {
		t.Error("a text has a Number")
	}
}

// FuzzConvert reads a value and converts it into every type and back.
func FuzzConvert(f *testing.F) {
	for _, s := range []string{
		"null", "1.50", "-0", "1e21", "1e-400", `"5"`, `"007"`, `"TRUE"`, `"2016-08-03"`, `"2016-08-03 12:00+02"`, `["a"]`, `["5",1]`, `[]`,
		`[[null]]`, `{"a":1,"a":2,"__proto__":3}`, "\"\\ud800\\u0000\xff\"", nested(5), nested(6), `"\\\""`, "0\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := gateway.ParseValue(raw)
		if err != nil {
			if gateway.CodeOf(err) != gateway.CodeInvalid {
				t.Errorf("error %v", err)
			}
			return
		}
		if !json.Valid(raw) {
			t.Fatalf("encoding/json refuses %q", raw)
		}
		checkValue(t, v)
		checkMeaning(t, raw, v)
		for to := gateway.TypeNull; to <= gateway.TypeJSON; to++ {
			out, ok := gateway.Convert(v, to)
			if !ok {
				continue
			}
			if out.Type != to && !out.IsNull() {
				t.Errorf("Convert(%v, %s) = %v", v, to, out)
			}
			checkValue(t, out)
			if again, ok := gateway.Convert(out, to); !ok || again != out {
				t.Errorf("Convert(%v, %s) = %v, %t", out, to, again, ok)
			}
			// JSON and a list of one lose nothing, whatever they are made of.
			if back, ok := gateway.Convert(out, v.Type); (to == gateway.TypeJSON || to == gateway.TypeList) && (!ok || back != v) {
				t.Errorf("%v became %v and then %v, %t", v, out, back, ok)
			}
		}
		if inferred := gateway.InferText(string(raw)); inferred.Type != gateway.TypeDatetime {
			if text := strings.ReplaceAll(strings.ToValidUTF8(string(raw), "\uFFFD"), "\x00", ""); gateway.Text(inferred) != text {
				t.Errorf("InferText(%q) = %v", raw, inferred)
			}
		}
	})
}

// checkMeaning compares v with what encoding/json makes of raw.
func checkMeaning(t tester, raw []byte, v gateway.Value) {
	t.Helper()
	if bytes.Contains(raw, []byte(`\u0000`)) || v.Type == gateway.TypeDatetime {
		return // two names may have become one; the instant may be written otherwise
	}
	var want, got any
	if err := json.Unmarshal(raw, &want); err != nil {
		return // a number beyond float64 under a name that came again
	}
	if err := json.Unmarshal([]byte(v.Raw), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(withoutForbidden(want), got); diff != "" {
		t.Errorf("meaning of %q (-encoding/json +here):\n%s", raw, diff)
	}
}

// withoutForbidden takes away the members that ParseValue leaves out.
func withoutForbidden(x any) any {
	switch x := x.(type) {
	case []any:
		for i := range x {
			x[i] = withoutForbidden(x[i])
		}
	case map[string]any:
		for _, name := range []string{"__proto__", "constructor", "prototype"} {
			delete(x, name)
		}
		for k := range x {
			x[k] = withoutForbidden(x[k])
		}
	}
	return x
}
