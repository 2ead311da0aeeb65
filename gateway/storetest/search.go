package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"civgate/gateway"
)

// FindContacts is that of the store. It also compares what the other ways to find
// contacts say.
func (b *bundle) FindContacts(ctx context.Context, w gateway.WorkspaceID, q gateway.Query) ([]*gateway.ContactView, error) {
	b.t.Helper()
	found, err := b.Store.FindContacts(ctx, w, q)
	want := contactIDs(found)
	searched, down, searchErr := b.SearchContacts(ctx, w, q, time.Minute)
	if gateway.CodeOf(searchErr) != gateway.CodeOf(err) || down != 0 || !slices.Equal(contactIDs(searched), want) {
		b.t.Fatalf("search for %+v: %v, down to %d, %v; want %v, %v", q, contactIDs(searched), down, searchErr, want, err)
	}
	if err != nil {
		return found, err
	}
	var some []gateway.ContactID // what those find who have no patience
	for place := q; len(some) < len(want) || len(some) == 0; place.Before = int64(down) {
		place.Limit = q.Limit - len(some)
		searched, down, err = b.SearchContacts(ctx, w, place, 0)
		if err != nil {
			return nil, err
		}
		if some = append(some, contactIDs(searched)...); down == 0 {
			break
		}
	}
	if !slices.Equal(some, want) {
		b.t.Fatalf("search for %+v, bit by bit: %v, want %v", q, some, want)
	}
	all := slices.Clone(want)
	slices.Reverse(all)
	among, err := b.ContactsAmong(ctx, w, append(all, 1<<50), q.Where)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(contactIDs(among), all) {
		b.t.Fatalf("among those who meet %+v: %v, want %v", q, contactIDs(among), all)
	}
	if q.Before == 0 && len(want) < q.Limit { // who is not among those doesn't meet them
		newest, err := b.Contacts(ctx, w, 0, 100)
		if err != nil {
			return nil, err
		}
		among, err := b.ContactsAmong(ctx, w, contactIDs(newest), q.Where)
		if err != nil {
			return nil, err
		}
		expect := slices.DeleteFunc(contactIDs(newest), func(id gateway.ContactID) bool { return !slices.Contains(want, id) })
		if !slices.Equal(contactIDs(among), expect) {
			b.t.Fatalf("among the newest, for %+v: %v, want %v", q, contactIDs(among), expect)
		}
	}
	return found, nil
}

// FindCompanies is that of the store. It also compares what a search says.
func (b *bundle) FindCompanies(ctx context.Context, w gateway.WorkspaceID, q gateway.Query) ([]*gateway.CompanyView, error) {
	b.t.Helper()
	ids := func(views []*gateway.CompanyView) (ids []gateway.CompanyID) {
		for _, v := range views {
			ids = append(ids, v.ID)
		}
		return ids
	}
	found, err := b.Store.FindCompanies(ctx, w, q)
	searched, down, searchErr := b.SearchCompanies(ctx, w, q, time.Minute)
	if gateway.CodeOf(searchErr) != gateway.CodeOf(err) || down != 0 || !slices.Equal(ids(searched), ids(found)) {
		b.t.Fatalf("search for companies %+v: %v, down to %d, %v; want %v, %v", q, ids(searched), down, searchErr, ids(found), err)
	}
	var some []gateway.CompanyID
	for place := q; err == nil; place.Before = int64(down) {
		place.Limit = q.Limit - len(some)
		searched, down, err = b.SearchCompanies(ctx, w, place, 0)
		if some = append(some, ids(searched)...); down == 0 {
			break
		}
	}
	if err == nil && !slices.Equal(some, ids(found)) {
		b.t.Fatalf("search for companies %+v, bit by bit: %v, want %v", q, some, ids(found))
	}
	return found, err
}

// Search compares the ways to find contacts and companies, by what leads to few and by
// what doesn't. Each store must be a new one.
func Search(t *testing.T, open func(t *testing.T) gateway.Store) {
	for name, test := range map[string]func(t *testing.T, b *bundle){"tags": testFindByTag, "lists": testLists, "long lists": testDeleteLongList} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &bundle{Store: open(t), t: t, ctx: t.Context()}
			b.w = b.workspace("Acme")
			test(t, b)
		})
	}
}
