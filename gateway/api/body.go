package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"civgate/gateway"
)

// maxRESTBody is how many bytes the body of a request of the REST API may have.
const maxRESTBody = 1 << 20

// fields are the members of a request's body, or what stands for them in a form.
type fields []gateway.Field

// fields reads the body: a JSON object whatever type the client gives it, else a form
// if it says so. No body has no fields. Errors are those of payload, CodeInvalidPayload
// for what can't be read, and CodeInvalid for JSON that is no object.
func (r *request) fields() (fields, error) {
	body, err := r.payload()
	if err != nil {
		return nil, err
	}
	if r.part == nil && isForm(r.Request().Header, body) {
		return parseForm(string(body))
	}
	return gateway.ParseFields(body)
}

// payload returns the body as it came. It is a CodeTooLarge beyond maxRESTBody.
func (r *request) payload() ([]byte, error) {
	if r.part != nil {
		return r.part.body, nil
	}
	if r.read {
		return r.body, nil
	}
	body, err := r.readBody(maxRESTBody)
	if err != nil {
		return nil, err
	}
	r.read, r.body = true, body
	return body, nil
}

// readBody reads the body, a CodeTooLarge beyond max bytes.
func (r *request) readBody(max int64) ([]byte, error) {
	req := r.Request()
	tooLarge := gateway.Errorf(gateway.CodeTooLarge, "Request body is larger than %d bytes.", max)
	if req.ContentLength > max {
		return nil, tooLarge
	}
	switch strings.ToLower(strings.TrimSpace(req.Header.Get(echo.HeaderContentEncoding))) {
	case "", "identity":
	default:
		return nil, gateway.Errorf(gateway.CodeInvalidPayload, "Send the body without a Content-Encoding.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(r.Response(), req.Body, max))
	if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
		return nil, tooLarge
	} else if err != nil {
		return nil, badBody(err)
	}
	return body, nil
}

// isForm reports whether body is a form: by its type, unless it is plainly JSON. Tools
// that post JSON often call it a form.
func isForm(h http.Header, body []byte) bool {
	if text := strings.TrimLeft(string(body[:min(len(body), 64)]), "\uFEFF \t\r\n"); text == "" || text[0] == '{' || text[0] == '[' {
		return false
	}
	kind, _, err := mime.ParseMediaType(h.Get(echo.HeaderContentType))
	return err == nil && kind == echo.MIMEApplicationForm
}

// formLists are the fields that hold all values of their name in a form; of others
// the last counts, unless the name ends in [].
var formLists = []string{"tags", "tag_names", "ids", "users_list", "user_list", "phone_numbers"}

// parseForm reads a form as JSON values: texts, and lists of texts.
func parseForm(body string) (fields, error) {
	var names []string // in order
	values := make(map[string][]string)
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err := errors.Join(err1, err2); err != nil {
			return nil, &gateway.Error{Code: gateway.CodeInvalidPayload, Message: "Form parse error - a percent sign has to be followed by two hexadecimal digits.", Err: err}
		}
		if name = strings.TrimSpace(name); values[name] == nil {
			names = append(names, name)
		}
		values[name] = append(values[name], value)
	}
	var out fields
	for _, name := range names {
		all := values[name]
		plain, isList := strings.CutSuffix(name, "[]")
		isList = isList || len(all) > 1 && slices.Contains(formLists, name)
		var value any = all[len(all)-1]
		if isList {
			value = all
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("write the form field %q as JSON: %w", name, err)
		}
		out = append(out, gateway.Field{Name: plain, Value: text})
	}
	return out, nil
}

// find returns the value of the field, nil if it is not there or null.
func (f fields) find(name string) raw {
	for i := len(f) - 1; i >= 0; i-- {
		if f[i].Name == name {
			if string(f[i].Value) == "null" {
				return nil
			}
			return f[i].Value
		}
	}
	return nil
}

// has reports whether one of the fields is there and not null.
func (f fields) has(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return f.find(name) != nil })
}

// Texts of Django REST framework.
const (
	textRequired = "This field is required."
	textBlank    = "This field may not be blank."
	textNoString = "Not a valid string."
	textNoID     = "A valid integer is required."
)

func invalid(field, message string) error {
	return &gateway.Error{Code: gateway.CodeInvalid, Field: field, Message: message}
}

// text returns the field as a text, which a number may stand for, without the space
// around it. It is a CodeInvalid if it is missing, empty, or longer than max bytes.
func (f fields) text(name string, max int) (string, error) {
	value := f.find(name)
	if value == nil {
		return "", invalid(name, textRequired)
	}
	s, ok := scalarText(value)
	switch {
	case !ok || storable(s) != s:
		return "", invalid(name, textNoString)
	case s == "":
		return "", invalid(name, textBlank)
	case len(s) > max:
		return "", invalid(name, fmt.Sprintf("Ensure this field has no more than %d bytes.", max))
	}
	return s, nil
}

// scalarText returns a JSON text or number as a text without the space around it.
func scalarText(value raw) (string, bool) {
	if len(value) > 0 && value[0] == '"' {
		var s string
		if err := json.Unmarshal(value, &s); err != nil {
			return "", false
		}
		return strings.TrimSpace(s), true
	}
	var n json.Number
	if err := json.Unmarshal(value, &n); err != nil {
		return "", false
	}
	return n.String(), true
}

// id returns the field as an internal id, written as a number or as its text. It is a
// CodeInvalid if it is missing or none; 0 stands for one beyond all ids, which nothing
// has.
func (f fields) id(name string) (int64, error) {
	value := f.find(name)
	if value == nil {
		return 0, invalid(name, textRequired)
	}
	id, ok := internalID(value)
	if !ok {
		return 0, invalid(name, textNoID)
	}
	return id, nil
}

func internalID(value raw) (int64, bool) {
	s, ok := scalarText(value)
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseInt(s, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, true
	case err != nil || id < 1:
		return 0, err == nil
	}
	return id, true
}

// list returns the elements of the field, of a single value that one. It is a
// CodeInvalid if the field is missing or has more than max of them.
func (f fields) list(name string, max int) ([]raw, error) {
	value := f.find(name)
	if value == nil {
		return nil, invalid(name, textRequired)
	}
	if value[0] != '[' {
		return []raw{value}, nil
	}
	var items []raw
	if err := json.Unmarshal(value, &items); err != nil {
		return nil, &gateway.Error{Code: gateway.CodeInvalid, Field: name, Message: "Expected a list of items.", Err: err}
	}
	if len(items) > max {
		return nil, invalid(name, fmt.Sprintf("Ensure this field has no more than %d elements.", max))
	}
	return items, nil
}
