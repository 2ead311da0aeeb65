package main

import (
	"math"
	"slices"
)

// A slot is a place for one contact that may come of a run. Plain traffic has one for each person; a story has four: its
// two people and its two browsers' anonymous visitors.

const slotsPerStory = 4

func (l *ledger) slots() int64 {
	n := l.senders.Load()
	if l.chaos {
		return n * slotsPerStory
	}
	return n
}

// expectation is what the server owes at one slot.
type expectation struct {
	must      bool  // the contact has to exist
	may       bool  // it is allowed to
	unclear   bool  // anything can have come of the story, even two contacts here
	minViews  int64 // page views
	maxViews  int64
	loose     bool    // payloads of open fate leave the fields below undecided; companies may then be fewer
	person    int64   // whose user_id it has; -1: none
	emailOf   int64   // whose e-mail it has; -1: none
	namedBy   int64   // whose name and attributes it has; -1: none
	key       int64   // number of its browser key; -1: not told
	companies []int64 // all that it is an employee of
}

// nobodyExpected is the expectation at a slot of which nothing was sent.
var nobodyExpected = expectation{person: -1, emailOf: -1, namedBy: -1, key: -1}

func (l *ledger) expect(slot int64) expectation {
	if l.chaos {
		return l.expectStory(slot)
	}
	acked, open, _ := l.owed(slot)
	if acked+open == 0 {
		return nobodyExpected
	}
	return expectation{
		must: acked > 0, may: true, minViews: acked, maxViews: acked + open,
		person: slot, emailOf: slot, namedBy: slot, key: slot, companies: []int64{l.traffic.companyOf(slot)},
	}
}

// expectStory joins the outcomes of a story that are possible: one if the fate of all its payloads is known, else one
// for each number of them that may have been stored.
func (l *ledger) expectStory(slot int64) expectation {
	story := slot / slotsPerStory
	acked, open, clear := l.owed(story)
	if acked+open == 0 {
		return nobodyExpected
	}
	if !clear {
		return expectation{
			may: true, unclear: true, maxViews: math.MaxInt64, loose: true, person: -1, emailOf: -1, namedBy: -1, key: -1,
			companies: []int64{l.traffic.companyOf(2 * story), l.traffic.companyOf(2*story + 1)},
		}
	}
	script := l.traffic.script(story)
	from, to := acked, min(acked+open, int64(len(script)))
	out := expectation{must: true, minViews: math.MaxInt64, key: -1, person: -1, emailOf: -1, namedBy: -1}
	for n := from; n <= to; n++ {
		contacts := outcome(script[:n])
		i := slices.IndexFunc(contacts, func(c *modelContact) bool { return storySlot(story, c.person, c.emailOf, c.key) == slot })
		if i < 0 {
			out.must = false
			continue
		}
		c := contacts[i]
		if out.may && (out.person != c.person || out.emailOf != c.emailOf || out.namedBy != c.namedBy || !slices.Equal(out.companies, c.companies)) {
			out.loose = true
		}
		out.may = true
		out.minViews, out.maxViews = min(out.minViews, c.views), max(out.maxViews, c.views)
		out.person, out.emailOf, out.namedBy = c.person, c.emailOf, c.namedBy
		if c.anonymous() {
			out.key = c.key
		}
		for _, co := range c.companies {
			if !slices.Contains(out.companies, co) {
				out.companies = append(out.companies, co)
			}
		}
	}
	return out
}

// storySlot finds the slot of a contact of a story by the first of user_id, e-mail and key that it has.
func storySlot(story, person, emailOf, key int64) int64 {
	switch {
	case person >= 0:
		return story*slotsPerStory + person%2
	case emailOf >= 0:
		return story*slotsPerStory + emailOf%2
	default:
		return story*slotsPerStory + 2 + key%2
	}
}

// slotOf finds the slot of a contact that the server lists; false when it has nothing of this run.
func (l *ledger) slotOf(userID, email, key string) (int64, bool) {
	person, hasPerson := l.traffic.personOf(userID)
	emailOf, hasEmail := l.traffic.personOfEmail(email)
	keyNumber, hasKey := l.traffic.keyNumber(key)
	if !l.chaos {
		n := l.senders.Load()
		switch {
		case hasPerson:
			return person, true
		case hasEmail:
			return emailOf, true
		default:
			return keyNumber, hasKey && keyNumber < n
		}
	}
	switch {
	case hasPerson:
		return storySlot(person/2, person, -1, 0), true
	case hasEmail:
		return storySlot(emailOf/2, -1, emailOf, 0), true
	case hasKey && keyNumber < 2*l.senders.Load():
		return storySlot(keyNumber/2, -1, -1, keyNumber), true
	}
	return 0, false
}
