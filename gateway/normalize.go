package gateway

import (
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Limits of an e-mail address in bytes (RFC 5321, section 4.5.3.1; 254 is what
// a path of 256 leaves for the address).
const (
	maxEmail      = 254
	maxEmailLocal = 64
	maxDomain     = 253
	maxLabel      = 63
)

// MaxPhone is how many bytes a phone number may have that is kept without
// being E.164.
const MaxPhone = 64

// NormalizeEmail returns the e-mail address s as it is shown (s without the
// space around it) and the key by which addresses are compared: lower case in
// both parts, local part in NFC, domain in its ASCII form (IDNA). The key of a
// key is itself. Addresses with a plus stay apart from those without.
//
// It takes an addr-spec of RFC 5321 and 6531 with a dot-string before the @ and
// a domain name behind it, and nothing around them: no display name, no
// comment, no mailto:. Quoted local parts and address literals are refused,
// although the standard has them: in a payload they are mistakes.
func NormalizeEmail(s string) (email, key string, ok bool) {
	email = strings.TrimSpace(s)
	at := strings.LastIndexByte(email, '@')
	if at < 1 || len(email) > maxEmail || !utf8.ValidString(email) {
		return "", "", false
	}
	local, domain := email[:at], email[at+1:]
	if !isDotString(local) {
		return "", "", false
	}
	keyLocal := strings.ToLower(local)
	if !isASCII(keyLocal) {
		keyLocal = lowerNFC(keyLocal)
	}
	keyDomain, ok := normalizeDomain(domain)
	if !ok || len(local) > maxEmailLocal || len(keyLocal) > maxEmailLocal {
		return "", "", false
	}
	if keyLocal == local && keyDomain == domain {
		return email, email, true
	}
	key = keyLocal + "@" + keyDomain
	return email, key, len(key) <= maxEmail
}

// lowerNFC returns s in lower case and composed form. Either step can undo the
// other, so both are repeated until nothing changes.
func lowerNFC(s string) string {
	for range 4 {
		t := norm.NFC.String(strings.ToLower(s))
		if t == s {
			break
		}
		s = t
	}
	return s
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isDotString reports whether s is a Dot-string (RFC 5321, section 4.1.2) of
// atext, or of letters beyond ASCII (RFC 6531, section 3.3) that can be seen.
func isDotString(s string) bool {
	dot := true
	for _, r := range s {
		switch {
		case r == '.':
			if dot {
				return false
			}
			dot = true
			continue
		case r < utf8.RuneSelf:
			if !isAtext(byte(r)) {
				return false
			}
		case r == utf8.RuneError || !unicode.IsGraphic(r) || unicode.IsSpace(r):
			return false
		}
		dot = false
	}
	return !dot
}

func isAtext(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("-_+!#$%&'*/=?^`{|}~", c) >= 0
}

// normalizeDomain returns the ASCII form of a domain name in lower case.
func normalizeDomain(s string) (string, bool) {
	if isPlainDomain(s) {
		return s, true
	}
	if strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".") {
		return "", false
	}
	ascii, err := idna.Lookup.ToASCII(s)
	if err != nil || len(ascii) > maxDomain {
		return "", false
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if label == "" || len(label) > maxLabel {
			return "", false
		}
	}
	return ascii, true
}

// isPlainDomain reports whether s is a domain name that idna would leave as it
// is, without asking it.
func isPlainDomain(s string) bool {
	if s == "" || len(s) > maxDomain {
		return false
	}
	label := 0 // start of the label
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			switch c := s[i]; {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			case c == '-' && i > label && i-label != 3:
				// A hyphen in the fourth place may be that of a prefix like xn--.
			default:
				return false
			}
			continue
		}
		if i == label || i-label > maxLabel || s[i-1] == '-' {
			return false
		}
		label = i + 1
	}
	return true
}

// EmailDomain returns the domain of an e-mail key (NormalizeEmail), "" if it
// has none.
func EmailDomain(key string) string {
	at := strings.LastIndexByte(key, '@')
	if at < 0 {
		return ""
	}
	return key[at+1:]
}

// NormalizePhone returns the phone number s for storing. A number that is
// E.164 by shape (+ and 2 to 15 digits, the first not 0) is kept as it is,
// whether or not any plan has it. One that gets this shape by losing spaces,
// dashes, dots and parentheses, or by writing + for a leading 00, is returned
// so. For both e164 is true. Anything else that looks like a phone number and
// has at most MaxPhone bytes is returned without the space around it; ok is
// false for the rest.
func NormalizePhone(s string) (phone string, e164, ok bool) {
	s = strings.TrimSpace(s)
	if isE164(s) {
		return s, true, true
	}
	if s == "" || len(s) > MaxPhone || !looksLikePhone(s) {
		return "", false, false
	}
	// +44 (0)20 …: the zero is dialled inside the country only, so that what is
	// left without the parentheses would be another number.
	if !strings.Contains(s, "(0)") {
		bare := strings.Map(func(r rune) rune {
			if isPhoneSeparator(r) {
				return -1
			}
			return r
		}, s)
		if rest, found := strings.CutPrefix(bare, "00"); found {
			bare = "+" + rest
		}
		if isE164(bare) {
			return bare, true, true
		}
	}
	return s, false, true
}

func isE164(s string) bool {
	return len(s) >= 3 && len(s) <= 16 && s[0] == '+' && s[1] != '0' && isDigits(s[1:])
}

func isPhoneSeparator(r rune) bool {
	switch r {
	case '-', '.', '(', ')', '\u2212':
		return true
	}
	return unicode.IsSpace(r) || unicode.Is(unicode.Pd, r)
}

// looksLikePhone reports whether s has at least three digits and otherwise
// nothing but what people put between and behind the digits of a phone number.
func looksLikePhone(s string) bool {
	s = strings.ToLower(s)
	s = strings.TrimPrefix(s, "tel:")
	s = strings.Replace(s, "ext", "x", 1)
	s = strings.Replace(s, "x", "", 1)
	digits := 0
	for _, r := range s {
		switch {
		case '0' <= r && r <= '9':
			digits++
		case r == '+', r == '/', r == '#', r == '*', r == ',', r == ';':
		case !isPhoneSeparator(r), unicode.IsControl(r):
			return false
		}
	}
	return digits >= 3
}

// How dates and datetimes are stored, as layouts of package time.
const (
	dateJSON     = `"2006-01-02"`
	datetimeJSON = `"2006-01-02T15:04:05.999999Z"`
)

// maxDatetime is the length up to which a text can be a datetime.
const maxDatetime = len("2006-01-02T15:04:05.999999999 +00:00")

// ParseDate returns midnight UTC of a calendar day written YYYY-MM-DD.
func ParseDate(s string) (time.Time, bool) {
	year, month, day, ok := parseDay(s)
	if !ok || len(s) != 10 {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC), true
}

// parseDay reads the calendar day at the start of s.
func parseDay(s string) (year, month, day int, ok bool) {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return 0, 0, 0, false
	}
	year, ok1 := parseDigits(s[0:4])
	month, ok2 := parseDigits(s[5:7])
	day, ok3 := parseDigits(s[8:10])
	if !ok1 || !ok2 || !ok3 || year < 1 || month < 1 || month > 12 || day < 1 {
		return 0, 0, 0, false
	}
	// Day 0 of the next month is the last of this one.
	if day > 28 && day > time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day() {
		return 0, 0, 0, false
	}
	return year, month, day, true
}

func parseDigits(s string) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

// ParseDatetime returns the instant that s names, in UTC and cut to
// microseconds. s is a calendar day as for ParseDate, optionally followed by
// the time of day behind a T or a space: hh:mm, :ss, a fraction of up to nine
// digits, and Z or an offset (±hh:mm, ±hhmm, ±hh), before which a space may
// stand. Without an offset the time is UTC; without a time it is midnight.
// That is RFC 3339 and the shapes of contract, section 1.2.
func ParseDatetime(s string) (time.Time, bool) {
	year, month, day, ok := parseDay(s)
	if !ok || len(s) > maxDatetime {
		return time.Time{}, false
	}
	if s = s[10:]; s == "" {
		return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC), true
	}
	if len(s) < 6 || s[0] != 'T' && s[0] != 't' && s[0] != ' ' || s[3] != ':' {
		return time.Time{}, false
	}
	hour, ok1 := parseDigits(s[1:3])
	minute, ok2 := parseDigits(s[4:6])
	if !ok1 || !ok2 || hour > 23 || minute > 59 {
		return time.Time{}, false
	}
	second, micro := 0, 0
	if s = s[6:]; len(s) >= 3 && s[0] == ':' {
		if second, ok = parseDigits(s[1:3]); !ok || second > 59 {
			return time.Time{}, false
		}
		s = s[3:]
		if len(s) > 0 && s[0] == '.' {
			n := 1
			for n < len(s) && '0' <= s[n] && s[n] <= '9' {
				n++
			}
			if n == 1 || n > 10 {
				return time.Time{}, false
			}
			micro, _ = parseDigits((s[1:n] + "000000")[:6])
			s = s[n:]
		}
	}
	offset, ok := parseOffset(s)
	if !ok {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, micro*1000, time.UTC)
	if offset != 0 {
		// An offset can lead out of the years that have four digits.
		if t = t.Add(-offset); t.Year() < 1 || t.Year() > 9999 {
			return time.Time{}, false
		}
	}
	return t, true
}

// parseOffset reads what follows the time of day.
func parseOffset(s string) (time.Duration, bool) {
	switch s {
	case "", "Z", "z":
		return 0, true
	}
	s = strings.TrimPrefix(s, " ")
	if len(s) < 3 || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	hour, ok1 := parseDigits(s[1:3])
	minute, ok2 := 0, true
	if rest := strings.TrimPrefix(s[3:], ":"); rest != "" {
		minute, ok2 = parseDigits(rest)
		ok2 = ok2 && len(rest) == 2
	} else if len(s) > 3 {
		ok2 = false
	}
	if !ok1 || !ok2 || hour > 23 || minute > 59 {
		return 0, false
	}
	d := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
	if s[0] == '-' {
		d = -d
	}
	return d, true
}

// MaskIP returns the address with the part zeroed that tells single customers
// apart: all behind /24 for IPv4 (also when mapped into IPv6) and behind /48 for
// IPv6. It returns "" for an invalid address.
func MaskIP(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	a = a.Unmap()
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return ""
	}
	return p.Addr().String()
}
