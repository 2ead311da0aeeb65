package store

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"civgate/gateway"
)

// This file says what meets a condition, in terms of stored values alone.
//
// Decisions
//
//   - Numbers compare exactly, with all digits that were sent.
//   - Dates and datetimes compare as instants: as texts, 05Z would be later than
//     05.5Z. What is compared with them and can't be read as one does not meet the
//     condition.
//   - Without regard to case means: for letters of any script that have one other
//     case each (ł and Ł), but an ASCII letter only ever equals ASCII ones. That is
//     what lets SQL narrow, which folds ASCII on both databases and may fold more.
//   - A list or other JSON equals only the same canonical text.

// comparison is a gateway.Condition made ready to be asked often.
type comparison struct {
	field string
	op    gateway.Op
	value gateway.Value

	isText bool // a text, date or datetime: text is what it says
	text   string
	folded string // text without regard to case, for the operators that have none
	isTime bool   // a date or datetime, or a text written like one: when is the instant
	when   time.Time
}

// id is the value as an id, 0 if it is none.
func (c *comparison) id() int64 {
	if c.value.Type != gateway.TypeNumber {
		return 0
	}
	id, err := strconv.ParseInt(c.value.Raw, 10, 64)
	if err != nil {
		return 0
	}
	return id
}

// comparisons makes conditions ready. What no query can ask is a CodeInvalid.
func comparisons(where []gateway.Condition) ([]*comparison, error) {
	if len(where) > maxConditions {
		return nil, gateway.Errorf(gateway.CodeInvalid, "%d conditions are too many: use at most %d", len(where), maxConditions)
	}
	all := make([]*comparison, len(where))
	for i, w := range where {
		c := &comparison{field: w.Field, op: w.Op, value: w.Value}
		switch w.Op {
		case gateway.OpEqual, gateway.OpContains, gateway.OpIContains, gateway.OpStartsWith, gateway.OpIStartsWith, gateway.OpEndsWith, gateway.OpIEndsWith,
			gateway.OpGreater, gateway.OpAtLeast, gateway.OpLess, gateway.OpAtMost:
		default:
			return nil, &gateway.Error{Code: gateway.CodeInvalid, Field: w.Field, Message: fmt.Sprintf("there is no operator %.40q", w.Op)}
		}
		switch w.Value.Type {
		case gateway.TypeText, gateway.TypeDate, gateway.TypeDatetime:
			c.isText, c.text = true, gateway.Text(w.Value)
			c.folded = fold(c.text)
			c.when, c.isTime = gateway.ParseDatetime(c.text)
			switch {
			case w.Field == "custom_id", w.Field == "email", w.Field == "key", w.Field == "phone_number" && w.Op == gateway.OpEqual:
				c.value.Type = gateway.TypeText // identifiers are texts, whatever they look like
			}
		}
		all[i] = c
	}
	return all, nil
}

// emailKey is the key by which addresses are compared; what is no address is
// its own.
func (c *comparison) emailKey() string {
	if _, key, ok := gateway.NormalizeEmail(c.text); ok {
		return key
	}
	return c.text
}

// json reports whether a stored value, given by its canonical JSON text, meets
// the condition.
func (c *comparison) json(raw string) bool {
	switch typeOf(raw) {
	case gateway.TypeText:
		return c.plain(unquoted(raw))
	case gateway.TypeNumber:
		return c.number(raw)
	case gateway.TypeBool:
		return c.value.Type == gateway.TypeBool && c.op == gateway.OpEqual && raw == c.value.Raw
	case gateway.TypeList:
		for _, item := range gateway.Items(gateway.Value{Type: gateway.TypeList, Raw: raw}) {
			if c.json(item.Raw) {
				return true
			}
		}
	}
	switch c.value.Type {
	case gateway.TypeList, gateway.TypeJSON:
		return c.op == gateway.OpEqual && raw == c.value.Raw
	}
	return false
}

// unquoted is what a JSON text says.
func unquoted(raw string) string {
	if strings.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	return gateway.Text(gateway.Value{Type: gateway.TypeText, Raw: raw})
}

// plain reports whether a text meets the condition.
func (c *comparison) plain(text string) bool {
	if !c.isText {
		return false
	}
	switch c.op {
	case gateway.OpContains:
		return strings.Contains(text, c.text)
	case gateway.OpIContains:
		return strings.Contains(fold(text), c.folded)
	case gateway.OpStartsWith:
		return strings.HasPrefix(text, c.text)
	case gateway.OpIStartsWith:
		return strings.HasPrefix(fold(text), c.folded)
	case gateway.OpEndsWith:
		return strings.HasSuffix(text, c.text)
	case gateway.OpIEndsWith:
		return strings.HasSuffix(fold(text), c.folded)
	}
	if c.value.Type == gateway.TypeText {
		return c.holds(strings.Compare(text, c.text))
	}
	when, ok := gateway.ParseDatetime(text)
	return ok && c.isTime && c.holds(when.Compare(c.when))
}

// number reports whether a number, given by its JSON text, meets the condition.
func (c *comparison) number(raw string) bool {
	return c.value.Type == gateway.TypeNumber && c.holds(compareNumbers(raw, c.value.Raw))
}

// holds reports whether the operator is for values of which the stored one is
// less than (-1), equal to (0) or greater than (1) the condition's.
func (c *comparison) holds(order int) bool {
	switch c.op {
	case gateway.OpEqual:
		return order == 0
	case gateway.OpGreater:
		return order > 0
	case gateway.OpAtLeast:
		return order >= 0
	case gateway.OpLess:
		return order < 0
	case gateway.OpAtMost:
		return order <= 0
	}
	return false
}

// fold returns s so that texts which differ in case alone become equal. It
// takes one character to one, an ASCII one to an ASCII one and any other to another
// such.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case r < utf8.RuneSelf:
			return r
		}
		if l := unicode.ToLower(r); l >= utf8.RuneSelf {
			return l
		}
		return r // the sign of the Kelvin, and the like
	}, s)
}

// pattern returns what a text is like, for LIKE with the escape character '!',
// when it meets the condition: at least that. In a bag it follows the name in prefix. ok is
// false if there is nothing to narrow by.
func (c *comparison) pattern(prefix string, bag bool) (p pattern, ok bool) {
	if len(prefix)+len(c.text) > maxPattern {
		return pattern{}, false
	}
	needle := c.text
	switch c.op {
	case gateway.OpEqual:
		// A date can be written in several ways.
		if c.value.Type != gateway.TypeText {
			needle = ""
		}
	case gateway.OpContains, gateway.OpStartsWith, gateway.OpEndsWith:
	case gateway.OpIContains, gateway.OpIStartsWith, gateway.OpIEndsWith:
		p.lower = true
	default:
		needle = ""
	}
	var b strings.Builder
	if bag {
		b.WriteByte('%')
		p.write(&b, prefix)
		// Inside a text of JSON quotes, backslashes and control characters are
		// written with a backslash each.
		quoted := gateway.TextValue(needle).Raw
		needle = quoted[1 : len(quoted)-1]
		b.WriteByte('%')
		p.write(&b, needle)
		b.WriteByte('%')
		p.text = b.String()
		return p, true
	}
	if needle == "" {
		return pattern{}, false
	}
	switch c.op {
	case gateway.OpContains, gateway.OpIContains, gateway.OpEndsWith, gateway.OpIEndsWith:
		b.WriteByte('%')
	}
	p.write(&b, needle)
	switch c.op {
	case gateway.OpContains, gateway.OpIContains, gateway.OpStartsWith, gateway.OpIStartsWith:
		b.WriteByte('%')
	}
	p.text = b.String()
	return p, true
}

// write appends what stands for s in a pattern: in lower case any character
// beyond ASCII stands for any other.
func (p pattern) write(b *strings.Builder, s string) {
	for _, r := range s {
		switch {
		case r == '%' || r == '_' || r == '!':
			b.WriteByte('!')
			b.WriteRune(r)
		case p.lower && r >= utf8.RuneSelf:
			b.WriteByte('_')
		case p.lower && 'A' <= r && r <= 'Z':
			b.WriteRune(r + 'a' - 'A')
		default:
			b.WriteRune(r)
		}
	}
}

// compareNumbers compares two JSON numbers by all their digits.
func compareNumbers(a, b string) int {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	m, n := decimalOf(a), decimalOf(b)
	if m.sign != n.sign || m.sign == 0 {
		return cmp.Compare(m.sign, n.sign)
	}
	order := cmp.Compare(m.point, n.point)
	if order == 0 {
		order = strings.Compare(m.digits, n.digits)
	}
	return order * m.sign
}

// decimal is sign × 0.digits × 10^point, the digits without zeros at either
// end.
type decimal struct {
	sign   int
	digits string
	point  int
}

func decimalOf(raw string) decimal {
	d := decimal{sign: 1}
	s, negative := strings.CutPrefix(raw, "-")
	if negative {
		d.sign = -1
	}
	exponent := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		// Out of range it is the nearest int: the stored numbers are within a
		// float64's.
		exponent, _ = strconv.Atoi(s[i+1:])
		exponent = min(max(exponent, -1<<20), 1<<20)
		s = s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	digits := whole + fraction
	d.digits = strings.TrimLeft(digits, "0")
	d.point = len(whole) - (len(digits) - len(d.digits)) + exponent
	if d.digits = strings.TrimRight(d.digits, "0"); d.digits == "" {
		return decimal{}
	}
	return d
}
