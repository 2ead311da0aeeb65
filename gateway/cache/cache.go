// Package cache remembers identities and counts requests, so that the gateway
// asks the store less and strangers can't ask too often. It holds no truth:
// anything here may be dropped at any time, which costs speed and nothing else.
// It doesn't decide who is who.
//
// Decisions
//
//   - Identities are kept in two steps, identifier -> contact -> fingerprint, so
//     that a contact's new fingerprint counts at once for all its browsers.
//   - Eviction is otter's (W-TinyLFU): a crawl of one-time visitors does not
//     push out the contacts that come back.
package cache

import (
	"context"

	"github.com/maypok86/otter/v2"

	"civgate/gateway"
)

// Memory is a gateway.Cache in the memory of one process. Use New.
type Memory struct {
	refs     *otter.Cache[gateway.Ref, gateway.ContactID]
	contacts *otter.Cache[contact, uint64]
}

type contact struct {
	w  gateway.WorkspaceID
	id gateway.ContactID
}

// New returns a cache of at most size identifiers and as many contacts; a pair
// takes some 300 bytes.
func New(size int) *Memory {
	return &Memory{
		refs:     otter.Must(&otter.Options[gateway.Ref, gateway.ContactID]{MaximumSize: size}),
		contacts: otter.Must(&otter.Options[contact, uint64]{MaximumSize: size}),
	}
}

// Identities implements gateway.Cache.
func (m *Memory) Identities(_ context.Context, refs []gateway.Ref, out []gateway.Identity) {
	for i, r := range refs {
		out[i] = gateway.Identity{}
		if r.Value == "" {
			continue
		}
		id, ok := m.refs.GetIfPresent(r)
		if !ok {
			continue
		}
		if fp, ok := m.contacts.GetIfPresent(contact{r.WorkspaceID, id}); ok {
			out[i] = gateway.Identity{ContactID: id, Fingerprint: fp}
		}
	}
}

// Remember implements gateway.Cache.
func (m *Memory) Remember(_ context.Context, refs []gateway.Ref, ids []gateway.Identity) {
	for i, r := range refs {
		m.refs.Set(r, ids[i].ContactID)
		m.contacts.Set(contact{r.WorkspaceID, ids[i].ContactID}, ids[i].Fingerprint)
	}
}

// Forget implements gateway.Cache.
func (m *Memory) Forget(_ context.Context, w gateway.WorkspaceID, ids []gateway.ContactID) {
	for _, id := range ids {
		m.contacts.Invalidate(contact{w, id})
	}
}
