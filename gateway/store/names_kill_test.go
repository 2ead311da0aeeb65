//go:build unix

package store_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
)

// namesChildEnv names the database on which this test binary saves and indexes names until
// it is killed, instead of running tests.
const namesChildEnv = "CIVGATE_NAMES_CHILD"

func init() {
	if path := os.Getenv(namesChildEnv); path != "" {
		fmt.Fprintln(os.Stderr, namesForever(path))
		os.Exit(1)
	}
}

// TestNamesKilled kills a process again and again while it saves and indexes names.
func TestNamesKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "civgate.db")
	testNamesKilled(t, path, func() []string { return rowsOf(t, path, nameRows) })
}

func TestPostgresNamesKilled(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	testNamesKilled(t, url, func() []string { return strangers(t, url, nameRows) })
}

func testNamesKilled(t *testing.T, path string, rows func() []string) {
	t.Helper()
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	w := workspace(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), namesChildEnv+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || line != "ready\n" {
			t.Errorf("the child says %q, %v", line, err)
		}
		time.Sleep(time.Duration(20+rand.IntN(150)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
	}
	s = open(t, path)
	indexAll(t, s, w)
	var want []string
	for before := gateway.ContactID(0); ; {
		all, err := s.Contacts(t.Context(), w, before, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range all {
			for _, word := range gateway.NameWords(nameOfModel(&v.Contact)) {
				want = append(want, fmt.Sprint(v.ID, " ", word, " ", v.ID/65536))
			}
			before = v.ID
		}
		if len(all) < 1000 {
			break
		}
	}
	got := rows()
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" || len(want) == 0 {
		t.Errorf("%d words (-want +got):\n%s", len(want), d)
	}
}

// namesForever is the child of testNamesKilled. It returns only if it fails.
func namesForever(path string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, path)
	if err != nil {
		return err
	}
	all, err := s.Workspaces(ctx)
	if err != nil {
		return err
	}
	w := all[0].ID
	if _, err := fmt.Println("ready"); err != nil {
		return err
	}
	var ids []gateway.ContactID
	for n := 0; ; n++ {
		err := s.Update(ctx, func(tx gateway.Tx) error {
			c := &gateway.Changes{}
			first, err := tx.NextIDs(gateway.IDContact, 3)
			if err != nil {
				return err
			}
			for i := range 3 {
				c.NewContacts = append(c.NewContacts, &gateway.Contact{ID: gateway.ContactID(first + int64(i)), WorkspaceID: w,
					Attributes: gateway.Attributes{{Name: "name", Value: gateway.TextValue(fmt.Sprint("New ", n, " Ada", i))}}})
			}
			if len(ids) > 3 {
				id := ids[rand.IntN(len(ids))]
				c.Contacts = append(c.Contacts, &gateway.Contact{ID: id, WorkspaceID: w, Attributes: gateway.Attributes{{Name: "name", Value: gateway.TextValue(fmt.Sprint("Renamed ", n))}}})
			}
			if err := tx.Save(w, c); err != nil {
				return err
			}
			ids = append(ids, c.NewContacts[0].ID)
			return nil
		})
		if err == nil {
			err = s.Update(ctx, func(tx gateway.Tx) error { _, err := tx.IndexNames(w, 4); return err })
		}
		if err != nil {
			return err
		}
	}
}
