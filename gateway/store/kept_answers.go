package store

import (
	"time"

	"civgate/gateway"
)

// forgotten is how many old answers go when one is kept: more than come.
const forgotten = 10

// KeptAnswer implements gateway.Tx.
func (p plain) KeptAnswer(ws gateway.WorkspaceID, key string) (*gateway.KeptAnswer, error) {
	if err := p.on.lock(ws); err != nil {
		return nil, err
	}
	var found *gateway.KeptAnswer
	err := p.on.rows(func(row scanner) error {
		a := gateway.KeptAnswer{Key: key}
		var request []byte
		var at int64
		if err := row.Scan(&request, &a.Status, &a.Entity, &a.SubjectID, &a.Body, &at); err != nil {
			return err
		}
		copy(a.Request[:], request)
		a.At = moment(at)
		found = &a
		return nil
	}, `SELECT request, status, entity, subject_id, body, kept_at FROM kept_answers WHERE workspace_id = $1 AND key = $2`, int64(ws), key)
	return found, err
}

// KeepAnswer implements gateway.Tx.
func (p plain) KeepAnswer(ws gateway.WorkspaceID, a gateway.KeptAnswer, forget time.Time) error {
	if err := p.on.lock(ws); err != nil {
		return err
	}
	if _, err := p.on.exec(`DELETE FROM kept_answers WHERE workspace_id = $1 AND key IN
		(SELECT key FROM kept_answers WHERE workspace_id = $1 AND kept_at < $2 ORDER BY kept_at LIMIT $3)`, int64(ws), micros(forget), forgotten); err != nil {
		return err
	}
	_, err := p.on.exec(`INSERT INTO kept_answers (workspace_id, key, request, status, entity, subject_id, body, kept_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (workspace_id, key) DO UPDATE SET request = excluded.request, status = excluded.status,
			entity = excluded.entity, subject_id = excluded.subject_id, body = excluded.body, kept_at = excluded.kept_at`,
		int64(ws), a.Key, a.Request[:], a.Status, string(a.Entity), a.SubjectID, a.Body, micros(a.At))
	return err
}

// KeepBody implements gateway.Tx.
func (p plain) KeepBody(ws gateway.WorkspaceID, key, body string) error {
	_, err := p.on.exec(`UPDATE kept_answers SET body = $3 WHERE workspace_id = $1 AND key = $2`, int64(ws), key, body)
	return err
}
