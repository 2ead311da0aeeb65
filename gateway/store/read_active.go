package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"civgate/gateway"
)

// This file says when the people of companies were last active, for many companies at once.
//
// Decisions
//
//   - A company may have any number of employees, so a few of each are looked at: those who
//     came last, who are the first of an index. The latest entry of each is the last of an
//     index as well, so that a page of companies costs a few thousand searches at most.
//   - Both statements ask for one value a row: SQLite has no LATERAL.

// newestOf finds the newest employees of each of n companies: its id, and theirs with
// commas between them. It takes the parameters of wanted.
var newestOf = texts{make: func(n int) string {
	return `WITH ` + wanted(n) + ` SELECT w.id, COALESCE((SELECT string_agg(CAST(h1.contact_id AS text), ',')
			FROM (SELECT m.contact_id FROM memberships m WHERE m.workspace_id = w.workspace_id AND m.company_id = w.id AND m.until = 0
				ORDER BY m.since DESC, m.contact_id DESC LIMIT ` + strconv.Itoa(gateway.MaxLastActive) + `) AS h1), '')
		FROM wanted w`
}}

// activeOf finds when each of n contacts, or somebody who became part of one, last viewed a
// page and had an event, 0 for never. It takes the parameters of wanted.
var activeOf = texts{make: func(n int) string {
	return aliasesOf(n) + `SELECT a.root,
			COALESCE((SELECT max(v.at) FROM page_views v WHERE v.workspace_id = a.workspace_id AND v.contact_id = a.id), 0),
			COALESCE((SELECT max(e.at) FROM events e WHERE e.workspace_id = a.workspace_id AND e.contact_id = a.id), 0)
		FROM alias a`
}}

// LastActive implements gateway.Reader.
func (r *reader) LastActive(ctx context.Context, w gateway.WorkspaceID, companies []gateway.CompanyID) (map[gateway.CompanyID]gateway.LastActive, error) {
	all := make(map[gateway.CompanyID]gateway.LastActive, len(companies))
	wanted := make([]int64, len(companies))
	for i, id := range companies {
		wanted[i] = int64(id)
	}
	slices.Sort(wanted)
	err := r.view(ctx, "last active", func(tx *sql.Tx) error {
		of := map[int64][]gateway.CompanyID{} // of each contact
		var contacts []int64
		for part := range slices.Chunk(slices.Compact(wanted), chunk) {
			err := query(ctx, tx, func(rows *sql.Rows) error {
				var company int64
				var ids string
				if err := rows.Scan(&company, &ids); err != nil || ids == "" {
					return err
				}
				for text := range strings.SplitSeq(ids, ",") {
					id, err := strconv.ParseInt(text, 10, 64)
					if err != nil {
						return fmt.Errorf("employees of company %d: %w", company, err)
					}
					if of[id] == nil {
						contacts = append(contacts, id)
					}
					of[id] = append(of[id], gateway.CompanyID(company))
				}
				all[gateway.CompanyID(company)] = gateway.LastActive{Employees: strings.Count(ids, ",") + 1}
				return nil
			}, newestOf.text(len(part)), params(w, part)...)
			if err != nil {
				return err
			}
		}
		for part := range slices.Chunk(contacts, chunk) {
			err := query(ctx, tx, func(rows *sql.Rows) error {
				var id, viewed, happened int64
				err := rows.Scan(&id, &viewed, &happened)
				at := moment(max(viewed, happened))
				for _, company := range of[id] {
					one := all[company]
					one.At = later(one.At, at)
					all[company] = one
				}
				return err
			}, activeOf.text(len(part)), params(w, part)...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
