package gateway

import (
	"context"
	"strings"
	"sync"
	"time"
)

// directoryAge is how long a workspace is believed before it is asked for
// again: a revoked key or a changed setting counts after at most this long.
const directoryAge = 500 * time.Millisecond

// directoryPatience is how long the store is waited for where an older answer
// would do.
const directoryPatience = time.Second

// directorySize bounds how many keys are remembered, known and unknown ones
// apart: strangers can invent keys without end.
const directorySize = 10_000

// directory finds workspaces by widget key and by id, and remembers them for a
// moment. While the store can't be read it goes on with what it knows.
type directory struct {
	gateway *Gateway
	mu      sync.RWMutex
	byKey   map[string]*listing
	unknown map[string]time.Time
	byID    map[WorkspaceID]*listing
}

type listing struct {
	mu   sync.Mutex // held by the one who asks again
	w    *Workspace
	asOf time.Time
}

// byAPIKey returns the workspace of a widget key, or a CodeUnknownAPIKey.
func (d *directory) byAPIKey(ctx context.Context, key string) (*Workspace, error) {
	if key == "" {
		return nil, &Error{Code: CodeUnknownAPIKey, Field: "apiKey", Message: "the payload has no apiKey: paste the snippet of your workspace unchanged"}
	}
	now := d.gateway.now()
	d.mu.RLock()
	l, w, fresh := d.look(key, now)
	notFound := now.Sub(d.unknown[key]) < directoryAge
	d.mu.RUnlock()
	switch {
	case fresh:
		return w, nil
	case notFound:
		return nil, errUnknownKey
	case l != nil && !l.mu.TryLock():
		return w, nil // somebody is asking already; what we have is hardly older
	case l != nil:
		defer l.mu.Unlock()
	}
	if w != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, directoryPatience)
		defer cancel()
	}
	found, err := d.gateway.store.WorkspaceByKey(ctx, KeyWidget, key)
	switch {
	case IsNotFound(err):
		d.remember(key, nil, now)
		return nil, errUnknownKey
	case err != nil && w != nil:
		// Asked again as late as if it had answered: a store that is away must not
		// keep a request waiting each time.
		d.remember(key, w, d.gateway.now())
		return w, nil
	case err != nil:
		return nil, &Error{Code: CodeUnavailable, Message: "the server can't look up the apiKey right now; try again", RetryAfter: time.Second, Err: err}
	}
	d.remember(key, found, now)
	return found, nil
}

// remembered returns the workspace that was last known to have a widget key, without
// asking; 0 if none is.
func (d *directory) remembered(key string) WorkspaceID {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if l := d.byKey[key]; l != nil {
		return l.w.ID
	}
	return 0
}

var errUnknownKey = &Error{Code: CodeUnknownAPIKey, Field: "apiKey", Message: "no workspace has this apiKey: copy the snippet from your workspace's settings again"}

func (d *directory) look(key string, now time.Time) (l *listing, w *Workspace, fresh bool) {
	if l = d.byKey[key]; l == nil {
		return nil, nil, false
	}
	return l, l.w, now.Sub(l.asOf) < directoryAge
}

func (d *directory) remember(key string, w *Workspace, now time.Time) {
	key = strings.Clone(key) // it is a part of the payload's body
	d.mu.Lock()
	defer d.mu.Unlock()
	if w == nil {
		delete(d.byKey, key)
		if d.unknown == nil || len(d.unknown) >= directorySize {
			d.unknown = make(map[string]time.Time)
		}
		d.unknown[key] = now
		return
	}
	delete(d.unknown, key)
	if d.byKey == nil || len(d.byKey) >= directorySize {
		d.byKey = make(map[string]*listing)
	}
	// A listing is replaced, never changed: readers hold no lock.
	d.byKey[key] = &listing{w: w, asOf: now}
}

// drop forgets what is known of a workspace, whose settings have changed. It is called as
// byWorkspaceID is.
func (d *directory) drop(id WorkspaceID) {
	delete(d.byID, id)
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, l := range d.byKey {
		if l.w.ID == id {
			delete(d.byKey, key)
		}
	}
}

// byWorkspaceID returns a workspace for the applier. Unlike byAPIKey it is
// called by one goroutine at a time.
func (d *directory) byWorkspaceID(ctx context.Context, id WorkspaceID) (*Workspace, error) {
	now := d.gateway.now()
	if l := d.byID[id]; l != nil && now.Sub(l.asOf) < directoryAge {
		return l.w, nil
	}
	all, err := d.gateway.store.Workspaces(ctx)
	if err != nil {
		return nil, err
	}
	d.byID = make(map[WorkspaceID]*listing, len(all))
	for i := range all {
		d.byID[all[i].ID] = &listing{w: &all[i], asOf: now}
	}
	if l := d.byID[id]; l != nil {
		return l.w, nil
	}
	return nil, Errorf(CodeNotFound, "there is no workspace %d", id)
}
