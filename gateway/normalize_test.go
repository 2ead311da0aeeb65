package gateway_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"pgregory.net/rapid"

	"civgate/gateway"
)

func TestNormalizeEmail(t *testing.T) {
	t.Parallel()
	local64, label63 := strings.Repeat("l", 64), strings.Repeat("d", 63)
	long := local64 + "@" + label63 + "." + label63 + "." + strings.Repeat("d", 57) + ".de"
	tests := []struct{ name, in, email, key string }{
		{"plain", "jane@acme.test", "jane@acme.test", "jane@acme.test"},
		{"space around", " \tjane@acme.test\n", "jane@acme.test", "jane@acme.test"},
		{"capitals", "Jane.Roe@Acme.TEST", "Jane.Roe@Acme.TEST", "jane.roe@acme.test"},
		{"plus", "jane+shop@acme.test", "jane+shop@acme.test", "jane+shop@acme.test"},
		{"all of atext", "!#$%&'*+-/=?^_`{|}~9@acme.test", "!#$%&'*+-/=?^_`{|}~9@acme.test", "!#$%&'*+-/=?^_`{|}~9@acme.test"},
		{"domain beyond ASCII", "jane@Bücher.test", "jane@Bücher.test", "jane@xn--bcher-kva.test"},
		{"domain in ASCII form", "jane@XN--bcher-kva.test", "jane@XN--bcher-kva.test", "jane@xn--bcher-kva.test"},
		{"full-width domain", "jane@ａｃｍｅ。test", "jane@ａｃｍｅ。test", "jane@acme.test"},
		{"local part beyond ASCII", "JÜRGEN@acme.test", "JÜRGEN@acme.test", "jürgen@acme.test"},
		{"local part decomposed", "ju\u0308rgen@acme.test", "ju\u0308rgen@acme.test", "jürgen@acme.test"},
		{"one label", "root@localhost", "root@localhost", "root@localhost"},
		{"hyphens", "a@a-b.c-d-e.test", "a@a-b.c-d-e.test", "a@a-b.c-d-e.test"},
		{"digits", "1@1.2.3", "1@1.2.3", "1@1.2.3"},
		{"longest", long, long, long},
		{"one byte too long", "l" + long, "", ""},
		{"local part too long", local64 + "l@acme.test", "", ""},
		{"local part too long before it is composed", strings.Repeat("l", 62) + "u\u0308@acme.test", "", ""},
		{"label too long", "a@" + label63 + "d.test", "", ""},
		{"400 characters", strings.Repeat("e", 390) + "@acme.test", "", ""},
		{"empty", "", "", ""},
		{"no at", "acme.test", "", ""},
		{"no local part", "@acme.test", "", ""},
		{"no domain", "jane@", "", ""},
		{"two ats", "jane@roe@acme.test", "", ""},
		{"display name", "Bob <a@b.c>", "", ""},
		{"angle brackets", "<a@b.test>", "", ""},
		{"comment", "jane(work)@acme.test", "", ""},
		{"comment in domain", "jane@acme(work).test", "", ""},
		{"mailto", "mailto:jane@acme.test", "", ""},
		{"quoted", `"jane roe"@acme.test`, "", ""},
		{"address literal", "jane@[192.0.2.1]", "", ""},
		{"dot first", ".jane@acme.test", "", ""},
		{"dot last", "jane.@acme.test", "", ""},
		{"two dots", "jane..roe@acme.test", "", ""},
		{"dot before domain", "jane@.acme.test", "", ""},
		{"dot behind domain", "jane@acme.test.", "", ""},
		{"ideographic dot behind domain", "jane@acme.test。", "", ""},
		{"two dots in domain", "jane@acme..test", "", ""},
		{"hyphen first", "jane@-acme.test", "", ""},
		{"hyphen last", "jane@acme-.test", "", ""},
		{"underscore in domain", "jane@ac_me.test", "", ""},
		{"space inside", "jane roe@acme.test", "", ""},
		{"space in domain", "jane@acme .test", "", ""},
		{"two addresses", "a@b.test,c@d.test", "", ""},
		{"line break", "jane@acme.test\nBcc: x@y.test", "", ""},
		{"NUL", "ja\x00ne@acme.test", "", ""},
		{"zero width space", "ja\u200bne@acme.test", "", ""},
		{"right to left override", "ja\u202ene@acme.test", "", ""},
		{"invalid UTF-8", "ja\xffne@acme.test", "", ""},
		{"replacement character", "ja\uFFFDne@acme.test", "", ""},
		{"bad punycode", "jane@xn--zzzzzzzzz99999.test", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			email, key, ok := gateway.NormalizeEmail(test.in)
			if email != test.email || key != test.key || ok != (test.key != "") {
				t.Errorf("NormalizeEmail(%q) = %q, %q, %t; want %q, %q", test.in, email, key, ok, test.email, test.key)
			}
		})
	}
}

// TestPlainDomains checks that the shortcut for plain domains says what idna
// says.
func TestPlainDomains(t *testing.T) {
	t.Parallel()
	domain := rapid.StringMatching(`[a-z0-9-]{0,5}(\.[a-z0-9-]{0,6}){0,3}`)
	rapid.Check(t, func(t *rapid.T) {
		d := domain.Draw(t, "domain")
		want, err := idna.Lookup.ToASCII(d)
		valid := err == nil && !strings.Contains("."+want+".", "..")
		_, key, ok := gateway.NormalizeEmail("a@" + d)
		if ok != valid || ok && key != "a@"+want {
			t.Errorf("NormalizeEmail(a@%s) = %q, %t; idna says %q, %v", d, key, ok, want, err)
		}
	})
}

func TestEmailDomain(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{"a@acme.test": "acme.test", "a@b@acme.test": "acme.test", "acme.test": "", "": "", "a@": ""} {
		if got := gateway.EmailDomain(key); got != want {
			t.Errorf("EmailDomain(%q) = %q, want %q", key, got, want)
		}
	}
}

func TestNormalizePhone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in, want string
		e164           bool
	}{
		{"the documented sample", "+44754123434", "+44754123434", true},
		{"shortest", "+12", "+12", true},
		{"longest", "+123456789012345", "+123456789012345", true},
		{"separators", " +44 (20) 7946-09.58 ", "+442079460958", true},
		{"other spaces and dashes", "+44\u00a020\u20137946\u22120958", "+442079460958", true},
		{"two zeros", "0044 20 7946 0958", "+442079460958", true},
		{"trunk zero", "+44 (0)20 7946 0958", "+44 (0)20 7946 0958", false},
		{"national", "020 7946 0958", "020 7946 0958", false},
		{"no plus", "442079460958", "442079460958", false},
		{"too many digits", "+1234567890123456", "+1234567890123456", false},
		{"zero behind plus", "+0123456", "+0123456", false},
		{"three zeros", "000123456", "000123456", false},
		{"extension", "+44 20 7946 0958 ext. 12", "+44 20 7946 0958 ext. 12", false},
		{"short extension", "(555) 123-4567 x12", "(555) 123-4567 x12", false},
		{"tel", "tel:+442079460958", "tel:+442079460958", false},
		{"two numbers", "030/123456, 030/123457", "030/123456, 030/123457", false},
		{"emergency", "112", "112", false},
		{"64 bytes", strings.Repeat("1", 64), strings.Repeat("1", 64), false},
		{"65 bytes", strings.Repeat("1", 65), "", false},
		{"empty", "", "", false},
		{"plus only", "+", "", false},
		{"one digit", "+1", "", false},
		{"two digits", "12", "", false},
		{"word", "none", "", false},
		{"word with digits", "call me at 123456", "", false},
		{"letters", "1-800-FLOWERS", "", false},
		{"other digits", "+٤٤٢٠٧٩٤٦٠٩٥٨", "", false},
		{"line break", "12345\n67890", "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, e164, ok := gateway.NormalizePhone(test.in)
			if got != test.want || e164 != test.e164 || ok != (test.want != "") {
				t.Errorf("NormalizePhone(%q) = %q, %t, %t; want %q, %t", test.in, got, e164, ok, test.want, test.e164)
			}
		})
	}
}

func TestParseDatetime(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"2016-08-03", "2016-08-03T00:00:00Z"},
		{"2016-08-03T12:00:00+00:00", "2016-08-03T12:00:00Z"},
		{"2016-08-03 12:00:00+02:00", "2016-08-03T10:00:00Z"},
		{"2017-07-25T14:14:08.612Z", "2017-07-25T14:14:08.612Z"},
		{"2017-07-25t14:14:08z", "2017-07-25T14:14:08Z"},
		{"2017-07-25T14:14", "2017-07-25T14:14:00Z"},
		{"2017-07-25T14:14Z", "2017-07-25T14:14:00Z"},
		{"2017-07-25 14:14:08", "2017-07-25T14:14:08Z"},
		{"2017-07-25 14:14:08 -0530", "2017-07-25T19:44:08Z"},
		{"2017-07-25T14:14:08-05", "2017-07-25T19:14:08Z"},
		{"2017-07-25T14:14:08.123456789Z", "2017-07-25T14:14:08.123456Z"},
		{"2017-07-25T14:14:08.1Z", "2017-07-25T14:14:08.1Z"},
		{"2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"},
		{"2017-01-01T00:30:00+01:00", "2016-12-31T23:30:00Z"},
		{"0001-01-01", "0001-01-01T00:00:00Z"},
		{"9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"},
		{"2023-02-29", ""},
		{"2017-13-01", ""},
		{"2017-00-01", ""},
		{"2017-01-00", ""},
		{"2017-04-31T00:00:00Z", ""},
		{"0000-01-01", ""},
		{"0001-01-01T00:00:00+01:00", ""},
		{"9999-12-31T23:59:59-01:00", ""},
		{"2017-07-25T24:00:00Z", ""},
		{"2017-07-25T14:60:00Z", ""},
		{"2017-07-25T23:59:60Z", ""},
		{"2017-07-25T14", ""},
		{"2017-07-25T14:14:08.Z", ""},
		{"2017-07-25T14:14:08,5Z", ""},
		{"2017-07-25T14:14:08.1234567890Z", ""},
		{"2017-07-25T14:14:08+25:00", ""},
		{"2017-07-25T14:14:08+01:60", ""},
		{"2017-07-25T14:14:08+01:", ""},
		{"2017-07-25T14:14:08+1", ""},
		{"2017-07-25T14:14:08 ", ""},
		{"2017-07-25T14:14:08 UTC", ""},
		{"2017-07-25T14:14:08ZZ", ""},
		{"2017-7-25", ""},
		{"25.07.2017", ""},
		{"07/25/2017", ""},
		{"20170725", ""},
		{"-017-07-25", ""},
		{"+017-07-25", ""},
		{" 2017-07-25", ""},
		{"", ""},
	}
	for _, test := range tests {
		t.Run(test.in, func(t *testing.T) {
			t.Parallel()
			got, ok := gateway.ParseDatetime(test.in)
			if s := got.Format(time.RFC3339Nano); ok != (test.want != "") || ok && s != test.want {
				t.Errorf("ParseDatetime(%q) = %s, %t; want %q", test.in, s, ok, test.want)
			}
		})
	}
}

func TestParseDate(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"2016-08-03": true, "2024-02-29": true, "2023-02-29": false, "1900-02-29": false, "2000-02-29": true,
		"2016-08-03T00:00:00Z": false, "2016-08-3": false, "2016/08/03": false, "": false, "2016-08-031": false,
	} {
		got, ok := gateway.ParseDate(in)
		if ok != want || ok && got.Format(time.DateOnly) != in {
			t.Errorf("ParseDate(%q) = %v, %t", in, got, ok)
		}
	}
}

func TestMaskIP(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"203.0.113.77": "203.0.113.0", "::ffff:203.0.113.77": "203.0.113.0", "2001:db8:1:2:3:4:5:6": "2001:db8:1::",
		"fe80::1%eth0": "fe80::", "::1": "::", "127.0.0.1": "127.0.0.0",
	} {
		if got := gateway.MaskIP(netip.MustParseAddr(in)); got != want {
			t.Errorf("MaskIP(%s) = %q, want %q", in, got, want)
		}
	}
	if got := gateway.MaskIP(netip.Addr{}); got != "" {
		t.Errorf("MaskIP of no address = %q", got)
	}
}

func FuzzNormalizeEmail(f *testing.F) {
	for _, s := range []string{"jane@acme.test", " Jane.Roe+x@Bücher.TEST ", "Bob <a@b.c>", "jane@ａｃｍｅ。test", "İ@x.test", "ju\u0308rgen@acme.test", "a@xn--bcher-kva.test", "\"a b\"@c.test", "a@b@c", "ẞ@ß.de"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		email, key, ok := gateway.NormalizeEmail(s)
		if !ok {
			if email != "" || key != "" {
				t.Errorf("%q, %q without ok", email, key)
			}
			return
		}
		if email != strings.TrimSpace(s) {
			t.Errorf("email %q of %q", email, s)
		}
		if len(email) > 254 || len(key) > 254 || !utf8.ValidString(key) || strings.ContainsAny(key, " <>\x00\r\n\t") || strings.Count(key, "@") != 1 {
			t.Errorf("key %q", key)
		}
		if again, key2, ok := gateway.NormalizeEmail(key); !ok || again != key || key2 != key {
			t.Errorf("the key of the key %q is %q, %t", key, key2, ok)
		}
		if d := gateway.EmailDomain(key); d == "" || d != strings.ToLower(d) {
			t.Errorf("domain %q", d)
		}
	})
}

func FuzzNormalizePhone(f *testing.F) {
	for _, s := range []string{"+44754123434", "0044 20 7946 0958", "+44 (0)20", "020/123", "tel:+1 x2", "+1\u200b2", "00 00 123"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		phone, e164, ok := gateway.NormalizePhone(s)
		if !ok {
			if phone != "" || e164 {
				t.Errorf("%q, %t without ok", phone, e164)
			}
			return
		}
		if len(phone) > gateway.MaxPhone || !utf8.ValidString(phone) || strings.TrimSpace(phone) != phone {
			t.Errorf("phone %q", phone)
		}
		if e164 && (phone[0] != '+' || strings.Trim(phone[1:], "0123456789") != "" || len(phone) > 16) {
			t.Errorf("not E.164: %q", phone)
		}
		if again, e, ok := gateway.NormalizePhone(phone); again != phone || e != e164 || !ok {
			t.Errorf("NormalizePhone(%q) = %q, %t, %t", phone, again, e, ok)
		}
	})
}

// rfc3339 is the shape on which time.Parse, which is more lenient elsewhere, has
// to agree.
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):\d\d)$`)

// FuzzParseDatetime compares with time.Parse.
func FuzzParseDatetime(f *testing.F) {
	for _, s := range []string{"2016-08-03", "2017-07-25T14:14:08.612Z", "2017-07-25 14:14:08 -0530", "9999-12-31T23:59:59-01:00", "2017-07-25t14:14+01", "0001-10-01T0:00:00+00:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := gateway.ParseDatetime(s)
		if rfc3339.MatchString(s) && !strings.HasPrefix(s, "0000") {
			std, err := time.Parse(time.RFC3339Nano, s)
			std = std.UTC().Truncate(time.Microsecond)
			if valid := err == nil && std.Year() >= 1 && std.Year() <= 9999; ok != valid || ok && !got.Equal(std) {
				t.Errorf("ParseDatetime(%q) = %v, %t; time.Parse says %v, %v", s, got, ok, std, err)
			}
		}
		if !ok {
			return
		}
		if got.Location() != time.UTC || got.Year() < 1 || got.Year() > 9999 || got.Nanosecond()%1000 != 0 {
			t.Errorf("ParseDatetime(%q) = %v", s, got)
		}
		v := gateway.DatetimeValue(got)
		checkValue(t, v)
		if again, ok := gateway.ParseDatetime(gateway.Text(v)); !ok || !again.Equal(got) {
			t.Errorf("ParseDatetime(%q) = %v, %t; want %v", gateway.Text(v), again, ok, got)
		}
		if d, ok := gateway.ParseDate(s); ok && !d.Equal(got) {
			t.Errorf("ParseDate(%q) = %v", s, d)
		}
	})
}
