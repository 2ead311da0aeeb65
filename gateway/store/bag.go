package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"civgate/gateway"
)

// columnAttributes are the attributes of a contact that have columns, in the
// order of the columns name, phone_number and status.
var columnAttributes = [...]string{"name", "phone_number", "status"}

// splitBag takes the attributes with columns out of a contact's bag: texts
// holds their values, "" for one that is not there or not a plain text; buf is
// extended by the JSON object of the rest.
func splitBag(buf []byte, a gateway.Attributes) (texts [len(columnAttributes)]string, object []byte) {
	buf = append(buf, '{')
	first := true
next:
	for i := range a {
		for c, name := range columnAttributes {
			if a[i].Name != name {
				continue
			}
			if text, ok := plainText(a[i].Value.Raw); ok {
				texts[c] = text
				continue next
			}
		}
		if !first {
			buf = append(buf, ',')
		}
		first = false
		buf = appendName(buf, a[i].Name)
		buf = append(buf, ':')
		buf = append(buf, a[i].Value.Raw...)
	}
	return texts, append(buf, '}')
}

// appendBag appends the JSON object of a whole bag.
func appendBag(buf []byte, a gateway.Attributes) []byte {
	buf = append(buf, '{')
	for i := range a {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendName(buf, a[i].Name)
		buf = append(buf, ':')
		buf = append(buf, a[i].Value.Raw...)
	}
	return append(buf, '}')
}

// plainText returns the text that a JSON text stands for, if it is not empty and needs no
// escapes: quoting it again gives the same JSON.
func plainText(raw string) (string, bool) {
	if len(raw) < 3 || raw[0] != '"' || strings.IndexByte(raw, '\\') >= 0 {
		return "", false
	}
	return raw[1 : len(raw)-1], true
}

// appendName appends a JSON text.
func appendName(buf []byte, name string) []byte {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(name) // of a string: never an error
			return append(buf, quoted...)
		}
	}
	buf = append(buf, '"')
	buf = append(buf, name...)
	return append(buf, '"')
}

// joinBag is the opposite of splitBag. The types of the values are told from
// their JSON: text, number, bool, list or json. A date comes back as a text.
func joinBag(object string, texts [len(columnAttributes)]string) (gateway.Attributes, error) {
	n := strings.Count(object, ":") // at least as many as there are
	for _, text := range texts {
		if text != "" {
			n++
		}
	}
	if n == 0 {
		return nil, nil
	}
	bag := make(gateway.Attributes, 0, min(n, 256))
	for rest, done := strings.CutPrefix(object, "{"); ; {
		if !done {
			return nil, fmt.Errorf("attributes are no JSON object")
		}
		if rest == "}" {
			break
		}
		end := textEnd(rest)
		if end < 0 || end >= len(rest) || rest[end] != ':' {
			return nil, fmt.Errorf("attributes are damaged: no name")
		}
		name := rest[1 : end-1]
		if strings.IndexByte(name, '\\') >= 0 {
			if err := json.Unmarshal([]byte(rest[:end]), &name); err != nil {
				return nil, fmt.Errorf("attributes are damaged: %w", err)
			}
		}
		rest = rest[end+1:]
		end = valueEnd(rest)
		if end <= 0 || end >= len(rest) {
			return nil, fmt.Errorf("attributes are damaged: no value")
		}
		raw := rest[:end]
		bag = append(bag, gateway.Attribute{Name: name, Value: gateway.Value{Type: typeOf(raw), Raw: raw}})
		if rest[end] == ',' {
			end++
		}
		rest = rest[end:]
	}
	for c, text := range texts {
		if text != "" {
			bag.Set(columnAttributes[c], gateway.Value{Type: gateway.TypeText, Raw: `"` + text + `"`})
		}
	}
	return bag, nil
}

// bagValue finds the JSON text of a value in the object that appendBag wrote, "" if
// the object has no such name; name is quoted as appendName does it.
func bagValue(object, name string) (raw string, err error) {
	rest := object
	if rest == "" || rest[0] != '{' {
		return "", fmt.Errorf("attributes are no JSON object")
	}
	for rest = rest[1:]; rest != "}"; {
		end := textEnd(rest)
		if end < 0 || end >= len(rest) || rest[end] != ':' {
			return "", fmt.Errorf("attributes are damaged: no name")
		}
		found := rest[:end] == name
		rest = rest[end+1:]
		end = valueEnd(rest)
		if end <= 0 || end >= len(rest) {
			return "", fmt.Errorf("attributes are damaged: no value")
		}
		if found {
			return rest[:end], nil
		}
		if rest[end] == ',' {
			end++
		}
		rest = rest[end:]
	}
	return "", nil
}

// textEnd is the place behind the JSON text that s starts with, -1 if it does
// not.
func textEnd(s string) int {
	if s == "" || s[0] != '"' {
		return -1
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// valueEnd is the place behind the compact JSON value that s starts with, -1
// if it never ends.
func valueEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			end := textEnd(s[i:])
			if end < 0 {
				return -1
			}
			i += end - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return -1
}

// typeOf tells the type of a JSON value as far as its text does.
func typeOf(raw string) gateway.Type {
	switch raw[0] {
	case '"':
		return gateway.TypeText
	case 't', 'f':
		return gateway.TypeBool
	case 'n':
		return gateway.TypeNull
	case '{':
		return gateway.TypeJSON
	case '[':
		for i := 1; i < len(raw); i++ {
			switch raw[i] {
			case '"':
				i += max(textEnd(raw[i:]), 1) - 1
			case '[', '{', 'n':
				return gateway.TypeJSON
			}
		}
		return gateway.TypeList
	}
	return gateway.TypeNumber
}
