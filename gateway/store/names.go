package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"civgate/gateway"
)

// This file finds contacts and companies by the words of their names, and keeps the index of
// contacts' words (name_words).
//
// Decisions
//
//   - The index is behind: complete up to an id (name_index), but for contacts whose names
//     changed since (names_due). A Save writes a row for those alone, so that what is new
//     costs it one look at that id: 2 % of a Save's CPU on SQLite, of new contacts and of
//     changed ones (BenchmarkSave). On PostgreSQL another node may commit contacts with lower
//     ids than those that are indexed; these are due as well.
//   - Words are in blocks of 65,536 ids. A step, whose contacts are neighbours, so changes
//     some pages of one block instead of pages all over a tree: written into one tree, the
//     words of 1,000 contacts would touch as many pages as there are words.
//   - A search first looks how rare each typed word is. The contacts that have the rarest are
//     all looked at, if they are few. If each word is common, the blocks are gone through,
//     the newest first: there a page is full soon. What that may cost is bounded
//     (nameBounds.rows).
//   - What is not in the index yet is searched by reading names: of the newest contacts and of
//     those that are due, up to nameBounds.recent and nameBounds.due of them.
//   - Companies have no index: they are few, and the newest nameBounds.companies are gone
//     through.

// nameBlock is how many ids a block of name_words has.
const nameBlock = 1 << 16

// nameBounds are how much one search looks at.
type nameBounds struct {
	words     int // typed words; more are left to the comparison of names
	few       int // as many contacts with a word are all looked at
	rows      int // of a common word, over all blocks
	recent    int // contacts that are not indexed yet
	due       int // contacts that are due
	companies int
}

var defaultNameBounds = nameBounds{words: 6, few: 2000, rows: 20_000, recent: 5000, due: 2000, companies: 20_000}

// bagOfName is a contact's bag where the name may be in it, as it is if it is no plain text;
// else the empty text.
const (
	bagOfName = `CASE WHEN c.name IS NULL AND c.attributes LIKE '%"name":%' THEN c.attributes ELSE '' END`
	nameOf    = `COALESCE(c.name, ''), ` + bagOfName
)

// nameIn is the name of a contact by the columns of nameOf.
func nameIn(column, bag string) (string, error) {
	if column != "" || bag == "" {
		return column, nil
	}
	raw, err := bagValue(bag, `"name"`)
	if err != nil || raw == "" {
		return "", err
	}
	return gateway.Text(gateway.Value{Type: typeOf(raw), Raw: raw}), nil
}

// nameBefore is what a Save has to know of a changed contact, as it was: the column, whether
// there may be a name in the bag instead, and whether it was merged away.
type nameBefore struct {
	column        string
	inBag, merged bool
}

// renamed reports whether the words of a contact may be others than before; column is the one
// of its name now.
func (b nameBefore) renamed(x *gateway.Contact, column string) bool {
	merged := x.MergedInto != 0
	had, has := !b.merged && (b.column != "" || b.inBag), !merged && isNamed(x)
	return (had || has) && (had != has || b.column == "" || column != b.column)
}

// nameColumn is what the column of a contact's name holds.
func nameColumn(x *gateway.Contact) string {
	v, _ := x.Attributes.Get("name")
	text, _ := plainText(v.Raw)
	return text
}

func isNamed(x *gateway.Contact) bool {
	v, ok := x.Attributes.Get("name")
	return ok && !v.IsNull()
}

const (
	namesUpto = `SELECT upto FROM name_index WHERE workspace_id = $1`
	setUpto   = `INSERT INTO name_index (workspace_id, upto) VALUES ($1, $2) ON CONFLICT (workspace_id) DO UPDATE SET upto = excluded.upto`
	dueNames  = `SELECT h1.contact_id, c.merged_into, ` + nameOf + ` FROM (SELECT workspace_id, contact_id FROM names_due WHERE workspace_id = $1 ORDER BY contact_id LIMIT $2) AS h1
		CROSS JOIN contacts c WHERE c.workspace_id = h1.workspace_id AND c.id = h1.contact_id ORDER BY h1.contact_id`
	dropDue   = `DELETE FROM names_due WHERE workspace_id = $1 AND contact_id <= $2`
	newestDue = `SELECT c.id, ` + nameOf + ` FROM (SELECT workspace_id, contact_id FROM names_due WHERE workspace_id = $1 ORDER BY contact_id DESC LIMIT $2) AS h1
		CROSS JOIN contacts c WHERE c.workspace_id = h1.workspace_id AND c.id = h1.contact_id AND c.merged_into = 0`
	namesByID  = ` SELECT c.id, ` + nameOf + ` FROM wanted w CROSS JOIN contacts c WHERE c.workspace_id = w.workspace_id AND c.id = w.id AND c.merged_into = 0`
	nameBlocks = `WITH RECURSIVE m1 (block) AS (
		SELECT (SELECT block FROM name_words WHERE workspace_id = $1 ORDER BY block DESC LIMIT 1)
		UNION ALL SELECT (SELECT n.block FROM name_words n WHERE n.workspace_id = $1 AND n.block < m1.block ORDER BY n.block DESC LIMIT 1) FROM m1 WHERE m1.block IS NOT NULL
		) SELECT block FROM m1 WHERE block IS NOT NULL LIMIT $2`
	maxBlocks = maxRows
)

// The contacts behind an id, indexed or not. listed narrows them to those that are not merged
// away, where that is what leads to them by an index; see listedOnly.
func unindexedNames(listed string) string {
	return `SELECT c.id, c.merged_into, ` + nameOf + ` FROM contacts c WHERE c.workspace_id = $1` + listed + ` AND c.id > $2 ORDER BY c.id LIMIT $3`
}

func newestNames(listed string) string {
	return `SELECT c.id, c.merged_into, ` + nameOf + ` FROM contacts c WHERE c.workspace_id = $1` + listed + ` AND c.id > $2 ORDER BY c.id DESC LIMIT $3`
}

// By sub-queries with a limit, which no plan turns around.
func workspacesToIndex(listed string) string {
	return `SELECT w.workspace_id FROM workspaces w LEFT JOIN name_index n ON n.workspace_id = w.workspace_id
		WHERE (SELECT d.contact_id FROM names_due d WHERE d.workspace_id = w.workspace_id LIMIT 1) IS NOT NULL
		OR (SELECT c.id FROM contacts c WHERE c.workspace_id = w.workspace_id` + listed + ` AND c.id > COALESCE(n.upto, 0) ORDER BY c.id LIMIT 1) IS NOT NULL
		ORDER BY w.workspace_id`
}

// What leads to a workspace's contacts in the order of their ids: SQLite has an index of those
// that are not merged away, PostgreSQL the key, which is there for all, so that leaving out
// the others would be reading any number of rows for nothing.
const (
	sqliteListed   = ` AND c.merged_into = 0`
	postgresListed = ``
)

// nameWriter writes the index of names.
type nameWriter interface {
	listedOnly() string
	// dropWords forgets the words of contacts, addWords adds words to them; both lists are
	// as long, and in the order of the ids.
	dropWords(ws gateway.WorkspaceID, ids []int64) error
	addWords(ws gateway.WorkspaceID, ids []int64, words []string) error
}

var (
	_ nameWriter = (*sqliteTx)(nil)
	_ nameWriter = (*postgresTx)(nil)
)

// IndexNames implements gateway.Tx.
func (p plain) IndexNames(w gateway.WorkspaceID, limit int) (more bool, err error) {
	if err := p.on.lock(w); err != nil {
		return false, err
	}
	on := p.on.(nameWriter)
	limit = max(bounded(limit), 1)
	upto := int64(0)
	if err := p.on.rows(func(row scanner) error { return row.Scan(&upto) }, namesUpto, int64(w)); err != nil {
		return false, err
	}
	var seen, ids []int64
	var words []string
	read := func(text string, args ...any) error {
		return p.on.rows(func(row scanner) error {
			var id, merged int64
			var column, bag string
			if err := row.Scan(&id, &merged, &column, &bag); err != nil {
				return err
			}
			seen = append(seen, id)
			if merged != 0 {
				return nil
			}
			name, err := nameIn(column, bag)
			if err != nil {
				return fmt.Errorf("contact %d: %w", id, err)
			}
			for _, word := range gateway.NameWords(name) {
				ids, words = append(ids, id), append(words, word)
			}
			return nil
		}, text, args...)
	}
	if err := read(dueNames, int64(w), limit); err != nil {
		return false, err
	}
	due := seen
	if len(due) > 0 {
		if err := on.dropWords(w, due); err != nil {
			return false, err
		}
		if _, err := p.on.exec(dropDue, int64(w), due[len(due)-1]); err != nil {
			return false, err
		}
	}
	seen = nil
	if len(due) < limit {
		if err := read(unindexedNames(on.listedOnly()), int64(w), upto, limit-len(due)); err != nil {
			return false, err
		}
	}
	if len(ids) > 0 {
		if err := on.addWords(w, ids, words); err != nil {
			return false, err
		}
	}
	if len(seen) > 0 {
		if _, err := p.on.exec(setUpto, int64(w), seen[len(seen)-1]); err != nil {
			return false, err
		}
	}
	return len(due)+len(seen) >= limit, nil
}

func blockOf(id int64) int64 { return id / nameBlock }

// UnindexedNames implements gateway.Reader.
func (r *reader) UnindexedNames(ctx context.Context) (all []gateway.WorkspaceID, err error) {
	err = r.view(ctx, "names to index", func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			var w gateway.WorkspaceID
			err := rows.Scan((*int64)(&w))
			all = append(all, w)
			return err
		}, workspacesToIndex(r.spans.listed))
	})
	return all, err
}

// names is one search for contacts by name.
type names struct {
	ctx   context.Context
	tx    *sql.Tx
	w     gateway.WorkspaceID
	most  nameBounds
	typed []string
	limit int
	ids   []int64 // found so far, none twice
	cut   bool
}

// FindNames implements gateway.Reader.
func (r *reader) FindNames(ctx context.Context, w gateway.WorkspaceID, text string, limit int) (found *gateway.NamesFound, err error) {
	found = &gateway.NamesFound{Indexed: 100}
	n := &names{ctx: ctx, w: w, most: r.spans.names, typed: gateway.NameWords(text), limit: bounded(limit)}
	if len(n.typed) == 0 || n.limit == 0 {
		return found, nil
	}
	err = r.view(ctx, "find names", func(tx *sql.Tx) error {
		n.tx = tx
		if found.Indexed, err = n.recent(r.spans.listed); err != nil {
			return err
		}
		if err := n.compared(newestDue, int64(w), n.most.due); err != nil {
			return err
		}
		if err := n.indexed(); err != nil {
			return err
		}
		n.ids = n.ids[:min(len(n.ids), n.limit)]
		views, err := contactsOf(ctx, tx, w, n.ids)
		if err != nil {
			return err
		}
		place := make(map[gateway.ContactID]int, len(n.ids))
		for i, id := range n.ids {
			place[gateway.ContactID(id)] = i
		}
		slices.SortFunc(views, func(a, b *gateway.ContactView) int { return cmp.Compare(place[a.ID], place[b.ID]) })
		found.Contacts, found.Cut = views, n.cut
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func (n *names) full() bool { return len(n.ids) >= n.limit }

func (n *names) add(id int64) {
	if !n.full() && !slices.Contains(n.ids, id) {
		n.ids = append(n.ids, id)
	}
}

// recent searches contacts that are not indexed yet, the newest first, and returns what part
// of all are, or have been searched now, in percent.
func (n *names) recent(listed string) (percent int, err error) {
	upto, newest, last := int64(0), int64(0), int64(0)
	err = n.tx.QueryRowContext(n.ctx, namesUpto, int64(n.w)).Scan(&upto)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	seen := 0
	err = query(n.ctx, n.tx, func(rows *sql.Rows) error {
		var merged int64
		var column, bag string
		if err := rows.Scan(&last, &merged, &column, &bag); err != nil {
			return err
		}
		seen++
		newest = max(newest, last)
		if n.full() || merged != 0 {
			return nil
		}
		return n.compare(last, column, bag)
	}, newestNames(listed), int64(n.w), upto, n.most.recent)
	if err != nil || seen < n.most.recent {
		return 100, err
	}
	return int(min(99, 100*(float64(upto)+float64(newest-last))/float64(max(newest, 1)))), nil
}

// compare adds a contact if its name is one that is searched for.
func (n *names) compare(id int64, column, bag string) error {
	if column == "" && bag == "" {
		return nil
	}
	name, err := nameIn(column, bag)
	if err != nil {
		return fmt.Errorf("contact %d: %w", id, err)
	}
	if gateway.NameHas(name, n.typed) {
		n.add(id)
	}
	return nil
}

// compared adds those contacts that a statement names, with their names, if they are
// searched for.
func (n *names) compared(text string, args ...any) error {
	if n.full() {
		return nil
	}
	return query(n.ctx, n.tx, func(rows *sql.Rows) error {
		var id int64
		var column, bag string
		if err := rows.Scan(&id, &column, &bag); err != nil {
			return err
		}
		return n.compare(id, column, bag)
	}, text, args...)
}

// behindWord is what no word that begins with prefix is equal to or behind.
func behindWord(prefix string) string { return prefix + "\U0010ffff" }

// entry is a row of the index.
type entry struct {
	id   int64
	word string
}

// indexed searches the index.
func (n *names) indexed() error {
	if n.full() {
		return nil
	}
	var blocks []int64
	err := query(n.ctx, n.tx, func(rows *sql.Rows) error {
		var b int64
		err := rows.Scan(&b)
		blocks = append(blocks, b)
		return err
	}, nameBlocks, int64(n.w), maxBlocks)
	if err != nil || len(blocks) == 0 {
		return err
	}
	typed := n.typed[:min(len(n.typed), n.most.words)]
	var rarest []entry
	for i, word := range typed {
		some, err := n.entries(blocks, word)
		if err != nil {
			return err
		}
		if i == 0 || len(some) < len(rarest) {
			rarest = some
		}
	}
	if len(rarest) > n.most.few {
		return n.common(blocks, typed)
	}
	// Who is called just so comes first.
	slices.SortFunc(rarest, func(a, b entry) int {
		return cmp.Or(cmp.Compare(len(a.word), len(b.word)), cmp.Compare(b.id, a.id))
	})
	ids := make([]int64, len(rarest))
	for i := range rarest {
		ids[i] = rarest[i].id
	}
	return n.named(ids)
}

// entries returns up to most.few entries whose words begin with a prefix, or one more if
// there are more.
func (n *names) entries(blocks []int64, prefix string) (found []entry, err error) {
	for part := range slices.Chunk(blocks, chunk) {
		limit := n.most.few + 1 - len(found)
		if limit <= 0 {
			break
		}
		k := len(part) + 2
		args := append(params(n.w, part), prefix, behindWord(prefix), limit)
		err := query(n.ctx, n.tx, func(rows *sql.Rows) error {
			var e entry
			err := rows.Scan(&e.id, &e.word)
			found = append(found, e)
			return err
		}, `WITH `+wanted(len(part))+fmt.Sprintf(` SELECT n.contact_id, n.word FROM wanted w CROSS JOIN name_words n
			WHERE n.workspace_id = w.workspace_id AND n.block = w.id AND n.word >= $%d AND n.word < $%d LIMIT $%d`, k, k+1, k+2), args...)
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// named adds those of the contacts, in this order, whose names are searched for.
func (n *names) named(ids []int64) error {
	for part := range slices.Chunk(ids, chunk) {
		if n.full() {
			return nil
		}
		met := map[int64]bool{}
		err := query(n.ctx, n.tx, func(rows *sql.Rows) error {
			var id int64
			var column, bag string
			if err := rows.Scan(&id, &column, &bag); err != nil {
				return err
			}
			name, err := nameIn(column, bag)
			met[id] = err == nil && gateway.NameHas(name, n.typed)
			return err
		}, `WITH `+wanted(len(part))+namesByID, params(n.w, part)...)
		if err != nil {
			return err
		}
		for _, id := range part {
			if met[id] {
				n.add(id)
			}
		}
	}
	return nil
}

// common goes through the contacts that have the longest of the typed words, block by block,
// for those that have the others too.
func (n *names) common(blocks []int64, typed []string) error {
	typed = slices.SortedStableFunc(slices.Values(typed), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var b strings.Builder
	lead := []any{int64(n.w), nil, typed[0], behindWord(typed[0]), nil}
	args := append(slices.Clone(lead), nil)
	b.WriteString(`SELECT h1.contact_id FROM (` + blockEntries + `) AS h1`)
	for i, word := range typed[1:] {
		sign := " AND "
		if i == 0 {
			sign = " WHERE "
		}
		fmt.Fprintf(&b, `%s(SELECT count(*) FROM name_words o WHERE o.workspace_id = h1.workspace_id AND o.contact_id = h1.contact_id AND o.word >= $%d AND o.word < $%d) > 0`,
			sign, len(args)+1, len(args)+2)
		args = append(args, word, behindWord(word))
	}
	b.WriteString(` LIMIT $6`)
	left := n.most.rows
	for _, block := range blocks {
		if left <= 0 {
			n.cut = true
			return nil
		}
		args[1], args[4] = block, left
		// The index may say what is no longer so: some more than there is room for.
		for most := n.limit - len(n.ids) + 10; ; most *= 4 {
			args[5] = most
			var ids []int64
			err := query(n.ctx, n.tx, func(rows *sql.Rows) error {
				var id int64
				err := rows.Scan(&id)
				ids = append(ids, id)
				return err
			}, b.String(), args...)
			if err == nil {
				err = n.named(ids)
			}
			if err != nil || n.full() {
				return err
			}
			if len(ids) < most {
				break
			}
		}
		lead[1], lead[4] = block, left
		var seen int
		if err := n.tx.QueryRowContext(n.ctx, `SELECT count(*) FROM (`+blockEntries+`) AS h1`, lead...).Scan(&seen); err != nil {
			return err
		}
		left -= seen
	}
	return nil
}

// blockEntries are up to $5 entries of block $2 whose words begin with $3 and are before $4: who
// is called just so comes first, and of one word the newest.
const blockEntries = `SELECT workspace_id, contact_id FROM name_words WHERE workspace_id = $1 AND block = $2 AND word >= $3 AND word < $4
	ORDER BY word, contact_id DESC LIMIT $5`

// FindCompanyNames implements gateway.Reader.
func (r *reader) FindCompanyNames(ctx context.Context, w gateway.WorkspaceID, text string, limit int) (found []*gateway.CompanyView, cut bool, err error) {
	typed := gateway.NameWords(text)
	if limit = bounded(limit); len(typed) == 0 || limit == 0 {
		return nil, false, nil
	}
	err = r.view(ctx, "find companies by name", func(tx *sql.Tx) error {
		var ids []int64
		before, left := int64(math.MaxInt64), r.spans.names.companies
		for portion := 500; len(ids) < limit; portion *= 2 {
			portion = min(portion, left)
			seen := 0
			err := query(ctx, tx, func(rows *sql.Rows) error {
				var name string
				err := rows.Scan(&before, &name)
				seen++
				if err == nil && len(ids) < limit && gateway.NameHas(name, typed) {
					ids = append(ids, before)
				}
				return err
			}, `SELECT id, name FROM companies WHERE workspace_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3`, int64(w), before, portion)
			if err != nil {
				return err
			}
			if left -= seen; seen < portion {
				break
			}
			if left <= 0 {
				cut = true
				break
			}
		}
		found, err = companiesOf(ctx, tx, w, ids, true)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return found, cut, nil
}

// listedOnly implements nameWriter.
func (t *sqliteTx) listedOnly() string { return sqliteListed }

// dropWords implements nameWriter.
func (t *sqliteTx) dropWords(ws gateway.WorkspaceID, ids []int64) error {
	for _, id := range ids {
		if _, err := t.exec(`DELETE FROM name_words WHERE contact_id = $1 AND workspace_id = $2`, id, int64(ws)); err != nil {
			return err
		}
	}
	return nil
}

// addWords implements nameWriter.
func (t *sqliteTx) addWords(ws gateway.WorkspaceID, ids []int64, words []string) error {
	return t.failed("index names", t.w.insert(nameWordsTable, len(ids), func(s *stmt, i int) {
		s.int(int64(ws))
		s.int(ids[i])
		s.text(words[i])
		s.int(blockOf(ids[i]))
	}))
}

// noteNames has those of the contacts indexed again that are in the index, or should be. It is
// called with contacts that are new or were changed.
func (t *sqliteTx) noteNames(ws gateway.WorkspaceID, fresh []*gateway.Contact, renamed []int64) error {
	if len(fresh)+len(renamed) == 0 {
		return nil
	}
	upto := int64(0)
	if err := t.rows(func(row scanner) error { return row.Scan(&upto) }, namesUpto, int64(ws)); err != nil || upto == 0 {
		return err
	}
	for _, x := range fresh {
		if int64(x.ID) > upto {
			break // as those that follow
		}
		if x.MergedInto == 0 && isNamed(x) {
			renamed = append(renamed, int64(x.ID))
		}
	}
	renamed = slices.DeleteFunc(renamed, func(id int64) bool { return id > upto })
	return t.w.insert(namesDueTable, len(renamed), func(s *stmt, i int) {
		s.int(int64(ws))
		s.int(renamed[i])
	})
}

// listedOnly implements nameWriter.
func (t *postgresTx) listedOnly() string { return postgresListed }

var (
	dropWords = deleteOf("name_words", "contact_id")
	addWords  = insertRows("name_words", "contact_id bigint, word, block bigint")
	// noteNames has those of contacts indexed again that are in the index, or should be.
	noteNames = "INSERT INTO names_due (workspace_id, contact_id) SELECT $1, u.contact_id FROM " + unnest("contact_id bigint") +
		" WHERE u.contact_id <= (SELECT n.upto FROM name_index n WHERE n.workspace_id = $1) ON CONFLICT DO NOTHING"
)

// dropWords implements nameWriter.
func (t *postgresTx) dropWords(ws gateway.WorkspaceID, ids []int64) error {
	_, err := t.exec(dropWords, int64(ws), ids)
	return err
}

// addWords implements nameWriter.
func (t *postgresTx) addWords(ws gateway.WorkspaceID, ids []int64, words []string) error {
	t.grown += int64(len(ids))
	_, err := t.exec(addWords, int64(ws), ids, words, column(ids, func(id *int64) int64 { return blockOf(*id) }))
	return err
}
