package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"

	"civgate/gateway"
)

// Migrations that need more than SQL have theirs here, away from those that goose
// finds by itself.
//
//go:embed migrations/sqlite/go/*.sql migrations/postgres/go/*.sql
var goMigrations embed.FS

// tagsMigration is migration 4 of the database whose folder is named: the number of
// a company's employees, and tags with ids. What has which tag is read from the
// attributes here and not by the database, whose JSON doesn't take all that may be
// in there (jsonb has no \u0000).
func tagsMigration(folder string) *goose.Migration {
	run := func(ctx context.Context, tx *sql.Tx, direction string) error {
		text, err := goMigrations.ReadFile("migrations/" + folder + "/go/00004_" + direction + ".sql")
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, string(text))
		return err
	}
	return goose.NewGoMigration(4,
		&goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			if err := run(ctx, tx, "up"); err != nil {
				return err
			}
			return fillTags(ctx, tx)
		}},
		&goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error { return run(ctx, tx, "down") }})
}

// fillTags makes the tags that stored contacts and companies have.
func fillTags(ctx context.Context, tx *sql.Tx) error {
	var workspaces []gateway.WorkspaceID
	err := query(ctx, tx, func(rows *sql.Rows) error {
		var w gateway.WorkspaceID
		err := rows.Scan(&w)
		workspaces = append(workspaces, w)
		return err
	}, `SELECT workspace_id FROM workspaces ORDER BY workspace_id`)
	if err != nil {
		return err
	}
	for _, w := range workspaces {
		f := tagFiller{tx: tx, w: w, ids: map[string]int64{}}
		if err := f.fill(ctx, gateway.EntityContact, "contacts WHERE merged_into = 0 AND"); err != nil {
			return err
		}
		if err := f.fill(ctx, gateway.EntityCompany, "companies WHERE"); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `UPDATE workspaces SET tags = (SELECT count(*) FROM tags t WHERE t.workspace_id = workspaces.workspace_id)`)
	return err
}

// tagFiller is fillTags for one workspace.
type tagFiller struct {
	tx  *sql.Tx
	w   gateway.WorkspaceID
	ids map[string]int64 // by name
}

// taggedRow is something with attributes.
type taggedRow struct {
	id, created int64
	attributes  string
}

func (f *tagFiller) fill(ctx context.Context, entity gateway.Entity, from string) error {
	const portion = 1000
	for last := int64(0); ; {
		var some []taggedRow
		err := query(ctx, f.tx, func(rows *sql.Rows) error {
			var r taggedRow
			err := rows.Scan(&r.id, &r.created, &r.attributes)
			some = append(some, r)
			return err
		}, `SELECT id, created_at, attributes FROM `+from+` workspace_id = $1 AND id > $2 AND attributes LIKE '%"tags":%' ORDER BY id LIMIT $3`, int64(f.w), last, portion)
		if err != nil {
			return err
		}
		var links []any
		for _, r := range some {
			last = r.id
			raw, err := bagValue(r.attributes, `"tags"`)
			if err != nil {
				return fmt.Errorf("%s %d: %w", entity, r.id, err)
			}
			if raw == "" {
				continue // the name is inside of another value
			}
			for _, name := range gateway.TagNames(gateway.Value{Type: typeOf(raw), Raw: raw}) {
				id, err := f.tag(ctx, name, r.created)
				if err != nil {
					return err
				}
				if links = append(links, int64(f.w), id, string(entity), r.id); len(links) == 4*portion {
					if err := f.link(ctx, links); err != nil {
						return err
					}
					links = links[:0]
				}
			}
		}
		if err := f.link(ctx, links); err != nil || len(some) < portion {
			return err
		}
	}
}

// tag returns the id of a tag; a new one is as old as the first who has it.
func (f *tagFiller) tag(ctx context.Context, name string, created int64) (id int64, err error) {
	if id = f.ids[name]; id != 0 {
		return id, nil
	}
	err = f.tx.QueryRowContext(ctx, `INSERT INTO tags (workspace_id, name, created_at) VALUES ($1, $2, $3) RETURNING id`, int64(f.w), name, created).Scan(&id)
	f.ids[name] = id
	return id, err
}

// link writes rows of tagged.
func (f *tagFiller) link(ctx context.Context, values []any) error {
	if len(values) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(`INSERT INTO tagged (workspace_id, tag_id, entity, subject_id) VALUES `)
	for i := range values {
		switch {
		case i == 0:
			b.WriteByte('(')
		case i%4 == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(i+1))
	}
	b.WriteByte(')')
	_, err := f.tx.ExecContext(ctx, b.String(), values...)
	return err
}
