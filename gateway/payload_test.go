package gateway_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"civgate/gateway"
)

var update = flag.Bool("update", false, "rewrite the golden files of this package")

// widgetPayload is what the widget sends for the documented snippet on a page.
const widgetPayload = `{"apiKey":"A1B2C3","user_id":"u-1048576","email":"jane.roe@acme.test","name":"Jane Roe","gender":2,"status":2,` +
	`"date_attr":"2017-07-25T14:14:08.612Z","phone_number":"+44754123434","score":0,"plan":"enterprise","newsletter":true,` +
	`"company":{"name":"Acme GmbH","company_id":"c-77","revenue":"$239.9 billion","employees":32},` +
	`"$":{"id":"01932c0a-7b1e-7c3d-9e4f-5a6b7c8d9e0f","key":"ngze13ffndcv","at":"2026-11-22T10:00:00.123Z","type":"page",` +
	`"url":"https://www.acme.test/products/anvils?utm_source=newsletter","path":"/products/anvils","title":"Anvils - Acme",` +
	`"referrer":"https://www.example.test/"}}`

func BenchmarkParsePayload(b *testing.B) {
	body := []byte(widgetPayload)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := gateway.ParsePayload(body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParsePayloadWorst has payloads made to be slow.
func BenchmarkParsePayloadWorst(b *testing.B) {
	fill := func(s string) string {
		return strings.TrimSuffix(strings.Repeat(s, (gateway.MaxPayload-200)/len(s)), ",")
	}
	for _, test := range []struct{ name, body string }{
		{"many keys", "{" + strings.TrimSuffix(manyKeys(3500), ",") + "}"},
		{"long text", `{"a":"` + fill("x") + `"}`},
		{"escapes", `{"name":"` + fill(`\u0041`) + `"}`},
		{"list", `{"a":[` + fill("1,") + `]}`},
		{"object", `{"a":{` + fill(`"a":1,`) + `}}`},
		{"nested objects", `{"a":{"b":{"c":{"d":{` + fill(`"a":1,`) + `}}}}}`},
		{"deep", `{"a":` + nested(5000) + `}`},
		{"companies", `{"companies":[` + fill(`{"a":1},`) + `]}`},
		{"long number", `{"a":1` + fill("0") + `}`},
		{"names in need of a form", "{" + fill(`"A é!":1,`) + "}"},
		{"backslashes", `{"a":"` + fill(`\\`) + `"}`},
		{"tags", `{"tags":"` + fill("a,") + `"}`},
	} {
		b.Run(test.name, func(b *testing.B) {
			body := []byte(test.body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := gateway.ParsePayload(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestParsePayloadAllocations(t *testing.T) {
	body := []byte(widgetPayload)
	const budget = 20
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := gateway.ParsePayload(body); err != nil {
			t.Fatal(err)
		}
	}); n > budget {
		t.Errorf("parsing a widget payload takes %v allocations, the budget is %d", n, budget)
	}
}

// separator stands between the input and the expectation of a golden file.
const separator = "\n----\n"

// TestParsePayloadGolden reads testdata/payload: in each file a payload, a
// separator line, and the warnings and the parsed payload as describe writes
// them.
func TestParsePayloadGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/payload/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(string(b), separator)
			if !ok && !*update {
				t.Fatal("the file has no separator line")
			}
			input = strings.TrimSuffix(input, "\n")
			got := describe(gateway.ParsePayload([]byte(input)))
			if *update {
				if err := os.WriteFile(file, []byte(input+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("ParsePayload (-want +got):\n%s", diff)
			}
		})
	}
}

// describe writes what ParsePayload returned, one thing a line, without what is
// empty.
func describe(p *gateway.Payload, warnings []gateway.Warning, err error) string {
	var b strings.Builder
	if err != nil {
		fmt.Fprintln(&b, "error", err.(*gateway.Error).Code, err.(*gateway.Error).Message)
		return b.String()
	}
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning %s %s\n", w.Field, w.Code)
	}
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s %s\n", name, value)
		}
	}
	line("api key", p.APIKey)
	line("type", [...]string{"update", "page", "event", "product event", "reset"}[p.Type])
	if p.Message != (gateway.MessageID{}) {
		line("message", fmt.Sprintf("%x", p.Message))
	}
	line("key", p.Key)
	if !p.At.IsZero() {
		line("at", p.At.Format("2006-01-02T15:04:05.999999Z07:00"))
	}
	line("url", p.URL)
	line("path", p.Path)
	line("title", p.Title)
	line("referrer", p.Referrer)
	line("event", p.Name)
	line("data", p.Data)
	line("custom id", p.CustomID)
	if p.Email != "" {
		line("email", p.Email+" = "+p.EmailKey)
	}
	if p.EmailNull {
		line("email", "null")
	}
	line("user hash", p.UserHash)
	attributes := func(indent string, as []gateway.PayloadAttribute) {
		for _, a := range as {
			label := ""
			if a.Label != a.Name {
				label = " (" + a.Label + ")"
			}
			fmt.Fprintf(&b, "%s%s%s %s %s\n", indent, a.Name, label, a.Value.Type, a.Value.Raw)
		}
	}
	attributes("", p.Attributes)
	for _, c := range p.Companies {
		fmt.Fprintf(&b, "company %q %q\n", c.CustomID, c.Name)
		attributes("  ", c.Attributes)
	}
	if p.CompaniesNull {
		line("companies", "null")
	}
	return b.String()
}

func nested(depth int) string {
	return strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"%x":1,`, i)
	}
	return b.String()
}

// TestParsePayloadRefuses has the inputs that are no payload at all.
func TestParsePayloadRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		code       gateway.Code
		message    string // part of it
	}{
		{"empty", "", gateway.CodeInvalidPayload, "empty"},
		{"space only", " \r\n\t", gateway.CodeInvalidPayload, "empty"},
		{"not JSON", "user_id=42&email=a@b.test", gateway.CodeInvalidPayload, "at byte 0"},
		{"truncated", `{"apiKey":"A1B2C3","user_id":"4`, gateway.CodeInvalidPayload, "ends at byte 31"},
		{"truncated behind a value", `{"apiKey":"A1B2C3"`, gateway.CodeInvalidPayload, "ends at byte 18"},
		{"mistake inside", `{"apiKey":"A1B2C3","name":Jane}`, gateway.CodeInvalidPayload, "at byte 26"},
		{"single quotes", `{'apiKey':'A1B2C3'}`, gateway.CodeInvalidPayload, "at byte 1"},
		{"trailing comma", `{"apiKey":"A1B2C3",}`, gateway.CodeInvalidPayload, "at byte 19"},
		{"NaN", `{"score":NaN}`, gateway.CodeInvalidPayload, "at byte 9"},
		{"leading zero", `{"score":007}`, gateway.CodeInvalidPayload, "at byte 10"},
		{"raw NUL", "{\"name\":\"a\x00b\"}", gateway.CodeInvalidPayload, "at byte 10"},
		{"raw line break", "{\"name\":\"a\nb\"}", gateway.CodeInvalidPayload, "at byte 10"},
		{"two objects", `{"apiKey":"A"} {"apiKey":"B"}`, gateway.CodeInvalidPayload, "more than one value"},
		{"garbage behind", `{"apiKey":"A"}x`, gateway.CodeInvalidPayload, "at byte 14"},
		{"NUL", "\x00", gateway.CodeInvalidPayload, "at byte 0"},
		{"NUL behind", "{}\x00", gateway.CodeInvalidPayload, "at byte 2"},
		{"UTF-16", "\xff\xfe{\x00}\x00", gateway.CodeInvalidPayload, "at byte 0"},
		{"text", `"hello"`, gateway.CodeInvalidPayload, "one JSON object"},
		{"number", `42`, gateway.CodeInvalidPayload, "one JSON object"},
		{"null", `null`, gateway.CodeInvalidPayload, "one JSON object"},
		{"array", `[{"apiKey":"A"}]`, gateway.CodeInvalidPayload, "one JSON object"},
		{"brackets without end", strings.Repeat("[", gateway.MaxPayload), gateway.CodeInvalidPayload, "at byte"},
		{"33 KiB", `{"name":"` + strings.Repeat("x", 33<<10) + `"}`, gateway.CodeTooLarge, "at most 32768 bytes"},
		{"10,000 keys", `{` + manyKeys(10_000) + `"a":1}`, gateway.CodeTooLarge, "at most 32768 bytes"},
		{"depth 16,000", `{"a":` + strings.Repeat("[", 16_000) + strings.Repeat("]", 16_000) + `}`, gateway.CodeInvalidPayload, "depth"},
		{"one byte too many", `{}` + strings.Repeat(" ", gateway.MaxPayload-1), gateway.CodeTooLarge, "has 32769"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, _, err := gateway.ParsePayload([]byte(test.body))
			if p != nil || gateway.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.message) {
				t.Errorf("ParsePayload = %+v, %v; want %s with %q", p, err, test.code, test.message)
			}
		})
	}
}

// TestParsePayloadBounds has the inputs that a golden file can't show well.
func TestParsePayloadBounds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       string // as describe has it, or with "…" around it a part of that
	}{
		{"byte order mark", "\uFEFF {\"user_id\":\"7\"}\r\n", "type update\ncustom id 7\n"},
		{"largest", `{"user_id":"7"}` + strings.Repeat(" ", gateway.MaxPayload-15), "type update\ncustom id 7\n"},
		{"largest value", `{"a":"` + strings.Repeat("x", gateway.MaxValue-2) + `"}`, "type update\na text \"" + strings.Repeat("x", gateway.MaxValue-2) + "\"\n"},
		{"value too large", `{"a":"` + strings.Repeat("x", gateway.MaxValue-1) + `","b":1}`, "warning a too_large\ntype update\nb number 1\n"},
		{"standard value too large", `{"name":"` + strings.Repeat("x", gateway.MaxValue-1) + `","b":1}`, "warning name too_large\ntype update\nb number 1\n"},
		{"object too large", `{"a":{"t":"` + strings.Repeat("x", gateway.MaxValue) + `"},"b":1}`, "warning a too_large\ntype update\nb number 1\n"},
		{"number too large", `{"a":0.` + strings.Repeat("1", gateway.MaxValue) + `,"b":1}`, "warning a too_large\ntype update\nb number 1\n"},
		{"depth 5", `{"a":` + nested(5) + `}`, "type update\na json " + nested(5) + "\n"},
		{"depth 6", `{"a":` + nested(6) + `,"b":1}`, "warning a too_deep\ntype update\nb number 1\n"},
		{"depth 100", `{"a":` + nested(100) + `,"user_id":"7"}`, "warning a too_deep\ntype update\ncustom id 7\n"},
		{"depth 5000", `{"a":` + nested(5000) + `,"user_id":"7"}`, "warning a too_deep\ntype update\ncustom id 7\n"},
		{"depth 100 where it isn't read", `{"state":` + nested(100) + `,"user_id":` + nested(100) + `,"company":` + nested(100) + `,"$":` + nested(100) + `,"gender":` + nested(100) + `}`,
			"warning user_id invalid_id\nwarning company.a too_deep\nwarning gender too_deep\ntype update\n"},
		{"name of 255 bytes", `{"` + strings.Repeat("n", 255) + `":1}`, "type update\n" + strings.Repeat("n", 255) + " number 1\n"},
		{"name of 256 bytes", `{"` + strings.Repeat("n", 256) + `":1,"b":1}`, "warning " + strings.Repeat("n", 255) + " too_long\ntype update\nb number 1\n"},
		{"name that grows in lower case", `{"` + strings.Repeat("Ⱥ", 127) + `":1,"b":1}`, "warning " + strings.Repeat("Ⱥ", 127) + " too_long\ntype update\nb number 1\n"},
		{"user_id of 255 bytes", `{"user_id":"` + strings.Repeat("i", 255) + `"}`, "type update\ncustom id " + strings.Repeat("i", 255) + "\n"},
		{"user_id of 256 bytes", `{"user_id":"` + strings.Repeat("i", 256) + `"}`, "warning user_id too_long\ntype update\n"},
		{"e-mail of 400 characters", `{"email":"` + strings.Repeat("e", 388) + `@acme.test","b":1}`, "warning email invalid_email\ntype update\nb number 1\n"},
		{"invalid UTF-8", "{\"name\":\"J\xffne\",\"\xc3(\":1}", "warning name invalid_text\nwarning \uFFFD( invalid_name\ntype update\nname text \"J\uFFFDne\"\n"},
		{"invalid UTF-8 in an identifier", "{\"user_id\":\"J\xffne\",\"email\":\"a\xff@b.test\"}", "warning user_id invalid_id\nwarning email invalid_email\ntype update\n"},
		{"url cut", `{"$":{"url":"https://a.test/` + strings.Repeat("é", 1024) + `"}}`, "type update\nurl https://a.test/" + strings.Repeat("é", 1016) + "\npath /" + strings.Repeat("é", 1016) + "\n"},
		{"title cut", `{"$":{"title":"` + strings.Repeat("€", 200) + `"}}`, "type update\ntitle " + strings.Repeat("€", 170) + "\n"},
		{"event name of 256 bytes", `{"$":{"type":"event","name":"` + strings.Repeat("n", 256) + `"}}`, "warning $.name too_long\nwarning $.name missing_name\ntype update\n"},
		{"event data too large", `{"$":{"type":"event","name":"n","data":{"a":"` + strings.Repeat("x", gateway.MaxValue) + `"}}}`, "warning $.data too_large\ntype event\nevent n\n"},
		{"event data too deep", `{"$":{"type":"event","name":"n","data":` + nested(6) + `}}`, "warning $.data too_deep\ntype event\nevent n\n"},
		{"message id too long", `{"$":{"id":"` + strings.Repeat("n", 256) + `"}}`, "warning $.id too_long\ntype update\n"},
		{"keys up to the limit", `{` + manyKeys(10_000)[:gateway.MaxPayload-100] + `0":1,"user_id":"7","gender":2}`, "…\ngender number 2\n…"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := describe(gateway.ParsePayload([]byte(test.body)))
			if part := strings.Trim(test.want, "…"); part != test.want && strings.Contains(got, part) {
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("ParsePayload (-want +got):\n%s", diff)
			}
		})
	}
}

// TestParsePayloadManyKeys checks that a flood of keys costs the flood only:
// identifiers and standard attributes behind it are read.
func TestParsePayloadManyKeys(t *testing.T) {
	t.Parallel()
	body := `{` + manyKeys(3000) + `"0":2,"c7":3,"64":4,"user_id":"7","gender":2,"company":{` + manyKeys(300) + `"company_id":"c"}}`
	p, warnings, err := gateway.ParsePayload([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	want := []gateway.Warning{
		{Field: "c8", Code: gateway.WarnTooMany, Message: "send at most 200 custom attributes; this one and those behind it are left out"},
		{Field: "company.c8", Code: gateway.WarnTooMany, Message: "send at most 200 custom attributes; this one and those behind it are left out"},
	}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if len(p.Attributes) != gateway.MaxKeys+1 || len(p.Companies[0].Attributes) != gateway.MaxKeys {
		t.Errorf("kept %d and %d attributes", len(p.Attributes), len(p.Companies[0].Attributes))
	}
	if p.CustomID != "7" || p.Companies[0].CustomID != "c" {
		t.Errorf("ids %q and %q", p.CustomID, p.Companies[0].CustomID)
	}
	// These keys came twice; the second value is in the place of the first.
	for place, want := range map[int]string{0: "0=2", 100: "64=4", 199: "c7=3"} {
		if got := p.Attributes[place]; got.Name+"="+got.Value.Raw != want {
			t.Errorf("attribute %d is %+v, want %s", place, got, want)
		}
	}
}

func TestParsePayloadManyCompanies(t *testing.T) {
	t.Parallel()
	list := func(n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(`{"company_id":"c"},`, n), ",") + "]"
	}
	tests := []struct {
		name, body string
		companies  int
		warnings   []string
	}{
		{"50", `{"companies":` + list(50) + `}`, 50, nil},
		{"51", `{"companies":` + list(51) + `}`, 50, []string{"companies too_many"}},
		{"500", `{"company":` + list(500) + `}`, 50, []string{"company too_many"}},
		{"in both keys", `{"companies":` + list(49) + `,"company":` + list(2) + `}`, 50, []string{"companies too_many"}},
		{"too many in both keys", `{"companies":` + list(60) + `,"company":` + list(60) + `}`, 50,
			[]string{"companies too_many", "company too_many", "companies too_many"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, warnings, err := gateway.ParsePayload([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range warnings {
				got = append(got, w.Field+" "+w.Code)
			}
			if diff := cmp.Diff(test.warnings, got); diff != "" || len(p.Companies) != test.companies {
				t.Errorf("%d companies, warnings (-want +got):\n%s", len(p.Companies), diff)
			}
		})
	}
}

func TestParsePayloadManyWarnings(t *testing.T) {
	t.Parallel()
	body := "{" + strings.TrimSuffix(strings.Repeat(`"user_id":true,`, 1000), ",") + "}"
	_, warnings, err := gateway.ParsePayload([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(warnings); n != gateway.MaxWarnings || warnings[n-1].Code != gateway.WarnTooMany {
		t.Errorf("%d warnings, the last %+v", n, warnings[n-1])
	}
}

func TestWarningsHoldNoValues(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	_, warnings, err := gateway.ParsePayload([]byte(`{"user_id":["s3cr3t"],"email":"s3cr3t","phone_number":"s3cr3t","gender":"s3cr3t","company":{"company_id":{"a":"s3cr3t"},"x":1},
		"$":{"id":["s3cr3t"],"key":"s3cr3t!","at":"s3cr3t","type":"s3cr3t","url":"s3cr3t","data":"s3cr3t"}}`))
	if err != nil || len(warnings) < 10 {
		t.Fatal(warnings, err)
	}
	for _, w := range warnings {
		if strings.Contains(w.Message+w.Field, secret) {
			t.Errorf("a value is repeated in %+v", w)
		}
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	print := func(body string) uint64 {
		t.Helper()
		p, _, err := gateway.ParsePayload([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if p.Fingerprint == 0 {
			t.Errorf("the fingerprint of %s is 0", body)
		}
		return p.Fingerprint
	}
	same := [][2]string{
		{`{"user_id":"1","a":1}`, `{"user_id":"1","a":1,"$":{"id":"x"}}`},
		{`{"apiKey":"A","user_id":"1","a":1,"$":{"id":"x","type":"page"}}`, `{"apiKey":"BB","user_id":"1","a":1,"$":{"id":"yy"},"user_hash":"h"}`},
		{`{}`, `{"apiKey":"A","$":{}}`},
		{`{"apiKey":"A","state":"simple","user_id":"1"}`, `{"apiKey":"A","debug":true,"state":"hidden","user_id":"1"}`},
	}
	for _, pair := range same {
		if print(pair[0]) != print(pair[1]) {
			t.Errorf("fingerprints differ: %s, %s", pair[0], pair[1])
		}
	}
	different := []string{
		`{}`, `{"user_id":"1"}`, `{"user_id":"2"}`, `{"user_id":"1","a":1}`, `{"user_id":"1","a":2}`, `{"user_id":"1","b":1}`, `{"user_id":"1","a":null}`,
		`{"email":"a@b.test"}`, `{"email":null}`, `{"user_id":"1","company":{"company_id":"1"}}`, `{"user_id":"1","company":{"company_id":"2"}}`,
		`{"user_id":"1","company":{"company_id":"1","a":1}}`, `{"user_id":"1","companies":[{"company_id":"1"},{"company_id":"2"}]}`, `{"user_id":"1","companies":null}`,
		`{"a":1,"$":{},"b":2}`, `{"a":12,"$":{},"b":2}`,
	}
	seen := map[uint64]string{}
	for _, body := range different {
		f := print(body)
		if other, ok := seen[f]; ok {
			t.Errorf("fingerprints equal: %s, %s", body, other)
		}
		seen[f] = body
	}
}

// TestFingerprintVersion pins fingerprints, as they are stored. When what a
// payload means has changed, raise fingerprintVersion and then the numbers here.
func TestFingerprintVersion(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]uint64{`{}`: 15397730242686860875, widgetPayload: 677404695617339121} {
		p, _, err := gateway.ParsePayload([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if p.Fingerprint != want {
			t.Errorf("fingerprint %d, want %d, of %s", p.Fingerprint, want, body)
		}
	}
}

func TestSplitBatch(t *testing.T) {
	t.Parallel()
	items := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`{"a":1} ,`, n), ",") + "]" }
	full := `{"a":"` + strings.Repeat("x", gateway.MaxPayload-8) + `"}`
	tests := []struct {
		name, body string
		items      []string
		batch      bool
		code       gateway.Code
	}{
		{"one", `{"a":1}`, []string{`{"a":1}`}, false, ""},
		{"one, broken", `{"a":`, []string{`{"a":`}, false, ""},
		{"nothing", "", []string{""}, false, ""},
		{"byte order mark", "\uFEFF[{}]", []string{"{}"}, true, ""},
		{"array of one", ` [ {"a":1} ] `, []string{`{"a":1}`}, true, ""},
		{"array of all kinds", `[{"a":[1,2]}, 1 ,"x",null,[],[{}]]`, []string{`{"a":[1,2]}`, "1", `"x"`, "null", "[]", "[{}]"}, true, ""},
		{"array of 50", items(50), strings.Split(strings.Repeat(`{"a":1}|`, 49)+`{"a":1}`, "|"), true, ""},
		{"array of 51", items(51), nil, true, gateway.CodeTooLarge},
		{"array of 5000", items(5000), nil, true, gateway.CodeTooLarge},
		{"array of nothing", "[ ]", nil, true, gateway.CodeInvalidPayload},
		{"truncated", `[{"a":1},{"a":`, nil, true, gateway.CodeInvalidPayload},
		{"truncated behind an item", `[{"a":1}`, nil, true, gateway.CodeInvalidPayload},
		{"truncated behind a comma", `[{"a":1},`, nil, true, gateway.CodeInvalidPayload},
		{"broken item", `[{"a":1},{b},{"c":1}]`, nil, true, gateway.CodeInvalidPayload},
		{"no comma", `[{"a":1}{"b":1}]`, nil, true, gateway.CodeInvalidPayload},
		{"wrong bracket", `[{"a":1}}`, nil, true, gateway.CodeInvalidPayload},
		{"two arrays", `[{}][{}]`, nil, true, gateway.CodeInvalidPayload},
		{"garbage behind", `[{}] x`, nil, true, gateway.CodeInvalidPayload},
		{"item too large", `[` + full[:len(full)-2] + `xx"},{}]`, []string{full[:len(full)-2] + `xx"}`, "{}"}, true, ""},
		{"full", "[" + strings.Repeat(full+",", 49) + full + "]", strings.Split(strings.Repeat(full+"|", 49)+full, "|"), true, ""},
		{"one byte too many", "[" + strings.Repeat(full+",", 49) + full + " ]", nil, false, gateway.CodeTooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			body := []byte(test.body)
			items, batch, err := gateway.SplitBatch(body)
			if batch != test.batch || gateway.CodeOf(err) != test.code {
				t.Fatalf("SplitBatch: batch %t, %v; want %t, %q", batch, err, test.batch, test.code)
			}
			var got []string
			for _, item := range items {
				got = append(got, string(item))
			}
			if diff := cmp.Diff(test.items, got); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
			if string(body) != test.body {
				t.Error("the body was changed")
			}
		})
	}
}

func TestIsVisitorKey(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{
		"g3FaYocCy0U6": true, "ngze13ffndcv": true, "abc_-9": true, strings.Repeat("k", 64): true,
		"": false, "abcde": false, strings.Repeat("k", 65): false, "abc def": false, "abcdeé": false, "abcde\x00": false,
	} {
		if got := gateway.IsVisitorKey(key); got != want {
			t.Errorf("IsVisitorKey(%q) = %t", key, got)
		}
	}
}

// FuzzParsePayload checks what holds of every payload, whatever came.
func FuzzParsePayload(f *testing.F) {
	files, err := filepath.Glob("testdata/payload/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatal("no golden files", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(b), separator)
		f.Add([]byte(input))
	}
	f.Add([]byte(widgetPayload))
	f.Add([]byte(`{"a":` + nested(100) + `}`))
	f.Add([]byte(`{"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`))
	f.Add([]byte("\uFEFF{\"name\":\"J\xffne\\ud800\\u0000\",\"\\u0024\":{\"type\":\"page\"}}"))
	f.Fuzz(func(t *testing.T, body []byte) { checkPayload(t, body) })
}

// checkPayload parses body and checks what holds of every payload.
func checkPayload(t tester, body []byte) {
	t.Helper()
	before := bytes.Clone(body)
	p, warnings, err := gateway.ParsePayload(body)
	if !bytes.Equal(before, body) {
		t.Fatal("the body was changed")
	}
	if err != nil {
		if p != nil || gateway.CodeOf(err) != gateway.CodeInvalidPayload && gateway.CodeOf(err) != gateway.CodeTooLarge {
			t.Errorf("%v, %v", p, err)
		}
		checkRefused(t, body)
		return
	}
	var std map[string]json.RawMessage
	if err := json.Unmarshal(bytes.TrimPrefix(body, []byte("\uFEFF")), &std); err != nil || std == nil {
		t.Errorf("encoding/json refuses the payload: %v", err)
	}
	if len(warnings) > gateway.MaxWarnings || p.Fingerprint == 0 {
		t.Errorf("%d warnings, fingerprint %d", len(warnings), p.Fingerprint)
	}
	for _, w := range warnings {
		if w.Code == "" || w.Message == "" || !utf8.ValidString(w.Field) || len(w.Field) > 2*gateway.MaxName {
			t.Errorf("warning %+v", w)
		}
	}
	for _, text := range []struct {
		s     string
		limit int
	}{
		{p.APIKey, gateway.MaxID}, {p.Key, 64}, {p.URL, gateway.MaxURL}, {p.Path, gateway.MaxURL}, {p.Title, gateway.MaxTitle},
		{p.Referrer, gateway.MaxURL}, {p.Name, gateway.MaxName}, {p.CustomID, gateway.MaxID}, {p.Email, 254}, {p.EmailKey, 254}, {p.UserHash, gateway.MaxID},
	} {
		if len(text.s) > text.limit || !utf8.ValidString(text.s) || strings.Contains(text.s, "\x00") {
			t.Errorf("text %q", text.s)
		}
	}
	if p.Data != "" && (!json.Valid([]byte(p.Data)) || p.Data[0] != '{' || len(p.Data) > gateway.MaxValue) {
		t.Errorf("data %q", p.Data)
	}
	if event := p.Type == gateway.PayloadEvent || p.Type == gateway.PayloadProduct; event != (p.Name != "") || !event && p.Data != "" {
		t.Errorf("type %d, name %q, data %q", p.Type, p.Name, p.Data)
	}
	if _, key, ok := gateway.NormalizeEmail(p.Email); p.Email != "" && (!ok || key != p.EmailKey || p.EmailNull) {
		t.Errorf("email %q, key %q", p.Email, p.EmailKey)
	}
	checkAttributes(t, gateway.EntityContact, p.Attributes)
	for _, c := range p.Companies {
		checkAttributes(t, gateway.EntityCompany, c.Attributes)
		if len(c.CustomID) > gateway.MaxID || len(c.Name) > gateway.MaxID || c.CustomID+c.Name == "" && len(c.Attributes) == 0 {
			t.Errorf("company %+v", c)
		}
	}
	if len(p.Companies) > gateway.MaxCompanies || p.CompaniesNull && len(p.Companies) > 0 {
		t.Errorf("%d companies, null %t", len(p.Companies), p.CompaniesNull)
	}
	again, _, err := gateway.ParsePayload(body)
	if err != nil {
		t.Errorf("a second time: %v", err)
	}
	// Nothing of the first payload is in the body's memory.
	for i := range body {
		body[i] = 'x'
	}
	if diff := cmp.Diff(again, p); diff != "" {
		t.Errorf("a second time, with the body overwritten (-second +first):\n%s", diff)
	}
	copy(body, before)
}

// TestPayloadsOfAnyShape feeds all known keys with values of all shapes.
func TestPayloadsOfAnyShape(t *testing.T) {
	t.Parallel()
	keys := func(names ...string) *rapid.Generator[string] { return rapid.SampledFrom(names) }
	contact := []string{"apiKey", "user_id", "email", "user_hash", "state", "$", "company", "companies", "plan", "First name", "__proto__", "!"}
	for _, a := range gateway.StandardAttrs(gateway.EntityContact) {
		contact = append(contact, a.Name)
	}
	company := []string{"company_id", "name", "plan", "Size", "constructor"}
	for _, a := range gateway.StandardAttrs(gateway.EntityCompany) {
		company = append(company, a.Name)
	}
	envelope := []string{"id", "key", "at", "type", "url", "path", "title", "referrer", "name", "data"}
	text := rapid.SampledFrom([]string{
		`"42"`, `"undefined"`, `"a@b.test"`, `" A@Bücher.test "`, `"+44754123434"`, `"020 123"`, `"male"`, `"user"`, `"a,b"`, `"page"`, `"event"`, `"product_event"`,
		`"https://a.test/p?q"`, `"2026-11-22T10:00:00Z"`, `"ngze13ffndcv"`, `"01932c0a-7b1e-7c3d-9e4f-5a6b7c8d9e0f"`, `{"event_type":"view"}`, `""`, `2`, `0`,
	})
	value := rapid.OneOf(text, text, jsonText(2))
	object := func(t *rapid.T, names *rapid.Generator[string], value func(name string) string) string {
		var members []string
		for range rapid.IntRange(0, 6).Draw(t, "members") {
			name := names.Draw(t, "name")
			members = append(members, `"`+name+`":`+value(name))
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	rapid.Check(t, func(t *rapid.T) {
		leaf := func(string) string { return value.Draw(t, "value") }
		body := object(t, keys(contact...), func(name string) string {
			if rapid.IntRange(0, 4).Draw(t, "odd") == 0 {
				return leaf("")
			}
			switch name {
			case "$":
				return object(t, keys(envelope...), leaf)
			case "company":
				return object(t, keys(company...), leaf)
			case "companies":
				return "[" + object(t, keys(company...), leaf) + "," + leaf("") + "]"
			}
			return leaf("")
		})
		checkPayload(t, []byte(body))
	})
}

// FuzzSplitBatch compares with encoding/json.
func FuzzSplitBatch(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `[{"a":1} , 2,"]"]`, "[]", "[1", "\uFEFF [{}]\n", "[\"\xff\\ud800\"]", "[[],[[]]]x", "[" + nested(50) + "]", " [" + strings.Repeat("1,", 60) + "1]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		items, batch, err := gateway.SplitBatch(body)
		if !bytes.Equal(before, body) {
			t.Fatal("the body was changed")
		}
		trimmed := bytes.TrimPrefix(body, []byte("\uFEFF"))
		var std []json.RawMessage
		stdErr := json.Unmarshal(trimmed, &std)
		switch {
		case !batch:
			if err != nil || len(items) != 1 || !bytes.Equal(items[0], trimmed) || stdErr == nil && std != nil {
				t.Errorf("%d items, %v", len(items), err)
			}
		case err != nil:
			want := gateway.CodeInvalidPayload
			if len(std) > gateway.MaxBatch {
				want = gateway.CodeTooLarge
			}
			if stdErr == nil && (len(std) > 0 && len(std) <= gateway.MaxBatch || gateway.CodeOf(err) != want) {
				t.Errorf("%v, but encoding/json has %d items", err, len(std))
			}
		default:
			var want, got []string
			for i := range std {
				want = append(want, string(std[i]))
			}
			for _, item := range items {
				got = append(got, string(item))
			}
			if diff := cmp.Diff(want, got); stdErr != nil || diff != "" {
				t.Errorf("%v, items (-encoding/json +here):\n%s", stdErr, diff)
			}
			for _, item := range items {
				if _, _, err := gateway.ParsePayload(item); err != nil && len(item) > 0 && item[0] == '{' {
					t.Errorf("ParsePayload(%q): %v", item, err)
				}
			}
		}
	})
}

// jsonText generates JSON with all freedom of spelling that the format has:
// white space, escapes, notations of numbers, equal names.
func jsonText(depth int) *rapid.Generator[string] {
	space := rapid.SampledFrom([]string{"", "", "", " ", "\n\t"})
	char := rapid.OneOf(
		rapid.StringMatching(`[a-z0-9 _.:,@+-]`),
		rapid.SampledFrom([]string{"[", "]", "{", "}", "é", "€", "😀", "\u2028", `\"`, `\\`, `\/`, `\n`, `\u0041`, `\u00e9`, `\ud83d\ude00`, `\u0001`, `\ud800`, `\u0000`}),
	)
	text := rapid.Map(rapid.SliceOfN(char, 0, 8), func(cs []string) string { return `"` + strings.Join(cs, "") + `"` })
	number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?`)
	scalar := rapid.OneOf(text, number, rapid.SampledFrom([]string{"true", "false", "null", `"2016-08-03"`, `"2016-08-03T12:00:00Z"`}))
	if depth == 0 {
		return scalar
	}
	name := rapid.OneOf(rapid.SampledFrom([]string{`"a"`, `"b"`, `"\u0061"`, `""`, `"__proto__"`}), text)
	inner := rapid.Deferred(func() *rapid.Generator[string] { return jsonText(depth - 1) })
	container := rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		sp := func() { b.WriteString(space.Draw(t, "space")) }
		object := rapid.Bool().Draw(t, "object")
		b.WriteString(map[bool]string{true: "{", false: "["}[object])
		for i := range rapid.IntRange(0, 4).Draw(t, "members") {
			if i > 0 {
				b.WriteByte(',')
			}
			sp()
			if object {
				b.WriteString(name.Draw(t, "name"))
				sp()
				b.WriteByte(':')
				sp()
			}
			b.WriteString(inner.Draw(t, "value"))
			sp()
		}
		sp()
		b.WriteString(map[bool]string{true: "}", false: "]"}[object])
		return b.String()
	})
	return rapid.OneOf(scalar, container)
}

// TestValuesKeepTheirMeaning compares values with what encoding/json makes of
// the same text, by themselves and as an attribute.
func TestValuesKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		raw := jsonText(4).Draw(rt, "json")
		v, err := gateway.ParseValue([]byte(raw))
		if err != nil {
			rt.Fatalf("ParseValue(%s): %v", raw, err)
		}
		checkValue(rt, v)
		checkMeaning(rt, []byte(raw), v)
		p, _, err := gateway.ParsePayload([]byte(`{"x" : ` + raw + `,"user_id":"7"}`))
		want := []gateway.PayloadAttribute{{Name: "x", Label: "x", Value: v}}
		if diff := cmp.Diff(want, p.Attributes); err != nil || diff != "" || p.CustomID != "7" {
			rt.Errorf("%v, attributes (-want +got):\n%s", err, diff)
		}
	})
}

// checkRefused makes sure that nothing was refused that encoding/json takes for
// an object of a bearable depth.
func checkRefused(t tester, body []byte) {
	if len(body) > gateway.MaxPayload || bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) > 5000 {
		return
	}
	var std map[string]json.RawMessage
	if err := json.Unmarshal(body, &std); err == nil && std != nil {
		t.Errorf("refused, but encoding/json takes it: %q", body)
	}
}

func checkAttributes(t tester, entity gateway.Entity, as []gateway.PayloadAttribute) {
	seen := map[string]bool{}
	custom := 0
	for _, a := range as {
		std, ok := gateway.Standard(entity, a.Name)
		if !ok {
			custom++
		}
		switch {
		case seen[a.Name]:
			t.Errorf("attribute %q twice", a.Name)
		case a.Name == "" || len(a.Name) > gateway.MaxName || len(a.Label) > gateway.MaxName:
			t.Errorf("attribute name %q, label %q", a.Name, a.Label)
		case gateway.StandardName(a.Name) != a.Name:
			t.Errorf("attribute name %q is not in standard form", a.Name)
		case ok && !a.Value.IsNull() && a.Value.Type != std.Type:
			t.Errorf("standard attribute %q has type %s", a.Name, a.Value.Type)
		}
		seen[a.Name] = true
		checkValue(t, a.Value)
	}
	if custom > gateway.MaxKeys {
		t.Errorf("%d custom attributes", custom)
	}
}
