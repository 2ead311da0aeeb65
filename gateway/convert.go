package gateway

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// This file owns what a Value is made of: canonical JSON text, the type that a
// value has at first sight, and the conversion of one type into another.
//
// Decisions
//
//   - jsontext decides what is JSON: it reads every input once, whole, without
//     allocating (0.6 µs for 650 bytes; decoding to maps takes three times that
//     with goccy/go-json, and fastjson, as quick as jsontext, lets control
//     characters and malformed numbers pass). It is pure Go without unsafe code.
//     Behind it, walker only steps through text that is known to be well-formed,
//     so that nothing is decoded that nobody asks for. What would change the
//     choice: encoding/json/jsontext leaving its experiment in the standard
//     library, which is the same code.
//   - Numbers keep all their digits and lose only their spelling: 1.0, 1e0 and
//     1 are the text 1, and 12345678901234567890 stays as it is. The notation is
//     that of ECMAScript (plain from 1e-7 up to 1e21, else d.ddde±x). Numbers
//     that a float64 holds only as infinity or as zero are refused, as readers
//     of the stored JSON would trip over them.
//   - Strings escape only what JSON demands. NUL is removed, because PostgreSQL
//     can't store it; invalid UTF-8 and lone surrogates become U+FFFD.
//   - Of equal names in an object the last counts, as in a browser.

// Limits of a value.
const (
	// MaxValue is how many bytes of canonical JSON a value may have.
	MaxValue = 8 << 10
	// MaxDepth is how many arrays and objects a value may have around its
	// innermost scalar.
	MaxDepth = 5
)

// flaws says what was put right while reading text.
type flaws uint8

const (
	flawNUL   flaws = 1 << iota // NUL characters removed
	flawUTF8                    // invalid UTF-8 or lone surrogates replaced
	flawNames                   // members with forbidden names left out
)

// problem says why a value can't be read; it is the code of the Warning.
type problem string

// jsonOptions lets pass what walker puts right by itself.
var jsonOptions = []jsontext.Options{
	jsontext.AllowDuplicateNames(true),
	jsontext.AllowInvalidUTF8(true),
}

// jsonReader reads JSON from memory. It is pooled because a decoder is large.
type jsonReader struct {
	dec *jsontext.Decoder
	buf bytes.Buffer
}

var jsonReaders = sync.Pool{New: func() any {
	return &jsonReader{dec: jsontext.NewDecoder(new(bytes.Buffer))}
}}

// openJSON returns a decoder that reads body in place and never writes to it.
func openJSON(body []byte) *jsonReader {
	r := jsonReaders.Get().(*jsonReader)
	r.buf = *bytes.NewBuffer(body)
	r.dec.Reset(&r.buf, jsonOptions...)
	return r
}

func (r *jsonReader) close() {
	r.buf = bytes.Buffer{}
	r.dec.Reset(&r.buf)
	jsonReaders.Put(r)
}

// end returns an error unless nothing but space follows.
func (r *jsonReader) end() error {
	_, err := r.dec.ReadToken()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return &jsontext.SyntacticError{ByteOffset: r.dec.InputOffset(), Err: errors.New("more than one value")}
	}
	return err
}

// checkJSON returns an error unless body is one JSON value. An error that has
// to do with the text is a *jsontext.SyntacticError.
func checkJSON(body []byte) error {
	r := openJSON(body)
	defer r.close()
	if _, err := r.dec.ReadValue(); err != nil {
		return err
	}
	return r.end()
}

// walker steps through the members of an object or the elements of an array.
// The text must be valid JSON.
type walker struct {
	s string
	i int
}

// walk returns a walker inside the object or array s.
func walk(s string) walker { return walker{s: s, i: 1} }

// next returns the text of the next name or value, and the number of arrays and
// objects nested in it; ok is false at the end.
func (w *walker) next() (tok string, depth int, ok bool) {
	for w.i < len(w.s) {
		switch w.s[w.i] {
		case ' ', '\t', '\n', '\r', ',', ':':
			w.i++
			continue
		case '}', ']':
			return "", 0, false
		}
		start := w.i
		w.i, depth = tokenEnd(w.s, start)
		return w.s[start:w.i], depth, true
	}
	return "", 0, false
}

// tokenEnd returns where the value that begins at s[i] ends, and its depth.
func tokenEnd(s string, i int) (end, depth int) {
	switch s[i] {
	case '"':
		return stringEnd(s, i), 0
	case '{', '[':
		open := 0
		for i < len(s) {
			switch s[i] {
			case '"':
				i = stringEnd(s, i)
				continue
			case '{', '[':
				open++
				depth = max(depth, open)
			case '}', ']':
				open--
			}
			i++
			if open == 0 {
				break
			}
		}
		return i, depth
	}
	for i < len(s) {
		switch s[i] {
		case ',', ':', '}', ']', ' ', '\t', '\n', '\r':
			return i, 0
		}
		i++
	}
	return i, 0
}

// stringEnd returns where the string that begins at s[i] ends.
func stringEnd(s string, i int) int {
	for j := i + 1; ; j++ {
		k := strings.IndexByte(s[j:], '"')
		if k < 0 {
			return len(s)
		}
		j += k
		// The quote is part of the text when an odd number of backslashes
		// stands before it.
		b := j
		for b-1 > i && s[b-1] == '\\' {
			b--
		}
		if (j-b)%2 == 0 {
			return j + 1
		}
	}
}

// trimJSON cuts white space around a JSON text.
func trimJSON(s string) string { return strings.Trim(s, " \t\r\n") }

// unquote returns the text of a JSON string, cleaned. It shares memory with tok
// where it can.
func unquote(tok string) (string, flaws) {
	if len(tok) < 2 {
		return "", 0
	}
	s := tok[1 : len(tok)-1]
	if strings.IndexByte(s, '\\') < 0 && utf8.ValidString(s) {
		return s, 0
	}
	var f flaws
	b, err := jsontext.AppendUnquote(make([]byte, 0, len(tok)), tok)
	if err != nil {
		f |= flawUTF8
	}
	if bytes.IndexByte(b, 0) >= 0 {
		f |= flawNUL
		b = bytes.ReplaceAll(b, []byte{0}, nil)
	}
	return string(b), f
}

// cleanText returns s as valid UTF-8 without NUL.
func cleanText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	return s
}

// appendQuoted appends s, which is valid UTF-8, as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}

// quote returns s, which is valid UTF-8, as a JSON string.
func quote(s string) string { return string(appendQuoted(make([]byte, 0, len(s)+2), s)) }

// canonicalString returns the canonical text of a JSON string, and its meaning.
func canonicalString(tok string) (raw, text string, f flaws) {
	text, f = unquote(tok)
	if len(text) == len(tok)-2 && f == 0 {
		return tok, text, 0 // nothing was escaped, so nothing has to be
	}
	return quote(text), text, f
}

// canonicalNumber returns the one spelling of the number tok. ok is false when
// a float64 can hold it only as infinity or zero.
func canonicalNumber(tok string) (raw string, ok bool) {
	if isPlainInteger(tok) {
		return tok, true
	}
	s, neg := strings.CutPrefix(tok, "-")
	mantissa, exponent := s, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i+1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	significant := strings.TrimLeft(digits, "0")
	if significant == "" {
		return "0", true
	}
	// The value is 0.ddd × 10^point.
	point := len(whole) - (len(digits) - len(significant))
	significant = strings.TrimRight(significant, "0")
	if exponent != "" {
		// Atoi returns the nearest int when the exponent is out of range.
		e, _ := strconv.Atoi(exponent)
		point += min(max(e, -1<<20), 1<<20)
	}
	if point > 300 || point < -300 {
		f, err := strconv.ParseFloat(tok, 64)
		if err != nil || f == 0 {
			return "", false
		}
	}

	b := make([]byte, 0, len(significant)+24)
	if neg {
		b = append(b, '-')
	}
	n := len(significant)
	switch {
	case 0 < point && point <= 21 && n <= point:
		b = append(b, significant...)
		for range point - n {
			b = append(b, '0')
		}
	case 0 < point && point <= 21:
		b = append(b, significant[:point]...)
		b = append(b, '.')
		b = append(b, significant[point:]...)
	case -6 < point && point <= 0:
		b = append(b, "0."...)
		for range -point {
			b = append(b, '0')
		}
		b = append(b, significant...)
	default:
		b = append(b, significant[0])
		if n > 1 {
			b = append(b, '.')
			b = append(b, significant[1:]...)
		}
		b = append(b, 'e')
		if point > 0 {
			b = append(b, '+')
		}
		b = strconv.AppendInt(b, int64(point-1), 10)
	}
	return string(b), true
}

// isPlainInteger reports whether the number tok is an integer of up to 20
// digits without exponent, and not -0.
func isPlainInteger(tok string) bool {
	if len(tok) > 20 || tok == "-0" {
		return false
	}
	for i := range len(tok) {
		if c := tok[i]; (c < '0' || c > '9') && (c != '-' || i > 0) {
			return false
		}
	}
	return true
}

// canon writes canonical JSON.
type canon struct {
	buf   []byte
	flaws flaws
}

// append writes the value tok, whose depth is bounded. It returns false when
// that can't be: a number is out of range, or all is larger than a value may be.
func (c *canon) append(tok string) bool {
	if len(c.buf) > MaxValue {
		return false
	}
	switch tok[0] {
	case '"':
		raw, _, f := canonicalString(tok)
		c.flaws |= f
		c.buf = append(c.buf, raw...)
		return true
	case '{':
		return c.object(tok)
	case '[':
		c.buf = append(c.buf, '[')
		sep := false
		for w := walk(tok); ; {
			v, _, ok := w.next()
			if !ok {
				break
			}
			if sep {
				c.buf = append(c.buf, ',')
			}
			sep = true
			if !c.append(v) {
				return false
			}
		}
		c.buf = append(c.buf, ']')
		return true
	case 't', 'f', 'n':
		c.buf = append(c.buf, tok...)
		return true
	}
	raw, ok := canonicalNumber(tok)
	c.buf = append(c.buf, raw...)
	return ok
}

func (c *canon) object(tok string) bool {
	last := make(map[string]int)
	for w, i := walk(tok), 0; ; i++ {
		name, _, ok := w.next()
		if !ok {
			break
		}
		w.next()
		s, f := unquote(name)
		c.flaws |= f
		last[s] = i
	}
	c.buf = append(c.buf, '{')
	sep := false
	for w, i := walk(tok), 0; ; i++ {
		name, _, ok := w.next()
		if !ok {
			break
		}
		value, _, _ := w.next()
		s, _ := unquote(name)
		if last[s] != i {
			continue
		}
		if forbiddenName(s) {
			c.flaws |= flawNames
			continue
		}
		if sep {
			c.buf = append(c.buf, ',')
		}
		sep = true
		c.buf = appendQuoted(c.buf, s)
		c.buf = append(c.buf, ':')
		if !c.append(value) {
			return false
		}
	}
	c.buf = append(c.buf, '}')
	return true
}

// forbiddenName reports whether name, given to an object in a script, could
// reach beyond it.
func forbiddenName(name string) bool {
	return name == "__proto__" || name == "constructor" || name == "prototype"
}

// readValue types the JSON value tok at first sight. A problem says why it
// can't be read.
func readValue(tok string, depth int) (v Value, f flaws, p problem) {
	switch tok[0] {
	case '"':
		raw, text, f := canonicalString(tok)
		if len(raw) > MaxValue {
			return Value{}, f, WarnTooLarge
		}
		if v, ok := timeValue(text); ok {
			return v, f, ""
		}
		return Value{Type: TypeText, Raw: raw}, f, ""
	case 't', 'f':
		return Value{Type: TypeBool, Raw: tok}, 0, ""
	case 'n':
		return Null, 0, ""
	case '{', '[':
		if depth > MaxDepth {
			return Value{}, 0, WarnTooDeep
		}
		c := canon{buf: make([]byte, 0, min(len(tok), MaxValue))}
		ok := c.append(tok)
		switch {
		case len(c.buf) > MaxValue:
			return Value{}, c.flaws, WarnTooLarge
		case !ok:
			return Value{}, c.flaws, WarnNumberRange
		}
		v := Value{Type: TypeJSON, Raw: string(c.buf)}
		if isList(v.Raw) {
			v.Type = TypeList
		}
		return v, c.flaws, ""
	}
	raw, ok := canonicalNumber(tok)
	switch {
	case !ok:
		return Value{}, 0, WarnNumberRange
	case len(raw) > MaxValue:
		return Value{}, 0, WarnTooLarge
	}
	return Value{Type: TypeNumber, Raw: raw}, 0, ""
}

// isList reports whether the JSON text s is an array of texts, numbers and
// booleans only.
func isList(s string) bool {
	if s[0] != '[' {
		return false
	}
	for w := walk(s); ; {
		tok, depth, ok := w.next()
		if !ok {
			return true
		}
		if depth > 0 || tok[0] == 'n' {
			return false
		}
	}
}

// timeValue returns s as a date or datetime if it is written as one.
func timeValue(s string) (Value, bool) {
	// Nothing shorter than a date or longer than a datetime with fraction and
	// offset, and nothing that does not begin with a year.
	if len(s) < 10 || len(s) > maxDatetime || s[4] != '-' {
		return Value{}, false
	}
	if len(s) == 10 {
		if t, ok := ParseDate(s); ok {
			return DateValue(t), true
		}
		return Value{}, false
	}
	if t, ok := ParseDatetime(s); ok {
		return DatetimeValue(t), true
	}
	return Value{}, false
}

// ParseValue types a JSON text at first sight, as for an unknown attribute: a
// string that is written as a date or datetime is one, an array of scalars is
// a list. It refuses with CodeInvalid what is not JSON, and what is beyond the
// limits of a value (MaxValue, MaxDepth, the range of float64).
func ParseValue(raw []byte) (Value, error) {
	if err := checkJSON(raw); err != nil {
		return Value{}, &Error{Code: CodeInvalid, Message: "send valid JSON", Err: err}
	}
	tok := trimJSON(string(raw))
	_, depth := tokenEnd(tok, 0)
	v, _, p := readValue(tok, depth)
	if p != "" {
		return Value{}, Errorf(CodeInvalid, "%s", p.advice())
	}
	return v, nil
}

// TextValue is the text s, made valid UTF-8 without NUL.
func TextValue(s string) Value { return Value{Type: TypeText, Raw: quote(cleanText(s))} }

// InferText is the value of a text that came without a type, such as a cell
// of a sheet: a date or a datetime if it is written as one, else text.
func InferText(s string) Value {
	if v, ok := timeValue(s); ok {
		return v
	}
	return TextValue(s)
}

// NumberValue is the number f; infinities and NaN are no numbers in JSON and
// give Null.
func NumberValue(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Null
	}
	raw, ok := canonicalNumber(strconv.FormatFloat(f, 'g', -1, 64))
	if !ok {
		return Null
	}
	return Value{Type: TypeNumber, Raw: raw}
}

// IntValue is the number i.
func IntValue(i int64) Value { return Value{Type: TypeNumber, Raw: strconv.FormatInt(i, 10)} }

// BoolValue is the boolean b.
func BoolValue(b bool) Value { return Value{Type: TypeBool, Raw: strconv.FormatBool(b)} }

// DateValue is the UTC day of t.
func DateValue(t time.Time) Value {
	return Value{Type: TypeDate, Raw: t.UTC().Format(`"` + time.DateOnly + `"`)}
}

// DatetimeValue is the instant t, cut to microseconds.
func DatetimeValue(t time.Time) Value {
	return Value{Type: TypeDatetime, Raw: t.UTC().Format(`"` + datetimeLayout + `"`)}
}

// ListValue is the list of texts.
func ListValue(texts ...string) Value {
	b := []byte{'['}
	for i, s := range texts {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, cleanText(s))
	}
	return Value{Type: TypeList, Raw: string(append(b, ']'))}
}

// Text returns v as a person would write it: a text, date or datetime without
// quotes, a list as its elements with commas between, null as nothing, and
// anything else as its JSON text.
func Text(v Value) string {
	switch v.Type {
	case TypeNull:
		return ""
	case TypeText, TypeDate, TypeDatetime:
		s, _ := unquote(v.Raw)
		return s
	case TypeList:
		items := Items(v)
		texts := make([]string, len(items))
		for i, item := range items {
			texts[i] = Text(item)
		}
		return strings.Join(texts, ", ")
	}
	return v.Raw
}

// Items returns the elements of a list: texts, numbers and booleans. Of any
// other value it returns nil.
func Items(v Value) []Value {
	if v.Type != TypeList || !isList(v.Raw) {
		return nil
	}
	var items []Value
	for w := walk(v.Raw); ; {
		tok, _, ok := w.next()
		if !ok {
			return items
		}
		items = append(items, scalar(tok))
	}
}

// scalar returns the scalar with the canonical text tok, strings as text.
func scalar(tok string) Value {
	switch tok[0] {
	case '"':
		return Value{Type: TypeText, Raw: tok}
	case 't', 'f':
		return Value{Type: TypeBool, Raw: tok}
	case 'n':
		return Null
	}
	return Value{Type: TypeNumber, Raw: tok}
}

// Convert returns v as a value of another type, if that loses nothing and can
// be meant in one way only:
//
//   - a number, boolean, date or datetime becomes its text, and a text that is
//     written like one becomes that (numbers plain, without plus sign, leading
//     zeros or exponent; true and false in any case, 1 and 0);
//   - the numbers 1 and 0 become booleans, but not the other way round;
//   - a datetime becomes its UTC day, a date the midnight in UTC that begins it;
//   - a scalar becomes a list of one, and a list of one its element;
//   - everything becomes JSON, and JSON what it holds;
//   - null stays null.
func Convert(v Value, to Type) (Value, bool) {
	switch {
	case v.Type == to:
		return v, true
	case v.IsNull():
		return Null, true
	case to == TypeNull:
		return Value{}, false
	case to == TypeJSON:
		return Value{Type: TypeJSON, Raw: v.Raw}, true
	case v.Type == TypeJSON:
		return convertJSON(v, to)
	case v.Type == TypeList:
		items := Items(v)
		if len(items) != 1 {
			return Value{}, false
		}
		return Convert(items[0], to)
	}
	switch to {
	case TypeText:
		return TextValue(Text(v)), true
	case TypeNumber:
		if v.Type == TypeText {
			return parseNumber(Text(v))
		}
	case TypeBool:
		return convertBool(v)
	case TypeDate:
		if v.Type == TypeText || v.Type == TypeDatetime {
			if t, ok := ParseDatetime(Text(v)); ok {
				return DateValue(t), true
			}
		}
	case TypeDatetime:
		if v.Type == TypeText || v.Type == TypeDate {
			if t, ok := ParseDatetime(Text(v)); ok {
				return DatetimeValue(t), true
			}
		}
	case TypeList:
		raw := "[" + v.Raw + "]"
		return Value{Type: TypeList, Raw: raw}, len(raw) <= MaxValue
	}
	return Value{}, false
}

func convertJSON(v Value, to Type) (Value, bool) {
	if v.Raw == "" {
		return Value{}, false
	}
	switch v.Raw[0] {
	case '{':
		return Value{}, false
	case '[':
		if !isList(v.Raw) {
			return Value{}, false
		}
		return Convert(Value{Type: TypeList, Raw: v.Raw}, to)
	}
	return Convert(scalar(v.Raw), to)
}

func convertBool(v Value) (Value, bool) {
	if v.Type != TypeText && v.Type != TypeNumber {
		return Value{}, false
	}
	switch s := strings.TrimSpace(Text(v)); {
	case s == "1", strings.EqualFold(s, "true"):
		return BoolValue(true), true
	case s == "0", strings.EqualFold(s, "false"):
		return BoolValue(false), true
	}
	return Value{}, false
}

// parseNumber returns a plainly written number.
func parseNumber(s string) (Value, bool) {
	s = strings.TrimSpace(s)
	whole, fraction, hasPoint := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if !isDigits(whole) || len(whole) > 1 && whole[0] == '0' || hasPoint && !isDigits(fraction) {
		return Value{}, false
	}
	raw, ok := canonicalNumber(s)
	return Value{Type: TypeNumber, Raw: raw}, ok
}

func isDigits(s string) bool {
	return s != "" && !slices.ContainsFunc([]byte(s), func(c byte) bool { return c < '0' || c > '9' })
}
