package main

import (
	"context"
	"slices"
	"time"
)

// A story is what one or two people do on one or two browsers that nobody else uses, told in order. So its outcome can
// be worked out alone, however many stories are told at once. Story s has the people 2s and 2s+1, and the keys of the
// same numbers.

// Steps of stories. first is the person or browser 2s, second the other.
const (
	first  = 0
	second = 1
	nobody = -1
)

type step struct {
	who     int // first, second or nobody
	browser int
	mail    bool // the e-mail alone, without user_id
	moved   bool // now at the other one's company
}

var stories = [...][]step{
	// A visitor who stays one.
	{{who: nobody}, {who: nobody}, {who: nobody}},
	// A visitor signs up: the earlier pages become theirs.
	{{who: nobody}, {who: nobody}, {who: first}, {who: first}},
	// Two people take turns on one browser.
	{{who: first}, {who: second}, {who: first}},
	// A known person comes on a second device and signs in later.
	{{who: first}, {who: nobody, browser: second}, {who: nobody, browser: second}, {who: first, browser: second}},
	// A person changes company.
	{{who: first}, {who: first, moved: true}, {who: first, moved: true}},
	// A visitor leaves an e-mail and signs up with it later.
	{{who: nobody}, {who: first, mail: true}, {who: first}},
	// A person signs out (a new key) and someone else signs in.
	{{who: first}, {who: nobody, browser: second}, {who: second, browser: second}},
	// The e-mail of a known person on a new browser finds them.
	{{who: first}, {who: first, browser: second, mail: true}},
	// A visitor's e-mail turns out to be a known person's.
	{{who: first}, {who: nobody, browser: second}, {who: first, browser: second, mail: true}, {who: first, mail: true}},
	// Once signed in, pages without a name on the same browser are theirs.
	{{who: first}, {who: nobody}, {who: nobody}},
	// A signed-in person gets a new e-mail.
	{{who: first}, {who: second, mail: true}},
	// Two people who only ever gave an e-mail, on one browser.
	{{who: first, mail: true}, {who: second, mail: true}},
	// A browser changes hands by the e-mail of a known person.
	{{who: first}, {who: second, browser: second}, {who: first, browser: second, mail: true}},
}

// script returns the payloads of a story.
func (t *traffic) script(story int64) []visit {
	steps := stories[mix(t.seed^uint64(story)^0x57)%uint64(len(stories))]
	out := make([]visit, len(steps))
	for i, s := range steps {
		v := visit{person: -1, company: -1, key: 2*story + int64(s.browser)}
		if s.who != nobody {
			v.person = 2*story + int64(s.who)
			v.userID = !s.mail
			v.email = true
			v.company = t.companyOf(v.person)
			if s.moved {
				v.company = t.companyOf(v.person ^ 1)
			}
		}
		out[i] = v
	}
	return out
}

// repeats tells whether a delivery of a story is sent a second time after it was acknowledged, as a widget does whose
// page was closed before the answer came.
func (t *traffic) repeats(story int64, delivery int) bool {
	return mix(t.seed^uint64(story)^uint64(delivery)<<40)%4 == 0
}

// tell delivers stories until the budget is used up, each step (or array of steps) after the one before it was
// acknowledged.
func (w *worker) tell(ctx context.Context, b *budget, array int) {
	l := w.load.ledger
	for {
		if b.take(ctx, 1) == 0 {
			return
		}
		story, ok := l.take(1)
		if !ok {
			return
		}
		steps := l.traffic.script(story)
		b.left.Add(1 - int64(len(steps)))
		delivery := 0
		for chunk := range slices.Chunk(steps, array) {
			w.clear()
			now := time.Now()
			for _, v := range chunk {
				w.append(story, v, now)
			}
			w.deliver(ctx)
			if w.disordered {
				l.blur(story)
			}
			if w.disordered || slices.ContainsFunc(w.items, func(it item) bool { return it.fate != acked }) {
				break // what comes later makes no sense without this
			}
			if l.traffic.repeats(story, delivery) {
				w.repeat = true
				for i := range w.items {
					w.items[i].fate = pending
				}
				w.deliver(ctx)
			}
			delivery++
		}
	}
}

// modelContact is a contact as the identity rules (civgate's design, section 4) make it out of a story.
type modelContact struct {
	person    int64 // whose user_id it has; -1: none
	emailOf   int64 // whose e-mail it has; -1: none
	namedBy   int64 // whose attributes it has; -1: none
	key       int64 // the first browser it was seen on
	views     int64
	companies []int64
}

func (c *modelContact) anonymous() bool { return c.person < 0 && c.emailOf < 0 }

// outcome plays the payloads of one story in order and returns the contacts that come of it.
func outcome(visits []visit) []*modelContact {
	var contacts []*modelContact
	byKey := map[int64]*modelContact{}
	find := func(match func(*modelContact) bool) *modelContact {
		if i := slices.IndexFunc(contacts, match); i >= 0 {
			return contacts[i]
		}
		return nil
	}
	for _, v := range visits {
		c := byKey[v.key]
		create := func() *modelContact {
			n := &modelContact{person: -1, emailOf: -1, namedBy: -1, key: v.key}
			contacts = append(contacts, n)
			return n
		}
		// become is the way to a contact that exists already: an anonymous one is merged into it.
		become := func(x *modelContact) *modelContact {
			if c != nil && c != x && c.anonymous() {
				x.views += c.views
				contacts = slices.DeleteFunc(contacts, func(o *modelContact) bool { return o == c })
			}
			return x
		}
		to := c
		switch {
		case v.userID:
			if x := find(func(o *modelContact) bool { return o.person == v.person }); x != nil {
				to = become(x)
			} else if c == nil || c.person >= 0 || (c.emailOf >= 0 && c.emailOf != v.person) {
				to = create()
			}
			to.person, to.emailOf = v.person, v.person
		case v.email && (c == nil || c.emailOf != v.person):
			x := find(func(o *modelContact) bool { return o.emailOf == v.person && o.person >= 0 })
			if x == nil {
				x = find(func(o *modelContact) bool { return o.emailOf == v.person })
			}
			if x != nil {
				to = become(x)
			} else if c == nil || (c.person < 0 && c.emailOf >= 0) {
				to = create()
			}
			to.emailOf = v.person
		case to == nil:
			to = create()
		}
		byKey[v.key] = to
		to.views++
		if v.person >= 0 {
			to.namedBy = v.person
		}
		if v.company >= 0 && !slices.Contains(to.companies, v.company) {
			to.companies = append(to.companies, v.company)
		}
	}
	return contacts
}
