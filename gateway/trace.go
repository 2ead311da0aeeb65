package gateway

import (
	"slices"
	"strconv"
	"strings"
)

// trace notes what one payload changes, for the inspector. Only payloads that are
// going to be shown have one.
type trace struct {
	rule      Rule
	merge     bool
	from      *contactState // whose browser it was; nil if nobody's
	isNew     bool
	key       string
	customID  string // these three: before
	email     string
	attrs     Attributes
	employers []CompanyID
	companies []tracedCompany
	changes   []Change
}

// tracedCompany is a company as it was before the payload.
type tracedCompany struct {
	co    *companyState
	isNew bool
	name  string
	attrs Attributes
}

// begin notes how the contact that a payload is about is before it: after the
// decision, and before anything of it is done.
func (t *trace) begin(d Decision, from, cs *contactState, key string) {
	t.rule, t.merge, t.from, t.key = d.Rule, d.Merge, from, key
	t.isNew = d.Contact == nil
	t.customID, t.email, t.attrs = cs.c.CustomID, cs.c.Email, cs.c.Attributes.Clone()
	for _, m := range cs.memberships {
		if !m.ended {
			t.employers = append(t.employers, m.CompanyID)
		}
	}
}

// company notes how a company is that the payload names.
func (t *trace) company(co *companyState, isNew bool) {
	if !slices.ContainsFunc(t.companies, func(x tracedCompany) bool { return x.co == co }) {
		t.companies = append(t.companies, tracedCompany{co, isNew, co.c.Name, co.c.Attributes.Clone()})
	}
}

// end works out what has changed since begin. attached tells whether the key is new
// to the contact.
func (t *trace) end(ws *workset, cs *contactState, attached bool) {
	id := contactText(cs.c.ID)
	if t.isNew {
		t.add(Change{What: ChangeContact, After: id})
	}
	if t.merge && t.from != nil {
		t.add(Change{What: ChangeMerge, Before: contactText(t.from.c.ID), After: id})
	}
	if attached && t.key != "" && !t.merge {
		c := Change{What: ChangeKey, Name: shortKey(t.key), After: id}
		if t.from != nil {
			c.Before = contactText(t.from.c.ID)
		}
		t.add(c)
	}
	t.texts(ChangeCustomID, "", t.customID, cs.c.CustomID)
	t.texts(ChangeEmail, "", t.email, cs.c.Email)
	t.attributes(ChangeAttribute, "", t.attrs, cs.c.Attributes)
	for i := range t.companies {
		x := &t.companies[i]
		subject := companyLabel(x.co)
		if x.isNew {
			t.add(Change{What: ChangeCompany, Subject: subject, After: strconv.FormatInt(int64(x.co.c.ID), 10)})
		} else if x.name != x.co.c.Name {
			t.add(Change{What: ChangeCompany, Name: attrName, Subject: subject, Before: textJSON(x.name), After: textJSON(x.co.c.Name)})
		}
		t.attributes(ChangeCompany, subject, x.attrs, x.co.c.Attributes)
	}
	current := make([]CompanyID, 0, len(cs.memberships))
	for _, m := range cs.memberships {
		if !m.ended {
			current = append(current, m.CompanyID)
		}
	}
	label := func(id CompanyID) string {
		if co := ws.companies[id]; co != nil {
			return companyLabel(co)
		}
		return "#" + strconv.FormatInt(int64(id), 10)
	}
	for _, id := range current {
		if !slices.Contains(t.employers, id) {
			t.add(Change{What: ChangeLinked, Subject: label(id), After: strconv.FormatInt(int64(id), 10)})
		}
	}
	for _, id := range t.employers {
		if !slices.Contains(current, id) {
			t.add(Change{What: ChangeLeft, Subject: label(id), Before: strconv.FormatInt(int64(id), 10)})
		}
	}
}

func (t *trace) add(c Change) { t.changes = append(t.changes, c) }

// texts notes that a text became another.
func (t *trace) texts(what ChangeKind, name, before, after string) {
	if before != after {
		t.add(Change{What: what, Name: name, Before: textJSON(before), After: textJSON(after)})
	}
}

// attributes notes the differences of two bags, which are sorted.
func (t *trace) attributes(what ChangeKind, subject string, before, after Attributes) {
	for len(before) > 0 || len(after) > 0 {
		switch order := compareFirst(before, after); {
		case order < 0:
			t.add(Change{What: what, Name: before[0].Name, Subject: subject, Before: before[0].Value.Raw})
			before = before[1:]
		case order > 0:
			t.add(Change{What: what, Name: after[0].Name, Subject: subject, After: after[0].Value.Raw})
			after = after[1:]
		default:
			if before[0].Value.Raw != after[0].Value.Raw {
				t.add(Change{What: what, Name: after[0].Name, Subject: subject, Before: before[0].Value.Raw, After: after[0].Value.Raw})
			}
			before, after = before[1:], after[1:]
		}
	}
}

// compareFirst says which of two bags has the lower first name; an empty one has
// the highest.
func compareFirst(a, b Attributes) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return strings.Compare(a[0].Name, b[0].Name)
}

// verdict is what the trace shows of a payload that was applied.
func (t *trace) verdict() Verdict {
	switch t.rule {
	case RuleSwitchByID, RuleSwitchByEmail, RuleNewOnBrowser:
		return VerdictSwitched
	}
	if t.merge {
		return VerdictMerged
	}
	return VerdictAccepted
}

func companyLabel(co *companyState) string {
	switch {
	case co.c.Name != "":
		return co.c.Name
	case co.c.CustomID != "":
		return co.c.CustomID
	}
	return "#" + strconv.FormatInt(int64(co.c.ID), 10)
}

// shortKey is what is shown of a visitor key: enough to tell two apart, too little
// to be one.
func shortKey(key string) string { return key[:min(len(key), 4)] }

func contactText(id ContactID) string { return strconv.FormatInt(int64(id), 10) }

// textJSON is a text as JSON, "" for an empty one.
func textJSON(s string) string {
	if s == "" {
		return ""
	}
	return TextValue(s).Raw
}
