package web

import (
	"errors"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
	"unicode"

	"civgate/gateway"
)

// pieces are the functions of all templates. Those that make the argument of a piece
// in pieces.html have its name.
var pieces = template.FuncMap{
	"asset": func(name string) string { return panelPath + "/assets/" + name + "?v=" + panelAssets[name].version },
	"icon": func(name string) template.HTML {
		return template.HTML(`<svg class="i" aria-hidden="true"><use href="#i-` + template.HTMLEscapeString(name) + `"/></svg>`)
	},
	"when":   func(t time.Time) template.HTML { return when(t, time.Now()) },
	"number": number,
	"count":  count,
	"long":   func(n int) int64 { return int64(n) },
	"source": func(s gateway.Source) sourceBadge { return sourceBadges[s] },
	"field": func(f *form, kind, name, label string) formField {
		return formField{Kind: kind, Name: name, Label: label, Value: f.Get(name), Error: f.Error(name)}
	},
	"empty":        func(icon, title, text string) empty { return empty{Icon: icon, Title: title, Text: text} },
	"role":         func(r gateway.Role) string { return strings.ToUpper(string(r)[:1]) + string(r)[1:] },
	"action":       actionWords,
	"sentence":     sentence,
	"initials":     initials,
	"contactLabel": contactLabel,
	"brief":        brief,
	"pageName":     func(v gateway.PageView) string { return pageName(&v) },
	"len64":        func(v []gateway.PageView) int64 { return int64(len(v)) },
	"param":        func(key, value string) [2]string { return [2]string{key, value} },
}

// asError is errors.As for the one type that is looked for here.
func asError(err error, e **gateway.Error) bool { return errors.As(err, e) }

// number writes a number with a space between thousands.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// count is a number of things in words.
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// when is a time as people say it, with the exact one in its title; an en dash for
// none.
func when(t, now time.Time) template.HTML {
	if t.IsZero() {
		return none
	}
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.Format(time.RFC3339), t.Format("Monday, 2 January 2006, 15:04:05 UTC"), ago(t, now.UTC())))
}

// none stands where there is no value.
const none = template.HTML(`<span class="none" title="none">–</span>`)

func ago(t, now time.Time) string {
	d := now.Sub(t)
	unit := func(n int, name string) string {
		if d < 0 {
			return fmt.Sprintf("in %d %s", n, name)
		}
		return fmt.Sprintf("%d %s ago", n, name)
	}
	switch abs := d.Abs(); {
	case abs < 45*time.Second:
		return "just now"
	case abs < time.Hour:
		return unit(max(1, int(abs.Minutes())), "min")
	case abs < 24*time.Hour:
		return unit(int(abs.Hours()), "h")
	case abs < 14*24*time.Hour:
		if days := int(abs.Hours() / 24); days > 1 {
			return unit(days, "days")
		}
		return unit(1, "day")
	case t.Year() == now.Year():
		return t.Format("2 Jan")
	}
	return t.Format("2 Jan 2006")
}

func initials(name string) string {
	var s []rune
	for word := range strings.FieldsSeq(name) {
		for _, r := range word {
			s = append(s, r)
			break
		}
		if len(s) == 2 {
			break
		}
	}
	return strings.ToUpper(string(s))
}

// sourceBadge tells by which door a membership came.
type sourceBadge struct{ Hue, Label string }

var sourceBadges = map[gateway.Source]sourceBadge{
	gateway.SourceWidget: {"blue", "Widget"},
	gateway.SourceManual: {"violet", "By hand"},
	gateway.SourceImport: {"teal", "Import"},
	gateway.SourceAPI:    {"slate", "API"},
	gateway.SourceDomain: {"amber", "E-mail domain"},
}

// formField is a field of a form. Kind is the type of an input, or textarea, select or
// checkbox.
type formField struct {
	Kind, Name, Label, Value, Error string
	Hint                            string
	Options                         []option // of a select
	Placeholder                     string
	Autocomplete                    string
	Required, Autofocus             bool
	Checked                         bool
}

// option is one of a select.
type option struct{ Value, Label string }

// Hinted, Chosen, Needed, First, As and Filled return the field with one more
// property, so that templates can say it all in one line.
func (f formField) Hinted(text string) formField     { f.Hint = text; return f }
func (f formField) Chosen(o []option) formField      { f.Options = o; return f }
func (f formField) Needed() formField                { f.Required = true; return f }
func (f formField) First() formField                 { f.Autofocus = true; return f }
func (f formField) As(autocomplete string) formField { f.Autocomplete = autocomplete; return f }
func (f formField) Like(placeholder string) formField {
	f.Placeholder = placeholder
	return f
}

// Or is the field with a value where nothing was filled in yet.
func (f formField) Or(value string) formField {
	if f.Value == "" {
		f.Value = value
	}
	return f
}

// column is a column of a table. Href sorts by it; Sorted is "ascending" or
// "descending" where the table is.
type column struct {
	Label   string
	Numeric bool
	Href    string
	Sorted  string
	Wide    bool // it is left out on narrow screens; its cells are of the class wide
	Hidden  bool // the label is for screen readers only
}

// chip is a filter above a table: one that can be chosen, or is and can be taken
// away (Remove).
type chip struct {
	Label  string
	Href   string
	Active bool
	Remove bool
	Icon   string
}

// empty is what stands where a list has nothing: what to do next.
type empty struct {
	Icon, Title, Text string
	Href, Action      string // a link, if there is something to do
}

// menu is what a button with three dots opens.
type menu struct {
	ID    string // unique in the page
	Label string // what it is the menu of
	Items []menuItem
}

// menuItem leads somewhere (Href), opens a dialog (Dialog), or posts (Post).
type menuItem struct {
	Label, Icon, Href, Dialog, Post string
	Params                          [][2]string // of Post
	Danger                          bool
}

// confirm is a dialog that says what will be destroyed and asks for a yes. With Typed
// that text has to be typed; the handler must compare it too (field "confirm").
type confirm struct {
	ID, Title, Text string
	Post            string // where the yes goes
	Params          [][2]string
	Yes             string
	Typed           string
	Danger          bool
}

// typedWord is what has to be typed to destroy something of the name: the name, or
// "delete" if it can't be typed as it is seen.
func typedWord(name string) string {
	plain := name != "" && len(name) <= 60 && strings.Join(strings.Fields(name), " ") == name &&
		strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
	if plain {
		return name
	}
	return "delete"
}

// picker is a field that finds things while one types. Source answers "?q=" with the
// piece "options". What is picked is posted as Name.
type picker struct {
	ID, Name, Label, Placeholder string
	Source                       string
	Error                        string
	Submit                       bool // picking posts the form
}

// options is what a picker's source answers, and the search.
type options struct {
	Query  string
	Groups []optionGroup
	Create string // "Create «text»", if that can be done; posted as <name>_new
}

// optionGroup are options under a heading.
type optionGroup struct {
	Label   string // "" for none
	Options []pick
}

// pick is an option: a value, or, in the search, an address.
type pick struct{ Value, Href, Label, Note, Icon string }

// more leads to the next page of a list.
type more struct{ Href, Label string }
