package gateway_test

import (
	"testing"
	"time"

	"civgate/gateway"
)

// TestIdentify is the identity matrix, a row a case, in the order of the
// design. Where a row says "C anonymous, or known by e-mail only" it has a case
// for each.
func TestIdentify(t *testing.T) {
	t.Parallel()
	var (
		anonymous = &gateway.Contact{ID: 1}
		byEmail   = &gateway.Contact{ID: 2, Email: "e@x.test", EmailKey: "e@x.test"}
		byOther   = &gateway.Contact{ID: 3, Email: "other@x.test", EmailKey: "other@x.test"}
		withID    = &gateway.Contact{ID: 4, CustomID: "u", Email: "e@x.test", EmailKey: "e@x.test"}
		otherID   = &gateway.Contact{ID: 5, CustomID: "v", Email: "other@x.test", EmailKey: "other@x.test"}
		bareID    = &gateway.Contact{ID: 6, CustomID: "v"}
	)
	const (
		u = "u"
		e = "e@x.test"
	)
	type found = gateway.Found
	type ids = gateway.Identifiers
	type decision = gateway.Decision
	for _, tt := range []struct {
		name  string
		ids   ids
		found found
		apart bool // unified identification is off
		want  decision
	}{
		{"U known, C anonymous: merge", ids{u, ""}, found{anonymous, withID, nil}, false,
			decision{Contact: withID, Merge: true, Rule: gateway.RuleMergeByID}},
		{"U known, C anonymous, with E", ids{u, e}, found{anonymous, withID, byOther}, false,
			decision{Contact: withID, Merge: true, SetEmail: true, Rule: gateway.RuleMergeByID}},
		{"U known, C another known contact: switch", ids{u, ""}, found{otherID, withID, nil}, false,
			decision{Contact: withID, Rule: gateway.RuleSwitchByID}},
		{"U known, C known by e-mail only: switch", ids{u, ""}, found{byEmail, withID, nil}, false,
			decision{Contact: withID, Rule: gateway.RuleSwitchByID}},
		{"U known, no C: K goes to X", ids{u, ""}, found{nil, withID, nil}, false,
			decision{Contact: withID, Rule: gateway.RuleFoundByID}},
		{"U known, C is X", ids{u, ""}, found{withID, withID, nil}, false,
			decision{Contact: withID, Rule: gateway.RuleKeep}},
		{"U known, C is X, E is an attribute", ids{u, "new@x.test"}, found{withID, withID, byOther}, false,
			decision{Contact: withID, SetEmail: true, Rule: gateway.RuleKeep}},

		{"U new, C anonymous: C gets U", ids{u, ""}, found{anonymous, nil, nil}, false,
			decision{Contact: anonymous, SetCustomID: true, Rule: gateway.RuleAssignID}},
		{"U new, C anonymous, with an E that another has: C gets both", ids{u, e}, found{anonymous, nil, byEmail}, false,
			decision{Contact: anonymous, SetCustomID: true, SetEmail: true, Rule: gateway.RuleAssignID}},
		{"U new, C by e-mail only, E absent: C gets U", ids{u, ""}, found{byEmail, nil, nil}, false,
			decision{Contact: byEmail, SetCustomID: true, Rule: gateway.RuleAssignID}},
		{"U new, C by e-mail only, E equal: C gets U", ids{u, e}, found{byEmail, nil, byEmail}, false,
			decision{Contact: byEmail, SetCustomID: true, SetEmail: true, Rule: gateway.RuleAssignID}},
		{"U new, no C: new contact", ids{u, ""}, found{}, false,
			decision{SetCustomID: true, Rule: gateway.RuleNew}},
		{"U new, no C, E known elsewhere: new contact all the same", ids{u, e}, found{nil, nil, byEmail}, false,
			decision{SetCustomID: true, SetEmail: true, Rule: gateway.RuleNew}},
		{"U new, C has another user_id: new contact", ids{u, ""}, found{otherID, nil, nil}, false,
			decision{SetCustomID: true, Rule: gateway.RuleNewOnBrowser}},
		{"U new, C has another e-mail: new contact", ids{u, e}, found{byOther, nil, nil}, false,
			decision{SetCustomID: true, SetEmail: true, Rule: gateway.RuleNewOnBrowser}},

		{"E, C itself has E", ids{"", e}, found{byEmail, nil, byEmail}, false,
			decision{Contact: byEmail, Rule: gateway.RuleKeep}},
		{"E, C itself has E though another with a user_id has it too", ids{"", e}, found{byEmail, nil, withID}, false,
			decision{Contact: byEmail, Rule: gateway.RuleKeep}},
		{"E known, C anonymous: merge", ids{"", e}, found{anonymous, nil, byEmail}, false,
			decision{Contact: byEmail, Merge: true, Rule: gateway.RuleMergeByEmail}},
		{"E known, C another known contact: switch", ids{"", e}, found{otherID, nil, byEmail}, false,
			decision{Contact: byEmail, Rule: gateway.RuleSwitchByEmail}},
		{"E known, C known by another e-mail: switch", ids{"", e}, found{byOther, nil, byEmail}, false,
			decision{Contact: byEmail, Rule: gateway.RuleSwitchByEmail}},
		{"E known, no C: K goes to X", ids{"", e}, found{nil, nil, byEmail}, false,
			decision{Contact: byEmail, Rule: gateway.RuleFoundByEmail}},
		{"E new, C anonymous: C gets E", ids{"", e}, found{anonymous, nil, nil}, false,
			decision{Contact: anonymous, SetEmail: true, Rule: gateway.RuleAssignEmail}},
		{"E new, no C: new contact", ids{"", e}, found{}, false,
			decision{SetEmail: true, Rule: gateway.RuleNew}},
		{"E new, C has a user_id: its e-mail changes", ids{"", e}, found{bareID, nil, nil}, false,
			decision{Contact: bareID, SetEmail: true, Rule: gateway.RuleChangeEmail}},
		{"E new, C has a user_id and an e-mail: its e-mail changes", ids{"", e}, found{otherID, nil, nil}, false,
			decision{Contact: otherID, SetEmail: true, Rule: gateway.RuleChangeEmail}},
		{"E new, C known by e-mail only: new contact", ids{"", e}, found{byOther, nil, nil}, false,
			decision{SetEmail: true, Rule: gateway.RuleNewOnBrowser}},

		{"neither, C", ids{}, found{otherID, nil, nil}, false,
			decision{Contact: otherID, Rule: gateway.RuleKeep}},
		{"neither, none: new visitor", ids{}, found{}, false,
			decision{Rule: gateway.RuleNew}},

		{"apart: E known elsewhere, C anonymous: C gets E", ids{"", e}, found{anonymous, nil, byEmail}, true,
			decision{Contact: anonymous, SetEmail: true, Rule: gateway.RuleAssignEmail}},
		{"apart: E known elsewhere, no C: new contact", ids{"", e}, found{nil, nil, byEmail}, true,
			decision{SetEmail: true, Rule: gateway.RuleNew}},
		{"apart: C known by another e-mail: one contact a browser", ids{"", e}, found{byOther, nil, byEmail}, true,
			decision{Contact: byOther, SetEmail: true, Rule: gateway.RuleChangeEmail}},
		{"apart: U known all the same", ids{u, ""}, found{anonymous, withID, nil}, true,
			decision{Contact: withID, Merge: true, Rule: gateway.RuleMergeByID}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := gateway.Identify(tt.ids, tt.found, !tt.apart); got != tt.want {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// TestIdentifyNeverJoinsKnown tries every combination of contacts: whatever a
// browser sends, only an anonymous contact is ever merged away.
func TestIdentifyNeverJoinsKnown(t *testing.T) {
	t.Parallel()
	contacts := []*gateway.Contact{
		nil, {ID: 1}, {ID: 2, EmailKey: "e"}, {ID: 3, EmailKey: "f"}, {ID: 4, CustomID: "u"},
		{ID: 5, CustomID: "u", EmailKey: "e"}, {ID: 6, CustomID: "v", EmailKey: "f"},
	}
	for _, id := range []string{"", "u", "w"} {
		for _, email := range []string{"", "e", "g"} {
			for _, c := range contacts {
				for _, x := range contacts {
					for _, y := range contacts {
						if x != nil && x.CustomID != id || y != nil && y.EmailKey != email {
							continue // the store would not have found it
						}
						for _, unified := range []bool{true, false} {
							d := gateway.Identify(gateway.Identifiers{CustomID: id, EmailKey: email}, gateway.Found{Current: c, ByCustomID: x, ByEmail: y}, unified)
							if d.Merge && (c == nil || !c.Anonymous() || d.Contact == nil || d.Contact == c) {
								t.Errorf("%q %q %+v: merges %+v into %+v", id, email, d, c, d.Contact)
							}
							if d.SetCustomID && d.Contact != nil && d.Contact.CustomID != "" {
								t.Errorf("%q %q: %+v would lose its user_id", id, email, d.Contact)
							}
							if id != "" && !d.SetCustomID && (d.Contact == nil || d.Contact.CustomID != id) {
								t.Errorf("%q %q: %+v is not the user_id's contact", id, email, d)
							}
						}
					}
				}
			}
		}
	}
}

func TestBestByEmail(t *testing.T) {
	t.Parallel()
	a, b := &gateway.Contact{ID: 1}, &gateway.Contact{ID: 2}
	x, y := &gateway.Contact{ID: 3, CustomID: "x"}, &gateway.Contact{ID: 4, CustomID: "y"}
	made := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	// Made first, on a node that held higher ids.
	old, young := &gateway.Contact{ID: 200, CustomID: "o", CreatedAt: made}, &gateway.Contact{ID: 7, CustomID: "n", CreatedAt: made.Add(time.Second)}
	for _, tt := range []struct {
		name string
		all  []*gateway.Contact
		want *gateway.Contact
	}{
		{"none", nil, nil},
		{"lowest id", []*gateway.Contact{b, a}, a},
		{"a user_id wins", []*gateway.Contact{a, y, b}, y},
		{"lowest id of those with a user_id", []*gateway.Contact{y, a, x}, x},
		{"oldest, whatever its id", []*gateway.Contact{young, old}, old},
		{"oldest, whatever the order", []*gateway.Contact{old, young}, old},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := gateway.BestByEmail(tt.all); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
