package store

import (
	"time"

	"civgate/gateway"
)

const mergeFields = `SELECT id, at, made_by, rule, winner_id, loser_id, contact_before, contact_after, undone_at, undone_by FROM merges`

func scanMerge(row scanner, ws gateway.WorkspaceID) (gateway.Merge, error) {
	m := gateway.Merge{WorkspaceID: ws}
	var at, undone int64
	err := row.Scan(&m.ID, &at, &m.By, &m.Rule, &m.WinnerID, &m.LoserID, &m.Before, &m.After, &undone, &m.UndoneBy)
	m.At, m.UndoneAt = moment(at), moment(undone)
	return m, err
}

// Merge implements gateway.Tx.
func (p plain) Merge(ws gateway.WorkspaceID, id int64) (*gateway.Merge, error) {
	if err := p.on.lock(ws); err != nil {
		return nil, err
	}
	var found *gateway.Merge
	err := p.on.rows(func(row scanner) error {
		m, err := scanMerge(row, ws)
		found = &m
		return err
	}, mergeFields+` WHERE workspace_id = $1 AND id = $2`, int64(ws), id)
	if err == nil && found == nil {
		err = notFound("merge")
	}
	return found, err
}

// SetMergeUndone implements gateway.Tx.
func (p plain) SetMergeUndone(ws gateway.WorkspaceID, id int64, at time.Time, by string) error {
	_, err := p.on.exec(`UPDATE merges SET undone_at = $3, undone_by = $4 WHERE workspace_id = $1 AND id = $2`, int64(ws), id, micros(at), by)
	return err
}

// MoveHistory implements gateway.Tx.
func (p plain) MoveHistory(ws gateway.WorkspaceID, from, to gateway.ContactID, keys []string, since time.Time) error {
	if err := p.on.lock(ws); err != nil {
		return err
	}
	for _, table := range []string{"page_views", "events"} {
		for _, key := range keys {
			if _, err := p.on.exec(`UPDATE `+table+` SET contact_id = $3 WHERE contact_id = $2 AND workspace_id = $1 AND at >= $4 AND visitor_key = $5`,
				int64(ws), int64(from), int64(to), micros(since), key); err != nil {
				return err
			}
		}
	}
	return nil
}

// DropEndedMemberships implements gateway.Tx.
func (p plain) DropEndedMemberships(ws gateway.WorkspaceID, all []gateway.Membership) error {
	if err := p.on.lock(ws); err != nil {
		return err
	}
	for i := range all {
		m := &all[i]
		// The end that is stored may be some microseconds later: see freeEnd.
		if _, err := p.on.exec(`DELETE FROM memberships WHERE workspace_id = $1 AND contact_id = $2 AND company_id = $3 AND until = (
			SELECT max(until) FROM memberships WHERE workspace_id = $1 AND contact_id = $2 AND company_id = $3 AND until <> 0 AND since = $4)`,
			int64(ws), int64(m.ContactID), int64(m.CompanyID), micros(m.Since)); err != nil {
			return err
		}
	}
	return nil
}
