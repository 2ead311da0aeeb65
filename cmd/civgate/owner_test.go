package main

import (
	"context"
	"path/filepath"
	"testing"

	"civgate/gateway"
	"civgate/gateway/store"
)

// TestFirstOwner: the owner that the settings name is made once, and a later
// start changes nothing about them.
func TestFirstOwner(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	for _, password := range []string{"correct horse", "another password"} {
		p := launch(t, data, "CIVGATE_ADMIN_EMAIL=Ada@Acme.test", "CIVGATE_ADMIN_PASSWORD="+password)
		if code := p.end(); code != exitOK {
			t.Fatalf("exit code %d: %s", code, p.stderr)
		}
	}
	st, err := store.Open(context.Background(), filepath.Join(data, "civgate.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	agents, err := st.Agents(context.Background(), 1)
	if err != nil || len(agents) != 1 {
		t.Fatalf("agents %v, %v", agents, err)
	}
	a := agents[0]
	if a.Email != "ada@acme.test" || a.Role != gateway.RoleOwner || !gateway.CheckPassword(a.PasswordHash, "correct horse") {
		t.Errorf("owner %+v", a)
	}
}
