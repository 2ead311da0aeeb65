package gateway_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"civgate/gateway"
)

func TestNameWords(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                              "",
		" \t-–—.,&":                     "",
		"Ada Lovelace":                  "ada lovelace",
		"  ADA   ada Ada ":              "ada",
		"Jean-Luc O'Brien (III)":        "jean luc o brien iii",
		"Łucja Müller-Straße":           "lucja muller strasse",
		"José Ægir Þór İnce Đoković":    "jose aegir thor ince dokovic",
		"Zoe\u0308":                     "zoe",
		"ÉCOLE n°5":                     "ecole n 5",
		"ﬁne ２３":                        "fine 23",
		"山田 太郎":                         "山田 太郎",
		"Иван Ёлкин":                    "иван елкин",
		"a b c d e f g h i j":           "a b c d e f g h",
		strings.Repeat("x", 40) + " y":  strings.Repeat("x", 32) + " y",
		strings.Repeat("山", 20):         strings.Repeat("山", 10),
		"\u202eevil\u202c <b>bold</b>":  "evil b bold",
		"bad\xff\xfeutf8 \x00nul":       "bad utf8 nul",
		strings.Repeat("é", 300) + "ab": strings.Repeat("e", 32),
	} {
		if got := strings.Join(gateway.NameWords(name), " "); got != want {
			t.Errorf("words of %q: %q, want %q", name, got, want)
		}
	}
}

// FuzzNameWords: words are bounded, found by any of their beginnings, and the words of
// themselves.
func FuzzNameWords(f *testing.F) {
	for _, name := range []string{"Ada Lovelace", "Zoë \"Zed\" O'Brien", "İ ß ﷺ ŉ", "\xff\x00", strings.Repeat("ab ", 300)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		words := gateway.NameWords(name)
		if len(words) > gateway.MaxNameWords {
			t.Errorf("%d words", len(words))
		}
		for _, w := range words {
			if w == "" || len(w) > gateway.MaxNameWord || !utf8.ValidString(w) || strings.ContainsRune(w, 0) {
				t.Errorf("a word %q", w)
			}
			_, n := utf8.DecodeRuneInString(w)
			if !gateway.NameHas(name, []string{w, w[:n]}) {
				t.Errorf("%q isn't found by %q", name, w)
			}
		}
	})
}

// TestNamesProperty lives a life of payloads, edits, merges, undone merges, deletes and a
// sweep of old visitors, while names are indexed now and then: at any time just those are
// found whose names have the words.
func TestNamesProperty(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		rnd := rand.New(rand.NewPCG(8, 9)) //nolint:gosec // a test
		words := []string{"Ada", "Lovelace", "Łucja", "Ad", "Smith", "Smithson"}
		word := func() string { return words[rnd.IntN(len(words))] }
		var ids []gateway.ContactID
		some := func() gateway.ContactID { return ids[rnd.IntN(len(ids))] }
		for i := range 4 {
			ids = append(ids, r.contact(gateway.ContactPatch{CustomID: new(fmt.Sprint("u", i)), Attributes: []gateway.PayloadAttribute{set("name", str(word()))}}))
		}
		for n := range 150 {
			switch rnd.IntN(9) {
			case 0:
				ids = append(ids, r.contact(gateway.ContactPatch{CustomID: new(fmt.Sprint("n", n)), Attributes: []gateway.PayloadAttribute{set("name", str(word()+" "+word()))}}))
			case 1, 2: // new or known, with the parts of a name
				r.apply(page(fmt.Sprint("m", n), fmt.Sprintf("key%09d", rnd.IntN(20)), fmt.Sprintf(`"user_id":"w%d","first_name":%q,"last_name":%q`, rnd.IntN(20), word(), word())))
			case 3: // a visitor
				r.apply(page(fmt.Sprint("v", n), fmt.Sprintf("vis%09d", n), `"plan":"x"`))
			case 4:
				id, name := some(), word()
				_ = r.edit(func(e *gateway.Editor) error { // whoever was deleted stays so
					return e.UpdateContact(id, gateway.ContactPatch{Attributes: []gateway.PayloadAttribute{set("name", str(name))}})
				})
			case 5, 6:
				a, b := some(), some()
				_ = r.edit(func(e *gateway.Editor) error { return e.MergeContacts(a, []gateway.ContactID{b}) })
				if merges, err := r.store.Merges(t.Context(), r.w, a, gateway.HistoryQuery{Limit: 1}); err == nil && len(merges) > 0 && rnd.IntN(2) == 0 {
					_ = r.edit(func(e *gateway.Editor) error { _, err := e.UndoMerge(merges[0].ID); return err })
				}
			case 7:
				id := some()
				_ = r.edit(func(e *gateway.Editor) error { return e.DeleteContact(id) })
			case 8:
				if _, err := r.g.IndexNames(t.Context(), r.w); err != nil {
					t.Fatal(err)
				}
			}
			r.findsNames(word(), word()+" "+string([]rune(word())[:1]))
		}
		r.must(func(e *gateway.Editor) error {
			_, err := e.ChangeWorkspace(func(w *gateway.Workspace) error { w.Settings.RetentionDays = 1; return nil })
			return err
		})
		r.now = r.now.Add(48 * time.Hour)
		r.check(r.g.Sweep(t.Context()))
		r.runNames()
		for _, w := range words {
			r.findsNames(w, string([]rune(w)[:1]), w+" "+words[0])
		}
	})
}

// findsNames compares what texts find with all contacts.
func (r *rig) findsNames(texts ...string) {
	r.t.Helper()
	all, err := r.store.Contacts(r.t.Context(), r.w, 0, 10_000)
	r.check(err)
	for _, text := range texts {
		found, err := r.store.FindNames(r.t.Context(), r.w, text, 10_000)
		r.check(err)
		var want []*gateway.ContactView
		for _, v := range all {
			if name, _ := v.Attributes.Get("name"); gateway.NameHas(gateway.Text(name), gateway.NameWords(text)) {
				want = append(want, v)
			}
		}
		slices.SortFunc(found.Contacts, func(a, b *gateway.ContactView) int { return cmp.Compare(b.ID, a.ID) })
		if d := gocmp.Diff(want, found.Contacts, cmpopts.EquateEmpty()); d != "" {
			r.t.Fatalf("%q finds (-want +got):\n%s", text, d)
		}
	}
}

// runNames has names indexed in the background until there is nothing more to do.
func (r *rig) runNames() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.g.RunNames(ctx) }()
	for {
		left, err := r.store.UnindexedNames(context.Background())
		if err != nil || len(left) == 0 {
			cancel()
			if ended := <-ended; !errors.Is(ended, context.Canceled) {
				r.t.Errorf("RunNames ended with %v", ended)
			}
			r.check(err)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
