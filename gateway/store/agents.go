package store

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"civgate/gateway"
)

const agentSelect = `SELECT workspace_id, email, name, password_hash, role, created_at FROM agents`

func scanAgent(row scanner) (a gateway.Agent, err error) {
	var created int64
	err = row.Scan(&a.WorkspaceID, &a.Email, &a.Name, &a.PasswordHash, &a.Role, &created)
	a.CreatedAt = moment(created)
	return a, err
}

const invitationSelect = `SELECT workspace_id, email, token, role, made_by, created_at, expires_at FROM invitations`

func scanInvitation(row scanner) (i gateway.Invitation, err error) {
	var token []byte
	var created, expires int64
	err = row.Scan(&i.WorkspaceID, &i.Email, &token, &i.Role, &i.By, &created, &expires)
	copy(i.Token[:], token)
	i.CreatedAt, i.ExpiresAt = moment(created), moment(expires)
	return i, err
}

// readAll reads all rows of a query.
func readAll[T any](ctx context.Context, r *reader, op string, scan func(scanner) (T, error), text string, args ...any) (all []T, err error) {
	err = r.view(ctx, op, func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			one, err := scan(rows)
			all = append(all, one)
			return err
		}, text, args...)
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// readOne is readAll for a query of one row at most; CodeNotFound for none.
func readOne[T any](ctx context.Context, r *reader, what string, scan func(scanner) (T, error), text string, args ...any) (found T, err error) {
	all, err := readAll(ctx, r, what, scan, text, args...)
	if err == nil && len(all) == 0 {
		err = notFound(what)
	}
	if err != nil {
		return found, err
	}
	return all[0], nil
}

// Agents implements gateway.Reader.
func (r *reader) Agents(ctx context.Context, w gateway.WorkspaceID) ([]gateway.Agent, error) {
	return readAll(ctx, r, "agents", scanAgent, agentSelect+` WHERE workspace_id = $1 ORDER BY email`, int64(w))
}

// AgentsByEmail implements gateway.Reader.
func (r *reader) AgentsByEmail(ctx context.Context, email string) ([]gateway.Agent, error) {
	return readAll(ctx, r, "agents", scanAgent, agentSelect+` WHERE email = $1 ORDER BY workspace_id`, email)
}

// Invitations implements gateway.Reader.
func (r *reader) Invitations(ctx context.Context, w gateway.WorkspaceID) ([]gateway.Invitation, error) {
	return readAll(ctx, r, "invitations", scanInvitation, invitationSelect+` WHERE workspace_id = $1 ORDER BY created_at DESC, email`, int64(w))
}

// Invitation implements gateway.Reader.
func (r *reader) Invitation(ctx context.Context, token gateway.TokenHash) (gateway.Invitation, error) {
	return readOne(ctx, r, "invitation", scanInvitation, invitationSelect+` WHERE token = $1`, token[:])
}

// Session implements gateway.Reader.
func (r *reader) Session(ctx context.Context, token gateway.TokenHash) (gateway.Session, error) {
	return readOne(ctx, r, "session", func(row scanner) (gateway.Session, error) {
		s := gateway.Session{Token: token}
		var expires int64
		err := row.Scan(&s.Data, &expires)
		s.ExpiresAt = moment(expires)
		return s, err
	}, `SELECT data, expires_at FROM sessions WHERE token = $1`, token[:])
}

// AuditLog implements gateway.Reader.
func (r *reader) AuditLog(ctx context.Context, w gateway.WorkspaceID, q gateway.AuditQuery) ([]gateway.AuditEntry, error) {
	text := `SELECT id, at, made_by, action, subject, subject_id, detail FROM audit WHERE workspace_id = $1`
	args := []any{int64(w)}
	and := func(condition string, arg any) {
		args = append(args, arg)
		text += " AND " + condition + "$" + strconv.Itoa(len(args))
	}
	if q.Before > 0 {
		and("id < ", q.Before)
	}
	if q.By != "" {
		and("made_by = ", q.By)
	}
	if q.Action != "" {
		and("action = ", q.Action)
	}
	args = append(args, bounded(q.Limit))
	text += ` ORDER BY id DESC LIMIT ` + "$" + strconv.Itoa(len(args))
	return readAll(ctx, r, "audit log", func(row scanner) (e gateway.AuditEntry, err error) {
		var at int64
		err = row.Scan(&e.ID, &at, &e.By, &e.Action, &e.Subject, &e.SubjectID, &e.Detail)
		e.At = moment(at)
		return e, err
	}, text, args...)
}

// Agents implements gateway.Tx.
func (p plain) Agents(w gateway.WorkspaceID) ([]gateway.Agent, error) {
	if err := p.on.lock(w); err != nil {
		return nil, err
	}
	return p.agents(agentSelect+` WHERE workspace_id = $1 ORDER BY email`, int64(w))
}

// AgentsByEmail implements gateway.Tx.
func (p plain) AgentsByEmail(email string) ([]gateway.Agent, error) {
	return p.agents(agentSelect+` WHERE email = $1 ORDER BY workspace_id`, email)
}

func (p plain) agents(text string, arg any) (all []gateway.Agent, err error) {
	err = p.on.rows(func(row scanner) error {
		a, err := scanAgent(row)
		all = append(all, a)
		return err
	}, text, arg)
	return all, err
}

// PutAgent implements gateway.Tx.
func (p plain) PutAgent(a gateway.Agent) error {
	if err := p.on.lock(a.WorkspaceID); err != nil {
		return err
	}
	_, err := p.on.exec(`INSERT INTO agents (workspace_id, email, name, password_hash, role, created_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (workspace_id, email) DO UPDATE SET name = excluded.name, password_hash = excluded.password_hash, role = excluded.role`,
		int64(a.WorkspaceID), a.Email, a.Name, a.PasswordHash, string(a.Role), micros(a.CreatedAt))
	return err
}

// DropAgent implements gateway.Tx.
func (p plain) DropAgent(w gateway.WorkspaceID, email string) (bool, error) {
	if err := p.on.lock(w); err != nil {
		return false, err
	}
	n, err := p.on.exec(`DELETE FROM agents WHERE workspace_id = $1 AND email = $2`, int64(w), email)
	return n > 0, err
}

// SetPasswordHash implements gateway.Tx.
func (p plain) SetPasswordHash(email, hash string) error {
	_, err := p.on.exec(`UPDATE agents SET password_hash = $2 WHERE email = $1`, email, hash)
	return err
}

// PutInvitation implements gateway.Tx.
func (p plain) PutInvitation(i gateway.Invitation) error {
	if err := p.on.lock(i.WorkspaceID); err != nil {
		return err
	}
	_, err := p.on.exec(`INSERT INTO invitations (workspace_id, email, token, role, made_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (workspace_id, email) DO UPDATE SET token = excluded.token, role = excluded.role, made_by = excluded.made_by,
			created_at = excluded.created_at, expires_at = excluded.expires_at`,
		int64(i.WorkspaceID), i.Email, i.Token[:], string(i.Role), i.By, micros(i.CreatedAt), micros(i.ExpiresAt))
	return err
}

// Invitation implements gateway.Tx.
func (p plain) Invitation(token gateway.TokenHash) (i gateway.Invitation, err error) {
	found := false
	err = p.on.rows(func(row scanner) (err error) {
		found = true
		i, err = scanInvitation(row)
		return err
	}, invitationSelect+` WHERE token = $1`, token[:])
	if err == nil && !found {
		err = notFound("invitation")
	}
	return i, err
}

// DropInvitation implements gateway.Tx.
func (p plain) DropInvitation(w gateway.WorkspaceID, email string) (bool, error) {
	if err := p.on.lock(w); err != nil {
		return false, err
	}
	n, err := p.on.exec(`DELETE FROM invitations WHERE workspace_id = $1 AND email = $2`, int64(w), email)
	return n > 0, err
}

// AddAudit implements gateway.Tx.
func (p plain) AddAudit(w gateway.WorkspaceID, e gateway.AuditEntry) error {
	if err := p.on.lock(w); err != nil { // ids are counted
		return err
	}
	_, err := p.on.exec(`INSERT INTO audit (workspace_id, id, at, made_by, action, subject, subject_id, detail)
		SELECT $1, coalesce(max(id), 0) + 1, $2, $3, $4, $5, $6, $7 FROM audit WHERE workspace_id = $1`,
		int64(w), micros(e.At), e.By, e.Action, e.Subject, e.SubjectID, string(e.Detail))
	return err
}

// PutSession implements gateway.Tx.
func (p plain) PutSession(s gateway.Session) error {
	_, err := p.on.exec(`INSERT INTO sessions (token, data, expires_at) VALUES ($1, $2, $3)
		ON CONFLICT (token) DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at`, s.Token[:], s.Data, micros(s.ExpiresAt))
	return err
}

// DropSession implements gateway.Tx.
func (p plain) DropSession(token gateway.TokenHash) error {
	_, err := p.on.exec(`DELETE FROM sessions WHERE token = $1`, token[:])
	return err
}

// ForgetExpired implements gateway.Tx.
func (p plain) ForgetExpired(before time.Time, limit int) error {
	if _, err := p.on.exec(`DELETE FROM sessions WHERE token IN (SELECT token FROM sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, micros(before), limit); err != nil {
		return err
	}
	_, err := p.on.exec(`DELETE FROM invitations WHERE token IN (SELECT token FROM invitations WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, micros(before), limit)
	return err
}
