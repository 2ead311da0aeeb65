package store

import (
	"slices"

	"civgate/gateway"
)

var taggedTable = newTable("tagged", " ON CONFLICT DO NOTHING", "workspace_id", "tag_id", "entity", "subject_id")

// saveTags writes who has which tag.
func (t *sqliteTx) saveTags(ws gateway.WorkspaceID, c *gateway.Changes) error {
	if len(c.Tagged) == 0 {
		return nil
	}
	changes := tagChangesOf(c.Tagged)
	ids := make(map[string]int64, len(changes.names))
	made := 0
	for i, name := range changes.names {
		id, err := t.tagID(ws, name)
		if err != nil {
			return err
		}
		if id == 0 {
			if id, err = t.newTag(ws, name, changes.since[i]); err != nil {
				return err
			}
			made++
		}
		ids[name] = id
	}
	if made > 0 {
		if err := t.countTags(ws, made); err != nil {
			return err
		}
	}
	for i := range changes.lost {
		x := &changes.lost[i]
		id, known := ids[x.Name]
		if !known {
			var err error
			if id, err = t.tagID(ws, x.Name); err != nil {
				return err
			}
			ids[x.Name] = id
		}
		s, err := t.w.stmt(`DELETE FROM tagged WHERE tag_id = ? AND workspace_id = ? AND entity = ? AND subject_id = ?`)
		if err != nil {
			return err
		}
		s.int(id)
		s.int(int64(ws))
		s.text(string(x.Entity))
		s.int(x.Subject)
		if err := s.run(); err != nil {
			return err
		}
	}
	return t.w.insert(taggedTable, len(changes.gained), func(s *stmt, i int) {
		x := &changes.gained[i]
		s.int(int64(ws))
		s.int(ids[x.Name])
		s.text(string(x.Entity))
		s.int(x.Subject)
	})
}

// tagID is the id of the tag with the name, 0 if there is none.
func (t *sqliteTx) tagID(ws gateway.WorkspaceID, name string) (id int64, err error) {
	s, err := t.w.stmt(`SELECT id FROM tags WHERE name = ? AND workspace_id = ?`)
	if err != nil {
		return 0, err
	}
	s.text(name)
	s.int(int64(ws))
	found, err := s.step()
	if err != nil || !found {
		return 0, err
	}
	id = s.columnInt(0)
	s.reset()
	return id, nil
}

func (t *sqliteTx) newTag(ws gateway.WorkspaceID, name string, at int64) (id int64, err error) {
	s, err := t.w.stmt(`INSERT OR ROLLBACK INTO tags (workspace_id, name, created_at) VALUES (?, ?, ?) RETURNING id`)
	if err != nil {
		return 0, err
	}
	s.int(int64(ws))
	s.text(name)
	s.int(at)
	for {
		row, err := s.step()
		if err != nil || !row {
			return id, err
		}
		id = s.columnInt(0)
	}
}

// grow changes the number of employees of stored companies.
func (t *sqliteTx) grow(ws gateway.WorkspaceID, grown map[gateway.CompanyID]int64) error {
	for _, id := range sortedKeys(grown) {
		s, err := t.w.stmt(`UPDATE companies SET employees = employees + ? WHERE id = ? AND workspace_id = ?`)
		if err != nil {
			return err
		}
		s.int(grown[id])
		s.int(int64(id))
		s.int(int64(ws))
		if err := s.run(); err != nil {
			return err
		}
	}
	return nil
}

// sortedKeys are the companies whose number of employees changes, by id.
func sortedKeys(grown map[gateway.CompanyID]int64) []gateway.CompanyID {
	ids := make([]gateway.CompanyID, 0, len(grown))
	for id, n := range grown {
		if n != 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

var (
	// newTags makes the tags that there are not yet, and counts them. The search
	// before the insertion keeps the ids from running on with every batch.
	newTags = "WITH fresh AS (INSERT INTO tags (workspace_id, name, created_at) SELECT u.workspace_id, u.name, u.created_at FROM " + given("name, created_at bigint") +
		" WHERE NOT EXISTS (SELECT 1 FROM tags AS t WHERE t.workspace_id = u.workspace_id AND t.name = u.name) ON CONFLICT DO NOTHING RETURNING 1)" +
		" UPDATE workspaces SET tags = tags + f.n FROM (SELECT count(*) AS n FROM fresh) AS f WHERE workspace_id = $1 AND f.n > 0"
	taggedByName = given("name, entity, subject_id bigint") + " JOIN tags AS t ON t.workspace_id = u.workspace_id AND t.name = u.name"
	insertTagged = "INSERT INTO tagged (workspace_id, tag_id, entity, subject_id) SELECT u.workspace_id, t.id, u.entity, u.subject_id FROM " + taggedByName + " ON CONFLICT DO NOTHING"
	// The links are worked out first (OFFSET 0), so that the whole key finds each: by
	// tag alone, as good a way before there are statistics, all who have it are read.
	deleteTagged = "DELETE FROM tagged AS g USING (SELECT u.workspace_id, t.id AS tag_id, u.entity, u.subject_id FROM " + taggedByName + " OFFSET 0) AS n" +
		" WHERE g.workspace_id = n.workspace_id AND g.tag_id = n.tag_id AND g.entity = n.entity AND g.subject_id = n.subject_id"

	growCompanies = "UPDATE companies AS t SET employees = t.employees + u.n FROM " + given("id bigint, n bigint") + " WHERE t.workspace_id = u.workspace_id AND t.id = u.id"
)

// tags writes who has which tag. A tag is found by its name by each statement: it
// may be made by the one before.
func (s *saving) tags() error {
	if len(s.c.Tagged) == 0 {
		return nil
	}
	changes := tagChangesOf(s.c.Tagged)
	write := func(text string, part []gateway.TagChange) {
		if len(part) > 0 {
			s.write(-1, "", text,
				column(part, func(x *gateway.TagChange) string { return x.Name }),
				column(part, func(x *gateway.TagChange) string { return string(x.Entity) }),
				column(part, func(x *gateway.TagChange) int64 { return x.Subject }))
		}
	}
	if len(changes.names) > 0 {
		s.write(-1, "", newTags, changes.names, changes.since)
	}
	write(deleteTagged, changes.lost)
	write(insertTagged, changes.gained)
	return nil
}

// grow changes the number of employees of stored companies.
func (s *saving) grow(grown map[gateway.CompanyID]int64) {
	if ids := sortedKeys(grown); len(ids) > 0 {
		s.write(-1, "", growCompanies, column(ids, func(id *gateway.CompanyID) int64 { return int64(*id) }),
			column(ids, func(id *gateway.CompanyID) int64 { return grown[*id] }))
	}
}
