package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"civgate/gateway"
)

// Members implements gateway.Reader, CodeNotFound if there is no such company.
// It reads a page of an index, wherever the page is and however many members
// there are.
func (r *reader) Members(ctx context.Context, w gateway.WorkspaceID, id gateway.CompanyID, q gateway.MemberQuery) (members []gateway.MemberView, err error) {
	since, contact := int64(math.MaxInt64), int64(math.MaxInt64)
	if !q.BeforeSince.IsZero() || q.BeforeContact != 0 {
		since, contact = micros(q.BeforeSince), int64(q.BeforeContact)
	}
	err = r.view(ctx, "members", func(tx *sql.Tx) error {
		var one int
		err := tx.QueryRowContext(ctx, `SELECT 1 FROM companies WHERE workspace_id = $1 AND id = $2`, int64(w), int64(id)).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			return notFound("company")
		}
		if err != nil {
			return err
		}
		return query(ctx, tx, func(rows *sql.Rows) error {
			m := gateway.MemberView{Membership: gateway.Membership{WorkspaceID: w, CompanyID: id}}
			var since, until int64
			var attributes string
			if err := rows.Scan(&m.ContactID, &since, &until, &m.Source, &m.Primary, &m.By, &m.CustomID, &m.Email, &m.Name, &attributes); err != nil {
				return err
			}
			m.Since, m.Until = moment(since), moment(until)
			if m.Name != "" || attributes == "" {
				members = append(members, m)
				return nil
			}
			raw, err := bagValue(attributes, `"name"`)
			if err != nil {
				return fmt.Errorf("contact %d: %w", m.ContactID, err)
			}
			if raw != "" {
				m.Name = gateway.Text(gateway.Value{Type: typeOf(raw), Raw: raw})
			}
			members = append(members, m)
			return nil
		}, memberSelect(q.Former), int64(w), int64(id), since, contact, bounded(q.Limit))
	})
	if err != nil {
		return nil, err
	}
	return members, nil
}

// memberSelect takes workspace, company, the since and contact that the page
// ends before, and its length. The page is found first and joined then, so that
// no planner can think of going the other way round. A name that is no plain
// text is in the bag.
func memberSelect(former bool) string {
	until := "until = 0"
	if former {
		until = "until <> 0"
	}
	return `WITH m1 AS MATERIALIZED (
			SELECT workspace_id, contact_id, since, until, source, is_primary, made_by FROM memberships
			WHERE workspace_id = $1 AND company_id = $2 AND ` + until + ` AND (since, contact_id) < ($3, $4)
			ORDER BY since DESC, contact_id DESC, until DESC LIMIT $5
		)
		SELECT m1.contact_id, m1.since, m1.until, m1.source, m1.is_primary, m1.made_by,
			COALESCE(c.custom_id, ''), COALESCE(c.email, c.email_key, ''), COALESCE(c.name, ''),
			CASE WHEN c.name IS NULL AND c.attributes LIKE '%"name":%' THEN c.attributes ELSE '' END
		FROM m1 CROSS JOIN contacts c WHERE c.workspace_id = m1.workspace_id AND c.id = m1.contact_id
		ORDER BY m1.since DESC, m1.contact_id DESC, m1.until DESC`
}
