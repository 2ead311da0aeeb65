package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"civgate/gateway"
)

// auditPage is a page of the audit log.
type auditPage struct {
	Columns    []column
	Rows       []auditRow
	Chips      []chip
	By, Action string
	People     []string      // to choose from
	Actions    []actionGroup // to choose from
	More       *more
}

// actionGroup are the actions on one kind of things.
type actionGroup struct {
	Label   string
	Options []option // the action, and its words
}

// auditActions are the actions of the audit log, as people say them.
var auditActions = []actionGroup{
	{"Contacts", []option{
		{"contact.add", "Added a contact"},
		{"contact.change", "Changed a contact"},
		{"contact.delete", "Deleted a contact"},
		{"contact.tag", "Tagged a contact"},
		{"contact.list", "Added to a list"},
		{"contact.unlist", "Took out of a list"},
		{"contact.join", "Added an employee"},
		{"contact.leave", "Removed an employee"},
		{"contact.primary", "Set a primary company"},
		{"contact.merge", "Merged contacts"},
		{"contact.unmerge", "Undid a merge"},
	}},
	{"Companies", []option{
		{"company.add", "Added a company"},
		{"company.change", "Changed a company"},
		{"company.delete", "Deleted a company"},
		{"company.join", "Added an employee"},
		{"company.leave", "Removed an employee"},
		{"company.primary", "Set a primary company"},
	}},
	{"Settings", []option{
		{"workspace.settings", "Changed settings"},
		{"auto_assign.run", "Ran auto-assign"},
		{"attribute.add", "Made an attribute"},
		{"attribute.set", "Changed an attribute"},
		{"attribute.drop", "Deleted an attribute"},
		{"tag.add", "Made a tag"},
		{"tag.drop", "Deleted a tag"},
		{"key.add", "Made a key"},
		{"key.revoke", "Revoked a key"},
		{"payload.replay", "Replayed a payload"},
	}},
	{"Agents", []option{
		{"agent.invite", "Invited"},
		{"agent.uninvite", "Withdrew an invitation"},
		{"agent.join", "Joined"},
		{"agent.add", "Added an agent"},
		{"agent.role", "Changed a role"},
		{"agent.remove", "Removed an agent"},
		{"agent.password", "Changed a password"},
	}},
}

type auditRow struct {
	gateway.AuditEntry
	Detail             string // in words
	ByHref, ActionHref string
	Whom, WhomHref     string // the subject, and where it is; "" if nowhere
}

// auditWhom is the subject of an entry in words, and where that is.
func auditWhom(e *gateway.AuditEntry) (whom, href string) {
	gone := strings.HasSuffix(e.Action, ".delete")
	switch {
	case e.Subject == "contact" && !gone:
		return "Contact " + e.SubjectID, panelPath + "/contacts/" + url.PathEscape(e.SubjectID)
	case e.Subject == "company" && !gone:
		return "Company " + e.SubjectID, panelPath + "/companies/" + url.PathEscape(e.SubjectID)
	case e.Subject == "payload":
		return "Payload " + e.SubjectID, panelPath + "/inspector/" + url.PathEscape(e.SubjectID)
	case e.Subject == "workspace":
		return "Workspace", ""
	case e.Subject == "contact", e.Subject == "company", e.Subject == "job":
		return strings.ToUpper(e.Subject[:1]) + e.Subject[1:] + " " + e.SubjectID, ""
	}
	return e.SubjectID, ""
}

// settingsAudit shows who changed what, newest first, of one person or kind if asked.
func (p *panel) settingsAudit(c *call) error {
	ctx := c.Request().Context()
	before, _ := strconv.ParseInt(c.QueryParam("before"), 10, 64) // else from the start
	q := gateway.AuditQuery{Before: max(before, 0), By: c.QueryParam("by"), Action: c.QueryParam("action"), Limit: listPage + 1}
	entries, err := p.Read.AuditLog(ctx, c.Workspace.ID, q)
	if err != nil {
		return err
	}
	agents, err := p.Read.Agents(ctx, c.Workspace.ID)
	if err != nil {
		return err
	}
	v := auditPage{By: q.By, Action: q.Action, Actions: auditActions, Columns: []column{{Label: "When"}, {Label: "Who"}, {Label: "What"}, {Label: "Whom or what"}, {Label: "Details", Wide: true}}}
	for _, a := range agents {
		v.People = append(v.People, a.Email)
	}
	// What the address asks for is among what there is to choose, or the other choice
	// would lose it.
	if q.By != "" && !slices.Contains(v.People, q.By) {
		v.People = append(v.People, q.By)
	}
	if q.Action != "" && actionWords(q.Action) == q.Action {
		v.Actions = append(slices.Clip(v.Actions), actionGroup{"Others", []option{{q.Action, q.Action}}})
	}
	if q.By != "" {
		v.Chips = append(v.Chips, chip{Label: "By " + q.By, Href: auditHref("", q.Action, 0), Active: true, Remove: true})
	}
	if q.Action != "" {
		v.Chips = append(v.Chips, chip{Label: actionWords(q.Action), Href: auditHref(q.By, "", 0), Active: true, Remove: true})
	}
	if len(entries) > listPage {
		entries = entries[:listPage]
		v.More = &more{Href: auditHref(q.By, q.Action, entries[listPage-1].ID), Label: "Older entries"}
	}
	for _, e := range entries {
		whom, href := auditWhom(&e)
		v.Rows = append(v.Rows, auditRow{e, detailWords(e.Detail), auditHref(e.By, q.Action, 0), auditHref(q.By, e.Action, 0), whom, href})
	}
	return c.render(http.StatusOK, "audit", "Audit log", v)
}

func auditHref(by, action string, before int64) string {
	q := url.Values{}
	if by != "" {
		q.Set("by", by)
	}
	if action != "" {
		q.Set("action", action)
	}
	if before > 0 {
		q.Set("before", strconv.FormatInt(before, 10))
	}
	if len(q) == 0 {
		return panelPath + "/settings/audit"
	}
	return panelPath + "/settings/audit?" + q.Encode()
}

// actionWords are actions as people say them; others are shown as they are.
func actionWords(action string) string {
	for _, g := range auditActions {
		for _, o := range g.Options {
			if o.Value == action {
				return o.Label
			}
		}
	}
	return action
}

// detailWords writes the detail of an entry as "name: value" pairs.
func detailWords(detail []byte) string {
	var all map[string]any
	if json.Unmarshal(detail, &all) != nil {
		return string(detail)
	}
	var pairs []string
	for k, v := range all {
		text := fmt.Sprint(v)
		switch v := v.(type) {
		case map[string]any:
			if from, ok := v["from"]; ok && len(v) == 2 {
				text = fmt.Sprintf("%v → %v", orDash(from), orDash(v["to"]))
				break
			}
			if words := listWords(v); words != "" {
				text = words
				break
			}
			b, err := json.Marshal(v)
			if err == nil {
				text = string(b)
			}
		case []any:
			b, err := json.Marshal(v)
			if err == nil {
				text = string(b)
			}
		}
		if text != "" {
			pairs = append(pairs, strings.ReplaceAll(k, "_", " ")+": "+text)
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ", ")
}

// listWords says what was added to a list and removed from it, "" if that is not all
// there is to say.
func listWords(v map[string]any) string {
	var parts []string
	for _, verb := range []string{"added", "removed"} {
		all, ok := v[verb].([]any)
		if !ok {
			continue
		}
		one := make([]string, len(all))
		for i := range all {
			one[i] = fmt.Sprint(all[i])
		}
		parts = append(parts, verb+" "+strings.Join(one, ", "))
	}
	if len(parts) != len(v) {
		return ""
	}
	return strings.Join(parts, ", ")
}

// orDash is a value, or a dash for an empty text.
func orDash(v any) any {
	if v == "" {
		return "–"
	}
	return v
}
