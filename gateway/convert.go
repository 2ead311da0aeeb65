package gateway

import (
	"bytes"
	"errors"
	"io"
	"iter"
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
//     allocating (0.6 µs for 650 bytes; goccy/go-json takes 2.1 µs for a map of
//     raw members, and fastjson, as quick as jsontext, lets 007, 1.2.3, NaN,
//     "\x" and raw control characters pass).
//     Behind it, walker only steps through text that is known to be well-formed,
//     so that nothing is decoded that nobody asks for. What would change the
//     choice: encoding/json/jsontext leaving its experiment in the standard
//     library, which is the same code.
//   - Numbers keep all their digits and lose only their spelling: 1.0, 1e0 and
//     1 are the text 1, and 12345678901234567890 stays as it is. The notation is
//     that of ECMAScript (plain from 1e-6 to below 1e21, else d.ddde±x). Numbers
//     that a float64 holds only as infinity or as zero are refused, as readers
//     of the stored JSON would trip over them.
//   - Strings escape only what JSON demands. NUL is removed, because PostgreSQL
//     can't store it; invalid UTF-8 and lone surrogates become U+FFFD.
//   - Of equal names in an object the last counts, as in a browser.

// Limits of a value.
const (
	// MaxValue is how many bytes of canonical JSON a value may have: a text of
	// 8 KiB and its quotes.
	MaxValue = 8<<10 + 2
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

// close gives the reader back. The decoder refers to the body until it is used
// again or forgotten by the pool, which is cheaper than a reset.
func (r *jsonReader) close() {
	r.buf = bytes.Buffer{}
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
	if len(trimSpace(body[r.dec.InputOffset():])) == 0 {
		return nil // what the decoder would say, at less cost
	}
	return r.end()
}

// walker steps through JSON text that is known to be valid. It begins before
// a value.
type walker struct {
	s string
	i int
}

// token is the text of one value or name.
type token struct {
	text  string
	depth int  // of an array or object: how many are nested in it, itself included
	plain bool // of a string: ASCII without escapes, that is, its own meaning
}

// kind tells values apart: '"', '{', '[', 't', 'f', 'n' or, for numbers, '0'.
func (t token) kind() byte { return kindOf(t.text[0]) }

func kindOf(c byte) byte {
	if c == '-' || '0' <= c && c <= '9' {
		return '0'
	}
	return c
}

// peek returns the kind of what comes next, '}' or ']' at the end of an object
// or array.
func (w *walker) peek() byte {
	for w.i < len(w.s) {
		switch c := w.s[w.i]; c {
		case ' ', '\t', '\n', '\r', ',', ':':
			w.i++
		default:
			return kindOf(c)
		}
	}
	return ']'
}

// enter goes inside the object or array that comes next.
func (w *walker) enter() {
	w.peek()
	w.i++
}

// next returns the next name or value of the object or array that the walker is
// in, and goes behind it. At the end it leaves the object or array, and ok is
// false.
func (w *walker) next() (t token, ok bool) {
	switch w.peek() {
	case '}', ']':
		w.i++
		return token{}, false
	case '"':
		start := w.i
		w.i, t.plain = stringEnd(w.s, start)
		t.text = w.s[start:w.i]
		return t, true
	case '{', '[':
		start := w.i
		w.i, t.depth = containerEnd(w.s, start)
		t.text = w.s[start:w.i]
		return t, true
	}
	start := w.i
	for w.i < len(w.s) {
		switch w.s[w.i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return token{text: w.s[start:w.i]}, true
		}
		w.i++
	}
	return token{text: w.s[start:]}, true
}

// value returns the value that comes next, behind a name.
func (w *walker) value() token {
	t, _ := w.next()
	return t
}

// elements yields the elements of an array, or the names and values of an
// object in turn.
func elements(s string) iter.Seq[token] {
	return func(yield func(token) bool) {
		w := walker{s: s}
		w.enter()
		for {
			t, ok := w.next()
			if !ok || !yield(t) {
				return
			}
		}
	}
}

// members yields the names and values of an object.
func members(s string) iter.Seq2[token, token] {
	return func(yield func(name, value token) bool) {
		w := walker{s: s}
		w.enter()
		for {
			name, ok := w.next()
			if !ok {
				return
			}
			value, _ := w.next()
			if !yield(name, value) {
				return
			}
		}
	}
}

// containerEnd returns where the array or object that begins at s[i] ends, and
// its depth.
func containerEnd(s string, i int) (end, depth int) {
	open := 0
	for i < len(s) {
		switch s[i] {
		case '"':
			i, _ = stringEnd(s, i)
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

// The classes of bytes in a text.
const (
	classEscape  = 1 << iota // '"', '\\' and beyond ASCII: does not stand for itself in JSON
	classControl             // control characters of ASCII, or the first byte of others
	classTag                 // begins or ends what templates fill in
)

var classes = func() (classes [256]uint8) {
	for c := range classes {
		if c == '"' || c == '\\' || c >= utf8.RuneSelf {
			classes[c] |= classEscape
		}
		if c < ' ' || c == 0x7F || c == 0xC2 {
			classes[c] |= classControl
		}
		switch c {
		case '{', '<', '*', '[':
			classes[c] |= classTag
		}
	}
	return classes
}()

// classesOf returns all classes that the bytes of s are in.
func classesOf(s string) (class uint8) {
	for i := range len(s) {
		class |= classes[s[i]]
	}
	return class
}

// stringEnd returns where the string that begins at s[i] ends, and whether it
// is ASCII without escapes.
func stringEnd(s string, i int) (end int, plain bool) {
	plain = true
	for i++; i < len(s); i++ {
		c := s[i]
		if classes[c]&classEscape == 0 {
			continue
		}
		if c == '"' {
			return i + 1, plain
		}
		plain = false
		if c == '\\' {
			i++
		}
	}
	return len(s), plain
}

// unquote returns the meaning of a string, cleaned. It shares memory with t
// where it can.
func unquote(t token) (string, flaws) {
	if len(t.text) < 2 {
		return "", 0
	}
	s := t.text[1 : len(t.text)-1]
	if t.plain || strings.IndexByte(s, '\\') < 0 && utf8.ValidString(s) {
		return s, 0
	}
	var f flaws
	b, err := jsontext.AppendUnquote(make([]byte, 0, len(s)), t.text)
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

// canonicalString returns the canonical text of a string, and its meaning.
func canonicalString(t token) (raw, text string, f flaws) {
	text, f = unquote(t)
	if t.plain || f == 0 && len(text) == len(t.text)-2 {
		return t.text, text, 0 // nothing was escaped, so nothing has to be
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

// append writes the value t, whose depth is bounded. It returns false when that
// can't be: a number is out of range, or all is larger than a value may be.
func (c *canon) append(t token) bool {
	if len(c.buf) > MaxValue {
		return false
	}
	switch t.kind() {
	case '"':
		raw, _, f := canonicalString(t)
		c.flaws |= f
		c.buf = append(c.buf, raw...)
	case '{':
		return c.object(t)
	case '[':
		c.buf = append(c.buf, '[')
		start := len(c.buf)
		for e := range elements(t.text) {
			if len(c.buf) > start {
				c.buf = append(c.buf, ',')
			}
			if !c.append(e) {
				return false
			}
		}
		c.buf = append(c.buf, ']')
	case '0':
		raw, ok := canonicalNumber(t.text)
		c.buf = append(c.buf, raw...)
		return ok
	default:
		c.buf = append(c.buf, t.text...)
	}
	return true
}

func (c *canon) object(t token) bool {
	last := make(map[string]int)
	i := 0
	for name := range members(t.text) {
		s, f := unquote(name)
		c.flaws |= f
		last[s] = i
		i++
	}
	c.buf = append(c.buf, '{')
	start := len(c.buf)
	i = -1
	for name, value := range members(t.text) {
		i++
		s, _ := unquote(name)
		if last[s] != i {
			continue
		}
		if forbiddenName(s) {
			c.flaws |= flawNames
			continue
		}
		if len(c.buf) > start {
			c.buf = append(c.buf, ',')
		}
		c.buf = append(appendQuoted(c.buf, s), ':')
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

// readValue types the value t at first sight. A problem says why it can't be
// read.
func readValue(t token) (v Value, f flaws, p problem) {
	switch t.kind() {
	case '"':
		raw, text, f := canonicalString(t)
		if len(raw) > MaxValue {
			return Value{}, f, WarnTooLarge
		}
		if v, ok := timeValue(text, raw); ok {
			return v, f, ""
		}
		return Value{Type: TypeText, Raw: raw}, f, ""
	case 't', 'f':
		return Value{Type: TypeBool, Raw: t.text}, 0, ""
	case 'n':
		return Null, 0, ""
	case '{', '[':
		if t.depth > MaxDepth {
			return Value{}, 0, WarnTooDeep
		}
		c := canon{buf: make([]byte, 0, min(len(t.text), MaxValue))}
		ok := c.append(t)
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
	raw, ok := canonicalNumber(t.text)
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
	if s == "" || s[0] != '[' {
		return false
	}
	for e := range elements(s) {
		if e.depth > 0 || e.text == "null" {
			return false
		}
	}
	return true
}

// timeValue returns s as a date or datetime if it is written as one. When raw
// is its canonical text already, the value shares raw's memory.
func timeValue(s, raw string) (Value, bool) {
	if len(s) < 10 || len(s) > maxDatetime || s[4] != '-' {
		return Value{}, false
	}
	typ, layout := TypeDate, dateJSON
	if len(s) > 10 {
		typ, layout = TypeDatetime, datetimeJSON
	}
	t, ok := ParseDatetime(s)
	if !ok {
		return Value{}, false
	}
	if raw == "" || typ == TypeDatetime && !isCanonicalDatetime(s) {
		raw = t.Format(layout)
	}
	return Value{Type: typ, Raw: raw}, true
}

// isCanonicalDatetime reports whether s, which is a datetime, is written as
// datetimes are stored.
func isCanonicalDatetime(s string) bool {
	n := len(s)
	return n >= 20 && n <= 27 && s[10] == 'T' && s[n-1] == 'Z' && (n == 20 || s[19] == '.' && s[n-2] != '0')
}

// ParseValue types a JSON text at first sight, as for an unknown attribute: a
// string that is written as a date or datetime is one, an array of scalars is
// a list. It refuses with CodeInvalid what is not JSON, and what is beyond the
// limits of a value (MaxValue, MaxDepth, the range of float64).
func ParseValue(raw []byte) (Value, error) {
	if err := checkJSON(raw); err != nil {
		return Value{}, &Error{Code: CodeInvalid, Message: "send valid JSON", Err: err}
	}
	w := walker{s: string(raw)}
	t, _ := w.next()
	v, _, p := readValue(t)
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
	if v, ok := timeValue(s, ""); ok {
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
	return Value{Type: TypeDate, Raw: t.UTC().Format(dateJSON)}
}

// DatetimeValue is the instant t, cut to microseconds.
func DatetimeValue(t time.Time) Value {
	return Value{Type: TypeDatetime, Raw: t.UTC().Format(datetimeJSON)}
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
		s, _ := unquote(token{text: v.Raw})
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

// Number returns the number in v as a float64, and whether v is one.
func Number(v Value) (float64, bool) {
	if v.Type != TypeNumber {
		return 0, false
	}
	f, err := strconv.ParseFloat(v.Raw, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// Items returns the elements of a list: texts, numbers and booleans. Of any
// other value it returns nil.
func Items(v Value) []Value {
	if v.Type != TypeList || !isList(v.Raw) {
		return nil
	}
	var items []Value
	for e := range elements(v.Raw) {
		items = append(items, scalar(e.text))
	}
	return items
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
