package store

import (
	"context"
	"encoding/json"

	"civgate/gateway"
)

// workspaceIDs is the kind under which sequences counts workspaces.
const workspaceIDs gateway.IDKind = "workspace"

func (w *sqliteWriter) createWorkspace(ctx context.Context, ws gateway.Workspace, keys []gateway.APIKey) (id gateway.WorkspaceID, err error) {
	settings, err := json.Marshal(ws.Settings)
	if err != nil {
		return 0, err
	}
	err = w.transact(ctx, func() error {
		next, err := w.nextIDs(workspaceIDs, 1)
		if err != nil {
			return err
		}
		s, err := w.stmt(`INSERT INTO workspaces (workspace_id, name, settings, created_at) VALUES (?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		s.int(next)
		s.text(ws.Name)
		s.textBytes(settings)
		s.int(micros(ws.CreatedAt))
		if err := s.run(); err != nil {
			return err
		}
		for _, k := range keys {
			if err := w.insertKey(next, k); err != nil {
				return err
			}
		}
		id = gateway.WorkspaceID(next)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

func (w *sqliteWriter) insertKey(ws int64, k gateway.APIKey) error {
	s, err := w.stmt(`INSERT INTO api_keys (workspace_id, kind, secret, name, scope, created_at) VALUES (?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	s.int(ws)
	s.text(string(k.Kind))
	s.text(k.Secret)
	s.text(k.Name)
	s.text(string(k.Scope))
	s.int(micros(k.CreatedAt))
	return s.run()
}

func (w *sqliteWriter) addAPIKey(ctx context.Context, id gateway.WorkspaceID, k gateway.APIKey) error {
	return w.transact(ctx, func() error {
		if err := w.needWorkspace(id); err != nil {
			return err
		}
		return w.insertKey(int64(id), k)
	})
}

func (w *sqliteWriter) deleteAPIKey(ctx context.Context, id gateway.WorkspaceID, kind gateway.KeyKind, secret string) error {
	return w.transact(ctx, func() error {
		s, err := w.stmt(`DELETE FROM api_keys WHERE kind = ? AND secret = ? AND workspace_id = ?`)
		if err != nil {
			return err
		}
		s.text(string(kind))
		s.text(secret)
		s.int(int64(id))
		if err := s.run(); err != nil {
			return err
		}
		if w.engine.changes() == 0 {
			return notFound("key")
		}
		return nil
	})
}

func (w *sqliteWriter) addAgent(ctx context.Context, a gateway.Agent) error {
	return w.transact(ctx, func() error {
		if err := w.needWorkspace(a.WorkspaceID); err != nil {
			return err
		}
		s, err := w.stmt(`INSERT INTO agents (workspace_id, email, name, password_hash, role, created_at) VALUES (?, ?, ?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		s.int(int64(a.WorkspaceID))
		s.text(a.Email)
		s.text(a.Name)
		s.text(a.PasswordHash)
		s.text(string(a.Role))
		s.int(micros(a.CreatedAt))
		return s.run()
	})
}

// needWorkspace fails with CodeNotFound if there is no such workspace.
func (w *sqliteWriter) needWorkspace(id gateway.WorkspaceID) error {
	s, err := w.stmt(`SELECT 1 FROM workspaces WHERE workspace_id = ?`)
	if err != nil {
		return err
	}
	s.int(int64(id))
	found, err := s.step()
	if err != nil {
		return err
	}
	s.reset()
	if !found {
		return notFound("workspace")
	}
	return nil
}

func (w *sqliteWriter) updateSettings(ctx context.Context, id gateway.WorkspaceID, settings gateway.Settings) error {
	text, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	return w.transact(ctx, func() error {
		s, err := w.stmt(`UPDATE workspaces SET settings = ? WHERE workspace_id = ?`)
		if err != nil {
			return err
		}
		s.textBytes(text)
		s.int(int64(id))
		if err := s.run(); err != nil {
			return err
		}
		if w.engine.changes() == 0 {
			return notFound("workspace")
		}
		return nil
	})
}
