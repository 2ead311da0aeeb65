//go:build unix

package store_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"civgate/gateway"
	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
	"civgate/gateway/storetest"
)

func init() { cleanups = append(cleanups, pgtest.Stop) }

func TestPostgres(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	storetest.Run(t, func(t *testing.T) gateway.Store {
		return open(t, server.NewDatabase(t))
	})
}

func TestPostgresIdentifiers(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	testIdentifiers(t, 15, func(*rapid.T) string { return url })
}

// strangers returns the rows of a query beside the store, one text a row.
func strangers(t *testing.T, url, text string) (all []string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background()) //nolint:errcheck // nothing is lost with it
	rows, err := c.Query(t.Context(), text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if all, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return all
}

// TestPostgresKeysBeginWithWorkspace holds the rule that lets every table be
// partitioned or distributed by workspace.
func TestPostgresKeysBeginWithWorkspace(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	open(t, url)
	const first = `SELECT c.conrelid::regclass || ' ' || c.conname FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
		WHERE c.connamespace = 'public'::regnamespace AND c.contype IN ('p', 'u', 'x', 'f') AND a.attname <> 'workspace_id'
		UNION
		SELECT i.indrelid::regclass || ' ' || i.indexrelid::regclass FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
		LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		WHERE x.relnamespace = 'public'::regnamespace AND i.indisunique AND a.attname IS DISTINCT FROM 'workspace_id' ORDER BY 1`
	want := []string{
		"api_keys api_keys_pkey",                 // a secret is there to find its workspace
		"goose_db_version goose_db_version_pkey", // the migrations' own
		"inbox_positions inbox_positions_pkey",   // of a node
		"invitations invitations_token_key",      // a token is there to find its workspace
		"sessions sessions_pkey",                 // of an e-mail, which may be in several
	}
	if got := strangers(t, url, first); !slices.Equal(got, want) {
		t.Errorf("keys that do not begin with workspace_id:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	const column = `SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND NOT EXISTS
		(SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'workspace_id' AND a.attnotnull) ORDER BY 1`
	if got := strangers(t, url, column); !slices.Equal(got, []string{"goose_db_version", "inbox_positions", "sessions"}) {
		t.Errorf("tables without a workspace: %v", got)
	}
	// References lead to the same workspace.
	const across = `SELECT c.conname::text FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = c.confkey[1]
		WHERE c.contype = 'f' AND a.attname <> 'workspace_id'`
	if got := strangers(t, url, across); len(got) > 0 {
		t.Errorf("references across workspaces: %v", got)
	}
}

// orphans finds rows that belong to nothing: what foreign keys would keep out,
// where they are left out for their price.
const orphans = `
	SELECT 'key ' || key FROM visitor_keys k WHERE NOT EXISTS (SELECT 1 FROM contacts c WHERE c.workspace_id = k.workspace_id AND c.id = k.contact_id)
	UNION ALL SELECT 'member ' || contact_id || ' of ' || company_id FROM memberships m
		WHERE NOT EXISTS (SELECT 1 FROM contacts c WHERE c.workspace_id = m.workspace_id AND c.id = m.contact_id)
		OR NOT EXISTS (SELECT 1 FROM companies c WHERE c.workspace_id = m.workspace_id AND c.id = m.company_id)
	UNION ALL SELECT 'page view ' || id FROM page_views v WHERE NOT EXISTS (SELECT 1 FROM contacts c WHERE c.workspace_id = v.workspace_id AND c.id = v.contact_id)
	UNION ALL SELECT 'event ' || id FROM events e WHERE NOT EXISTS (SELECT 1 FROM contacts c WHERE c.workspace_id = e.workspace_id AND c.id = e.contact_id)
	UNION ALL SELECT 'in list ' || contact_id FROM listed l WHERE NOT EXISTS (SELECT 1 FROM contacts c WHERE c.workspace_id = l.workspace_id AND c.id = l.contact_id)
		OR NOT EXISTS (SELECT 1 FROM lists x WHERE x.workspace_id = l.workspace_id AND x.id = l.list_id)
	UNION ALL SELECT 'word ' || word || ' of ' || contact_id FROM name_words n WHERE NOT EXISTS (SELECT 1 FROM contacts c WHERE c.workspace_id = n.workspace_id AND c.id = n.contact_id)
	UNION ALL SELECT 'due name of ' || contact_id FROM names_due n WHERE NOT EXISTS (SELECT 1 FROM contacts c WHERE c.workspace_id = n.workspace_id AND c.id = n.contact_id)
	UNION ALL SELECT 'contact ' || id FROM contacts c WHERE NOT EXISTS (SELECT 1 FROM workspaces w WHERE w.workspace_id = c.workspace_id)
	UNION ALL SELECT 'tag ' || tag_id || ' of ' || entity || ' ' || subject_id FROM tagged g
		WHERE NOT EXISTS (SELECT 1 FROM tags t WHERE t.workspace_id = g.workspace_id AND t.id = g.tag_id)
		OR entity = 'contact' AND NOT EXISTS (SELECT 1 FROM contacts c WHERE c.workspace_id = g.workspace_id AND c.id = g.subject_id)
		OR entity = 'company' AND NOT EXISTS (SELECT 1 FROM companies c WHERE c.workspace_id = g.workspace_id AND c.id = g.subject_id)
	UNION ALL SELECT 'employees of ' || id FROM companies c
		WHERE employees <> (SELECT count(*) FROM memberships m WHERE m.workspace_id = c.workspace_id AND m.company_id = c.id AND m.until = 0)
	UNION ALL SELECT 'count of workspace ' || workspace_id FROM workspaces w
		WHERE contacts <> (SELECT count(*) FROM contacts c WHERE c.workspace_id = w.workspace_id AND merged_into = 0)
		OR companies <> (SELECT count(*) FROM companies c WHERE c.workspace_id = w.workspace_id)
		OR tags <> (SELECT count(*) FROM tags t WHERE t.workspace_id = w.workspace_id)`

// TestPostgresManyWriters lets eight appliers on two nodes change the same 50
// contacts of one and of two workspaces: each adds 1 to the score of some, makes
// those that are not there, and links them all to one company.
func TestPostgresManyWriters(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	for workspaces := 1; workspaces <= 2; workspaces++ {
		t.Run(fmt.Sprint("workspaces=", workspaces), func(t *testing.T) {
			const writers, rounds, people = 8, 12, 50
			url := server.NewDatabase(t)
			nodes := [2]*store.Store{open(t, url), open(t, url)}
			var ws []gateway.WorkspaceID
			for range workspaces {
				ws = append(ws, workspace(t, nodes[0]))
			}
			var wg sync.WaitGroup
			for i := range writers {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(i), 7))
					node := fmt.Sprint("n", i)
					for range rounds {
						who := rnd.Perm(people)[:people/2]
						err := nodes[i%2].Update(t.Context(), func(tx gateway.Tx) error {
							position, err := tx.InboxPosition(node)
							if err != nil {
								return err
							}
							for _, w := range ws {
								if err := addScores(tx, w, who); err != nil {
									return err
								}
							}
							return tx.SetInboxPosition(node, position+1)
						})
						if err != nil {
							t.Errorf("writer %d: %v", i, err)
							return
						}
					}
				})
			}
			wg.Wait()
			for _, w := range ws {
				total := 0
				all, err := nodes[1].Contacts(t.Context(), w, 0, 1000)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range all {
					v, _ := c.Attributes.Get("score")
					var n int
					if _, err := fmt.Sscan(v.Raw, &n); err != nil {
						t.Errorf("score %q", v.Raw)
					}
					total += n
					if len(c.Companies) != 1 {
						t.Errorf("contact %s has %d companies", c.CustomID, len(c.Companies))
					}
				}
				if want := writers * rounds * people / 2; len(all) != people || total != want {
					t.Errorf("%d contacts with a score of %d in all, want %d with %d", len(all), total, people, want)
				}
				if n, err := nodes[0].CountCompanies(t.Context(), w); err != nil || n != 1 {
					t.Errorf("%d companies, %v", n, err)
				}
			}
			for i := range writers {
				if n, err := nodes[0].InboxPosition(t.Context(), fmt.Sprint("n", i)); err != nil || n != rounds {
					t.Errorf("position of writer %d: %d, %v", i, n, err)
				}
			}
			if got := strangers(t, url, orphans); len(got) > 0 {
				t.Errorf("orphans: %v", got)
			}
		})
	}
	if log := server.Log(); strings.Contains(log, "deadlock") || strings.Contains(log, "ERROR") {
		t.Errorf("the server's log:\n%s", log)
	}
}

// addScores adds 1 to the score of some people of a company.
func addScores(tx gateway.Tx, w gateway.WorkspaceID, who []int) error {
	var refs gateway.Refs
	for _, n := range who {
		refs.CustomIDs = append(refs.CustomIDs, fmt.Sprint("u", n))
	}
	refs.CompanyCustomIDs = []string{"c"}
	l, err := tx.Load(w, refs)
	if err != nil {
		return err
	}
	var c gateway.Changes
	var company gateway.CompanyID
	if len(l.Companies) > 0 {
		company = l.Companies[0].ID
	} else {
		id, err := tx.NextIDs(gateway.IDCompany, 1)
		if err != nil {
			return err
		}
		company = gateway.CompanyID(id)
		c.NewCompanies = []*gateway.Company{{ID: company, CustomID: "c"}}
	}
	known := map[string]*gateway.Contact{}
	for _, x := range l.Contacts {
		known[x.CustomID] = x
	}
	for _, customID := range refs.CustomIDs {
		x := known[customID]
		if x == nil {
			id, err := tx.NextIDs(gateway.IDContact, 1)
			if err != nil {
				return err
			}
			x = &gateway.Contact{ID: gateway.ContactID(id), CustomID: customID}
			c.NewContacts = append(c.NewContacts, x)
			c.NewMemberships = append(c.NewMemberships, gateway.Membership{ContactID: x.ID, CompanyID: company, Source: gateway.SourceWidget})
		} else {
			c.Contacts = append(c.Contacts, x)
		}
		v, _ := x.Attributes.Get("score")
		n := 0
		if v.Raw != "" {
			if _, err := fmt.Sscan(v.Raw, &n); err != nil {
				return err
			}
		}
		x.Attributes.Set("score", gateway.Value{Type: gateway.TypeNumber, Raw: fmt.Sprint(n + 1)})
		c.PageViews = append(c.PageViews, gateway.PageView{ContactID: x.ID, At: moment(n)})
	}
	return tx.Save(w, &c)
}

// TestPostgresRunsAgain takes two workspaces in the order that callers must not
// use: one of the two transactions loses, and is run again.
func TestPostgresRunsAgain(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Shared(t).NewDatabase(t))
	ws := [2]gateway.WorkspaceID{workspace(t, s), workspace(t, s)}
	var both sync.WaitGroup
	both.Add(2)
	runs := [2]int{}
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			err := s.Update(t.Context(), func(tx gateway.Tx) error {
				if _, err := tx.ContactKeys(ws[i], 1); err != nil {
					return err
				}
				if runs[i]++; runs[i] == 1 {
					both.Done()
					both.Wait()
				}
				return tx.Save(ws[1-i], &gateway.Changes{Visits: 1, VisitsAt: moment(1)})
			})
			if err != nil {
				t.Errorf("transaction %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if runs[0]+runs[1] != 3 {
		t.Errorf("%d runs, want one of two again", runs[0]+runs[1])
	}
	for _, w := range ws {
		if n, err := s.Visits(t.Context(), w); err != nil || n != 1 {
			t.Errorf("%d visits, %v", n, err)
		}
	}
}

func TestPostgresOpensAtOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	var wg sync.WaitGroup
	var all [5]*store.Store
	for i := range all {
		wg.Go(func() {
			s, err := store.Open(t.Context(), url)
			if err != nil {
				t.Errorf("open %d: %v", i, err)
				return
			}
			all[i] = s
		})
	}
	wg.Wait()
	for i, s := range all {
		if s == nil {
			continue
		}
		workspace(t, s)
		if err := s.Close(); err != nil {
			t.Errorf("close %d: %v", i, err)
		}
		wantUnavailable(t, "ping after close", s.Ping(t.Context()))
		wantUnavailable(t, "update after close", s.Update(t.Context(), func(gateway.Tx) error { return nil }))
		if err := s.Close(); err != nil {
			t.Errorf("second close: %v", err)
		}
	}
	if got := strangers(t, url, `SELECT count(*)::text FROM goose_db_version WHERE version_id = 1`); got[0] != "1" {
		t.Errorf("the migration ran %s times", got[0])
	}
}

func TestPostgresRefuses(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	newer := server.NewDatabase(t)
	if err := open(t, newer).Close(); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, databaseOf(newer), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)`)
	server.Exec(t, "postgres", `CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`)
	server.Exec(t, "postgres", `CREATE ROLE reader LOGIN`)
	for _, c := range []struct {
		name, url string
		want      gateway.Code
	}{
		{"newer schema", newer, gateway.CodeInvalid},
		{"another encoding", server.URL("latin"), gateway.CodeInvalid},
		{"no such database", server.URL("none"), gateway.CodeInvalid},
		{"no such user", strings.Replace(server.URL("postgres"), "civgate@", "nobody:secret@", 1), gateway.CodeInvalid},
		{"a user who may not", strings.Replace(server.URL("postgres"), "civgate@", "reader@", 1), gateway.CodeInvalid},
		{"unreadable URL", "postgres://user:secret@host:port/database", gateway.CodeInvalid},
		{"unescaped password", "postgres://user:a@secret:b%zz@host/database", gateway.CodeInvalid},
		{"unknown mode", "postgres://host/database?password=secret&sslmode=perhaps", gateway.CodeInvalid},
		{"nobody there", "postgres://user:secret@127.0.0.1:1/civgate", gateway.CodeUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := store.Open(t.Context(), c.url)
			if got := gateway.CodeOf(err); got != c.want {
				t.Errorf("got %v, want code %s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is in %v", err)
			}
			if s != nil {
				_ = s.Close()
			}
		})
	}
}

// TestPostgresRestart stops, restarts and kills the server between and during
// transactions.
func TestPostgresRestart(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	s := open(t, server.NewDatabase(t))
	ctx := t.Context()
	w := workspace(t, s)
	// Several connections of each pool are in use, and break.
	busy := func() {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if err := s.Update(ctx, func(tx gateway.Tx) error { return tx.SetInboxPosition(fmt.Sprint("n", i), 1) }); err != nil {
					t.Errorf("update: %v", err)
				}
				if _, err := s.Contacts(ctx, w, 0, 9); err != nil {
					t.Errorf("read: %v", err)
				}
			})
		}
		wg.Wait()
	}
	wantContacts := func(want int64) {
		t.Helper()
		if n, err := s.CountContacts(ctx, w); err != nil || n != want {
			t.Errorf("%d contacts, %v, want %d", n, err, want)
		}
	}
	busy()
	for i, crash := range []func(testing.TB){server.Stop, server.Kill} {
		if err := addContact(ctx, s, w, fmt.Sprint("before", i)); err != nil {
			t.Fatal(err)
		}
		crash(t)
		wantUnavailable(t, "update", addContact(ctx, s, w, "none"))
		_, err := s.Contacts(ctx, w, 0, 9)
		wantUnavailable(t, "read", err)
		wantUnavailable(t, "ping", s.Ping(ctx))
		_, err = s.ForgetMessages(ctx, moment(1), 9)
		wantUnavailable(t, "forget", err)
		server.Run(t)
		busy()
		wantContacts(int64(i + 1))
	}
	// In the middle of a transaction: nothing of it stays, and ids of it are not
	// given out twice.
	var lost int64
	err := s.Update(ctx, func(tx gateway.Tx) (err error) {
		if lost, err = tx.NextIDs(gateway.IDContact, 1); err != nil {
			return err
		}
		if err := tx.Save(w, &gateway.Changes{NewContacts: []*gateway.Contact{{ID: gateway.ContactID(lost), CustomID: "lost"}}}); err != nil {
			return err
		}
		server.Kill(t)
		server.Run(t)
		return tx.SetInboxPosition("n1", 99)
	})
	wantUnavailable(t, "update across a restart", err)
	if err := addContact(ctx, s, w, "lost"); err != nil {
		t.Fatal(err)
	}
	wantContacts(3)
	if n, err := s.InboxPosition(ctx, "n1"); err != nil || n == 99 {
		t.Errorf("position %d, %v", n, err)
	}
	// At the commit, of which the caller cannot know what became of it.
	err = s.Update(ctx, func(tx gateway.Tx) error {
		if err := tx.SetInboxPosition("n2", 7); err != nil {
			return err
		}
		server.Restart(t)
		return nil
	})
	wantUnavailable(t, "commit across a restart", err)
	if n, err := s.InboxPosition(ctx, "n2"); err != nil || n == 7 {
		t.Errorf("position %d, %v", n, err)
	}
	busy()
}

// TestPostgresSilence keeps the server from answering: calls end with their
// contexts, and later ones work.
func TestPostgresSilence(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	s := open(t, server.NewDatabase(t))
	w := workspace(t, s)
	resume := server.Pause(t)
	defer resume()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ping: %v", err)
	}
	if err := addContact(ctx, s, w, "u1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("update: %v", err)
	}
	resume()
	if err := addContact(t.Context(), s, w, "u1"); err != nil {
		t.Error(err)
	}
}

// TestPostgresBounds makes others wait for a workspace, and a transaction that
// does nothing.
func TestPostgresBounds(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	url := server.NewDatabase(t)
	s := open(t, url)
	w := workspace(t, s)
	hasty := open(t, url+"&lock_timeout=100")
	err := s.Update(t.Context(), func(tx gateway.Tx) error {
		if _, err := tx.ContactKeys(w, 1); err != nil {
			return err
		}
		wantUnavailable(t, "a workspace in use", addContact(t.Context(), hasty, w, "u1"))
		return addContactIn(tx, w, "u1")
	})
	if err != nil {
		t.Fatal(err)
	}
	idle := open(t, url+"&idle_in_transaction_session_timeout=100&application_name=sleeper")
	err = idle.Update(t.Context(), func(tx gateway.Tx) error {
		if err := addContactIn(tx, w, "u2"); err != nil {
			return err
		}
		for len(strangers(t, url, `SELECT pid::text FROM pg_stat_activity WHERE application_name = 'sleeper' AND state = 'idle in transaction'`)) > 0 {
			time.Sleep(20 * time.Millisecond)
		}
		return tx.SetInboxPosition("n1", 1)
	})
	wantUnavailable(t, "a transaction that was ended for doing nothing", err)
	if n, err := s.CountContacts(t.Context(), w); err != nil || n != 1 {
		t.Errorf("%d contacts, %v", n, err)
	}
}

func addContactIn(tx gateway.Tx, w gateway.WorkspaceID, customID string) error {
	id, err := tx.NextIDs(gateway.IDContact, 1)
	if err != nil {
		return err
	}
	return tx.Save(w, &gateway.Changes{NewContacts: []*gateway.Contact{{ID: gateway.ContactID(id), CustomID: customID}}})
}

// TestPostgresCommitsForGood checks that no default of the server takes back what
// a commit says.
func TestPostgresCommitsForGood(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	for _, c := range []struct{ server, want string }{{"off", "on"}, {"local", "on"}, {"on", "on"}, {"remote_apply", "remote_apply"}} {
		url := server.NewDatabase(t)
		server.Exec(t, databaseOf(url), `ALTER DATABASE `+databaseOf(url)+` SET synchronous_commit = `+c.server+`;
			ALTER DATABASE `+databaseOf(url)+` SET default_transaction_read_only = on`)
		s := open(t, url)
		if got := store.WriterSetting(t, s, "synchronous_commit"); got != c.want {
			t.Errorf("server %s: got %s, want %s", c.server, got, c.want)
		}
		workspace(t, s)
		for name, want := range map[string]string{"transaction_isolation": "repeatable read", "transaction_read_only": "on", "application_name": "civgate"} {
			if got := store.ReaderSetting(t, s, name); got != want {
				t.Errorf("reads with %s %s, want %s", name, got, want)
			}
		}
	}
}

// TestPostgresManyWorkspaces uses more workspaces in one transaction than the
// server has locks for.
func TestPostgresManyWorkspaces(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "max_connections=20", "max_locks_per_transaction=64")
	s := open(t, server.NewDatabase(t))
	visit := func(n int) error {
		return s.Update(t.Context(), func(tx gateway.Tx) error {
			for w := range n {
				if _, err := tx.ContactKeys(gateway.WorkspaceID(w+1), 1); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := visit(1000); err != nil {
		t.Errorf("1,000 workspaces: %v", err)
	}
	if err := visit(1001); gateway.CodeOf(err) != gateway.CodeInternal {
		t.Errorf("1,001 workspaces: got %v, want an error that makes the applier split the batch", err)
	}
	if err := visit(1); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestPostgresConfirm(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Shared(t).NewDatabase(t))
	w, other := workspace(t, s), workspace(t, s)
	contact := func(id gateway.ContactID, customID string, fingerprint uint64) *gateway.Contact {
		return &gateway.Contact{ID: id, CustomID: customID, Fingerprint: fingerprint}
	}
	merged, twice := contact(3, "old", 30), contact(4, "older", 40)
	merged.MergedInto, twice.MergedInto = 1, 3
	err := s.Update(t.Context(), func(tx gateway.Tx) error {
		err := tx.Save(w, &gateway.Changes{NewContacts: []*gateway.Contact{contact(1, "u1", 10), contact(2, "u2", 1<<63+5), merged, twice},
			NewKeys: []gateway.VisitorKey{{Key: "k1", ContactID: 1}, {Key: "k2", ContactID: 2}, {Key: "u1", ContactID: 2}}})
		if err != nil {
			return err
		}
		return tx.Save(other, &gateway.Changes{NewContacts: []*gateway.Contact{contact(9, "u9", 90)}})
	})
	if err != nil {
		t.Fatal(err)
	}
	stale := gateway.Identity{ContactID: 77, Fingerprint: 77}
	cases := []struct {
		name string
		ref  gateway.Ref
		id   gateway.Identity
		want gateway.Identity
	}{
		{"key", gateway.Ref{Kind: gateway.RefKey, Value: "k1"}, gateway.Identity{ContactID: 1, Fingerprint: 10}, gateway.Identity{ContactID: 1, Fingerprint: 10}},
		{"stale", gateway.Ref{Kind: gateway.RefKey, Value: "k2"}, stale, gateway.Identity{ContactID: 2, Fingerprint: 1<<63 + 5}},
		{"same again", gateway.Ref{Kind: gateway.RefKey, Value: "k2"}, stale, gateway.Identity{ContactID: 2, Fingerprint: 1<<63 + 5}},
		{"custom id", gateway.Ref{Kind: gateway.RefCustomID, Value: "u1"}, stale, gateway.Identity{ContactID: 1, Fingerprint: 10}},
		{"key like a custom id", gateway.Ref{Kind: gateway.RefKey, Value: "u1"}, stale, gateway.Identity{ContactID: 2, Fingerprint: 1<<63 + 5}},
		{"merged", gateway.Ref{Kind: gateway.RefCustomID, Value: "old"}, stale, gateway.Identity{ContactID: 1, Fingerprint: 10}},
		{"merged twice", gateway.Ref{Kind: gateway.RefCustomID, Value: "older"}, stale, gateway.Identity{ContactID: 1, Fingerprint: 10}},
		{"nobody", gateway.Ref{Kind: gateway.RefCustomID, Value: "none"}, stale, gateway.Identity{}},
		{"of another workspace", gateway.Ref{Kind: gateway.RefCustomID, Value: "u9"}, stale, gateway.Identity{}},
		{"not asked", gateway.Ref{Kind: gateway.RefKey, Value: "k1"}, gateway.Identity{}, gateway.Identity{}},
		{"no ref", gateway.Ref{}, gateway.Identity{}, gateway.Identity{}},
		{"empty ref", gateway.Ref{}, stale, gateway.Identity{}},
	}
	var refs []gateway.Ref
	var ids []gateway.Identity
	for _, c := range cases {
		refs, ids = append(refs, c.ref), append(ids, c.id)
	}
	if err := s.Update(t.Context(), func(tx gateway.Tx) error { return tx.Confirm(w, refs, ids) }); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		if ids[i] != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, ids[i], c.want)
		}
	}
}

// TestPostgresPositionIsLocked lets two transactions of one node, never seen
// before, count to a hundred together.
func TestPostgresPositionIsLocked(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	s := [2]*store.Store{open(t, url), open(t, url)}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 25 {
				err := s[i%2].Update(t.Context(), func(tx gateway.Tx) error {
					n, err := tx.InboxPosition("n1")
					if err != nil {
						return err
					}
					return tx.SetInboxPosition("n1", n+1)
				})
				if err != nil {
					t.Errorf("update: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n, err := s[0].InboxPosition(t.Context(), "n1"); err != nil || n != 100 {
		t.Errorf("position %d, %v, want 100", n, err)
	}
}

// TestPostgresForgetsOnce lets two nodes forget at the same time.
func TestPostgresForgetsOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	s := [2]*store.Store{open(t, url), open(t, url)}
	w := workspace(t, s[0])
	const n = 2000
	err := s[0].Update(t.Context(), func(tx gateway.Tx) error {
		ids := make([]gateway.MessageID, n)
		for i := range ids {
			ids[i] = gateway.MessageID{1, byte(i >> 8), byte(i)}
		}
		_, err := tx.ClaimMessages(w, ids, moment(1))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var total [2]int
	var wg sync.WaitGroup
	for i := range s {
		wg.Go(func() {
			for range 60 {
				k, err := s[i].ForgetMessages(t.Context(), moment(2), 100)
				if err != nil || k > 100 {
					t.Errorf("%d forgotten of 100, %v", k, err)
				}
				total[i] += k
			}
		})
	}
	wg.Wait()
	if total[0]+total[1] != n {
		t.Errorf("%v forgotten, want %d together", total, n)
	}
}

// TestPostgresBadTexts looks for and saves what PostgreSQL has no text for.
func TestPostgresBadTexts(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Shared(t).NewDatabase(t))
	w := workspace(t, s)
	for _, text := range []string{"zero \x00 byte", "no UTF-8 \xff"} {
		_, err := s.ContactByCustomID(t.Context(), w, text)
		if got := gateway.CodeOf(err); got != gateway.CodeInvalid {
			t.Errorf("read of %q: %v", text, err)
		}
		if got := gateway.CodeOf(addContact(t.Context(), s, w, text)); got != gateway.CodeInvalid {
			t.Errorf("save of %q: %v", text, got)
		}
	}
	if err := addContact(t.Context(), s, w, "u1"); err != nil {
		t.Error(err)
	}
}

// TestPostgresFailedSaveFailsTheRest ignores an error of a write.
func TestPostgresFailedSaveFailsTheRest(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Shared(t).NewDatabase(t))
	w := workspace(t, s)
	for name, changes := range map[string]*gateway.Changes{
		"of the server": {NewKeys: []gateway.VisitorKey{{Key: "k", ContactID: 1}, {Key: "k", ContactID: 1}}},
		"of the store":  {MovedKeys: []gateway.VisitorKey{{Key: "none", ContactID: 1}}},
	} {
		var first error
		err := s.Update(t.Context(), func(tx gateway.Tx) error {
			if err := tx.SetInboxPosition("n1", 5); err != nil {
				return err
			}
			first = tx.Save(w, changes)
			if second := tx.SetInboxPosition("n1", 6); second == nil {
				t.Errorf("%s: a write after a failed one succeeded", name)
			}
			return nil
		})
		if first == nil || gateway.CodeOf(err) != gateway.CodeOf(first) {
			t.Errorf("%s: update returned %v after %v", name, err, first)
		}
		if n, err := s.InboxPosition(t.Context(), "n1"); err != nil || n != 0 {
			t.Errorf("%s: position %d, %v", name, n, err)
		}
	}
}

// TestPostgresIDs asks for many ids that follow each other while others take
// some.
func TestPostgresIDs(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	s := [2]*store.Store{open(t, url), open(t, url)}
	var mu sync.Mutex
	type span struct{ first, end int64 }
	var spans []span
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 3))
			for range 40 {
				n := 1 + rnd.IntN(300)
				err := s[i%2].Update(t.Context(), func(tx gateway.Tx) error {
					first, err := tx.NextIDs(gateway.IDContact, n)
					if err == nil {
						mu.Lock()
						defer mu.Unlock()
						spans = append(spans, span{first, first + int64(n)})
					}
					return err
				})
				if err != nil {
					t.Errorf("next ids: %v", err)
				}
			}
		})
	}
	wg.Wait()
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(spans); i++ {
		if spans[i].first < spans[i-1].end {
			t.Fatalf("ids %v and %v overlap", spans[i-1], spans[i])
		}
	}
}

// BenchmarkPostgres measures payloads as the benchmarks of SQLite do, against a
// server on the same machine that waits for its disk (fsync on). cpu-ns is the processor
// time of this process within transactions, server-cpu-ns the server's.
func BenchmarkPostgres(b *testing.B) {
	const batch = 2048
	server := pgtest.Start(b, "fsync=on", "shared_buffers=256MB", "max_wal_size=2GB")
	for _, c := range []struct {
		name  string
		apply func(t *traffic) func(n int)
	}{
		{"new", func(t *traffic) func(int) { return t.newContacts }},
		{"returning", func(t *traffic) func(int) { return t.returning }},
		{"changed", func(t *traffic) func(int) { return t.changed }},
	} {
		t := newTrafficAt(b, server.NewDatabase(b), benchContacts/2)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			t.cpu = 0
			used := server.CPU()
			apply, n := c.apply(t), 0
			for b.Loop() {
				if n++; n%batch == 0 {
					apply(batch)
				}
			}
			if n%batch > 0 {
				apply(n % batch)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "payloads/s")
			b.ReportMetric(float64(t.cpu)/float64(n), "cpu-ns/op")
			b.ReportMetric(float64(server.CPU()-used)/float64(n), "server-cpu-ns/op")
		})
	}
}
