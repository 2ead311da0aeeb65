package gateway

import "cmp"

// Identifiers are what a payload says of who its contact is.
type Identifiers struct {
	CustomID string
	EmailKey string
}

// Found is what the store knows about a payload's identifiers. Any of its
// contacts may be nil, and several may be the same.
type Found struct {
	Current    *Contact // the contact that the payload's visitor key belongs to
	ByCustomID *Contact
	ByEmail    *Contact // of those with the e-mail the one that BestByEmail picks
}

// Decision is what a payload's identifiers do.
type Decision struct {
	// Contact is who the payload is about; nil: a new contact.
	Contact *Contact
	// Merge says that the current contact becomes part of Contact.
	Merge bool
	// SetCustomID and SetEmail say that Contact (or the new one) gets the
	// payload's.
	SetCustomID, SetEmail bool
	Rule                  Rule
}

// Rule names the row of the identity matrix that made a Decision; it is kept
// in the merge journal and shown to people.
type Rule string

// The rows of the matrix (identity, in the design).
const (
	RuleKeep          Rule = "keep"            // the browser's own contact
	RuleFoundByID     Rule = "found_by_id"     // no contact before, user_id known
	RuleFoundByEmail  Rule = "found_by_email"  // no contact before, e-mail known
	RuleMergeByID     Rule = "merge_by_id"     // anonymous becomes part of the user_id's contact
	RuleMergeByEmail  Rule = "merge_by_email"  // anonymous becomes part of the e-mail's contact
	RuleSwitchByID    Rule = "switch_by_id"    // browser changes hands, user_id known
	RuleSwitchByEmail Rule = "switch_by_email" // browser changes hands, e-mail known
	RuleAssignID      Rule = "assign_id"       // contact gets its user_id
	RuleAssignEmail   Rule = "assign_email"    // contact gets its e-mail
	RuleChangeEmail   Rule = "change_email"    // known contact gets another e-mail
	RuleNew           Rule = "new"             // nobody before
	RuleNewOnBrowser  Rule = "new_on_browser"  // someone else on the same browser
)

// Identify decides which contact a payload is about. It is the whole identity
// matrix and nothing else: no two known contacts are ever joined, a user_id
// wins over an e-mail, and an e-mail finds other contacts only where unified
// identification is on (contract, section 2).
func Identify(p Identifiers, f Found, unified bool) Decision {
	switch c := f.Current; {
	case p.CustomID != "":
		return identifyByID(p, f)
	case p.EmailKey == "":
		if c == nil {
			return Decision{Rule: RuleNew}
		}
		return Decision{Contact: c, Rule: RuleKeep}
	case c != nil && c.EmailKey == p.EmailKey:
		return Decision{Contact: c, Rule: RuleKeep}
	case unified && f.ByEmail != nil:
		switch {
		case c == nil:
			return Decision{Contact: f.ByEmail, Rule: RuleFoundByEmail}
		case c.Anonymous():
			return Decision{Contact: f.ByEmail, Merge: true, Rule: RuleMergeByEmail}
		}
		return Decision{Contact: f.ByEmail, Rule: RuleSwitchByEmail}
	case c == nil:
		return Decision{SetEmail: true, Rule: RuleNew}
	case c.Anonymous():
		return Decision{Contact: c, SetEmail: true, Rule: RuleAssignEmail}
	case c.CustomID != "" || !unified:
		// Without unified identification a cookie is one contact, whatever
		// e-mails it brings.
		return Decision{Contact: c, SetEmail: true, Rule: RuleChangeEmail}
	}
	return Decision{SetEmail: true, Rule: RuleNewOnBrowser}
}

// identifyByID decides for a payload with a user_id. The e-mail, if there is
// one, is then an attribute like any other.
func identifyByID(p Identifiers, f Found) Decision {
	setEmail := p.EmailKey != ""
	c, x := f.Current, f.ByCustomID
	switch {
	case x != nil && c == x:
		return Decision{Contact: x, SetEmail: setEmail, Rule: RuleKeep}
	case x != nil && c == nil:
		return Decision{Contact: x, SetEmail: setEmail, Rule: RuleFoundByID}
	case x != nil && c.Anonymous():
		return Decision{Contact: x, Merge: true, SetEmail: setEmail, Rule: RuleMergeByID}
	case x != nil:
		return Decision{Contact: x, SetEmail: setEmail, Rule: RuleSwitchByID}
	case c == nil:
		return Decision{SetCustomID: true, SetEmail: setEmail, Rule: RuleNew}
	case c.CustomID == "" && (c.EmailKey == "" || p.EmailKey == "" || p.EmailKey == c.EmailKey):
		return Decision{Contact: c, SetCustomID: true, SetEmail: setEmail, Rule: RuleAssignID}
	}
	return Decision{SetCustomID: true, SetEmail: setEmail, Rule: RuleNewOnBrowser}
}

// BestByEmail picks the contact that an e-mail finds among those that have it:
// one with a custom id before one without, then the oldest, then the one with the
// lowest id. It returns nil for none. Ids alone don't tell which is older: each of
// several nodes gives them out from blocks of its own.
func BestByEmail(all []*Contact) *Contact {
	var best *Contact
	for _, c := range all {
		switch {
		case best == nil:
			best = c
		case (c.CustomID != "") != (best.CustomID != ""):
			if c.CustomID != "" {
				best = c
			}
		case cmp.Or(c.CreatedAt.Compare(best.CreatedAt), cmp.Compare(c.ID, best.ID)) < 0:
			best = c
		}
	}
	return best
}
