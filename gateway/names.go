package gateway

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"
	"golang.org/x/text/unicode/norm"
)

// This file owns how contacts and companies are found by the words of their names, and the
// work that keeps the words of contacts findable (RunNames).
//
// Decisions
//
//   - Words are put into their index behind the payloads' way, not on it: in the transaction
//     that saves a contact they made saving a third dearer. A new contact costs nothing
//     more there, as the index knows up to which id it is complete; a contact whose name
//     changed costs one small row that says so. Until its turn comes it is found by going
//     through those rows and the newest contacts (Reader.FindNames).
//   - While payloads come fast the index gets a thirtieth of the time at least, else
//     half: it falls behind a load that lasts, and never stops.
//   - What the index finds is compared with the name that the contact has now, so that an
//     index that is behind leaves out, but shows nothing wrong.

const (
	// MaxNameWords is how many words of a name, the first ones, can be found.
	MaxNameWords = 8
	// MaxNameWord is how many bytes of a word are compared.
	MaxNameWord = 32
	// maxName is how many bytes of a name are looked at.
	maxName = 512
)

// foldedLetters are those that people type without what makes them special, and that are
// not a letter and an accent to Unicode.
var foldedLetters = map[rune]string{
	'ł': "l", 'ø': "o", 'đ': "d", 'ð': "d", 'ħ': "h", 'ı': "i", 'ŧ': "t", 'ß': "ss", 'æ': "ae", 'œ': "oe", 'þ': "th",
}

// NameWords returns the words of a name as they are compared: letters and digits, in lower
// case and without accents, each once, the first MaxNameWords of up to MaxNameWord bytes.
func NameWords(name string) (words []string) {
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "")
	}
	var word []byte
	end := func() {
		n := min(len(word), MaxNameWord)
		for n < len(word) && !utf8.RuneStart(word[n]) {
			n--
		}
		if n > 0 && len(words) < MaxNameWords && !slices.Contains(words, string(word[:n])) {
			words = append(words, string(word[:n]))
		}
		word = word[:0]
	}
	ascii := true
	for i := 0; i < len(name); i++ {
		ascii = ascii && name[i] < utf8.RuneSelf
	}
	if !ascii {
		name = norm.NFKD.String(name)
	}
	for _, r := range name {
		switch {
		case r >= 0x300 && r < 0x370: // an accent
		case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r):
			r = unicode.ToLower(r)
			if folded, ok := foldedLetters[r]; ok {
				word = append(word, folded...)
			} else {
				word = utf8.AppendRune(word, r)
			}
		default:
			end()
		}
	}
	end()
	return words
}

// NameHas reports whether each of the typed words (NameWords) is the beginning of a word of
// the name.
func NameHas(name string, typed []string) bool {
	words := NameWords(name)
	return !slices.ContainsFunc(typed, func(t string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, t) })
	})
}

// NamesFound is what a search for names found.
type NamesFound struct {
	Contacts []*ContactView
	// Indexed is how much of the contacts' names can be found, in percent: less than 100
	// while the index of an old or imported database is being made.
	Indexed int
	// Cut tells that so many names have one of the words that not all were looked at.
	Cut bool
}

const (
	// namesPoll is how often a node looks for names to index.
	namesPoll = time.Second
	// namesStep is how many contacts a step indexes at most: some 20 ms, for which other
	// transactions of the workspace (in SQLite: all) wait.
	namesStep = 1000
	// namesShare is by how much a step is outlasted by the rest that follows it under load.
	namesShare = 30
	// maxNamesRest bounds that rest.
	maxNamesRest = 5 * time.Second
)

// namer is what a gateway knows of the indexing of names.
type namer struct {
	applied atomic.Int64 // payloads, ever
	// What follows is RunNames's.
	seen int64     // applied, when it was looked at last
	at   time.Time // when that was
	fast bool      // they came fast until then
}

// paceWindow is for how long payloads are counted: they are applied in bursts.
const paceWindow = 500 * time.Millisecond

// busy reports whether payloads come so fast, or wait in such numbers, that other work has
// to stand back.
func (n *namer) busy(pending int64, now time.Time) bool {
	if since := now.Sub(n.at); since >= paceWindow {
		applied := n.applied.Load()
		n.fast = float64(applied-n.seen) >= slowRate*since.Seconds()
		n.seen, n.at = applied, now
	}
	return n.fast || pending >= slowRate
}

// RunNames keeps the index of names up to date until ctx ends; a step that is under way is
// finished first. It returns ctx.Err() and nothing else: while the store can't, it waits. It
// is called once; several nodes may do it for the same workspaces.
func (g *Gateway) RunNames(ctx context.Context) error {
	for {
		more, took := g.stepNames(ctx)
		rest := namesPoll
		if busy := g.names.busy(g.intake.Pending(), time.Now()); more && busy {
			rest = min(namesShare*took, maxNamesRest)
		} else if more {
			rest = took
		}
		if !sleep(ctx, rest) {
			return ctx.Err()
		}
	}
}

// stepNames does a step of each workspace with names to index. It reports whether there is
// more to do, and how long the steps took.
func (g *Gateway) stepNames(ctx context.Context) (more bool, took time.Duration) {
	workspaces, err := g.store.UnindexedNames(ctx)
	if err != nil {
		if ctx.Err() == nil {
			g.log.Warn("looking for names to index", zap.Error(err))
		}
		return false, 0
	}
	for _, w := range workspaces {
		start := time.Now()
		left, err := g.IndexNames(context.WithoutCancel(ctx), w)
		took += time.Since(start)
		more = more || left
		if err != nil {
			g.log.Warn("names wait to be indexed", zap.Int64("workspace", int64(w)), zap.Error(err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return more, took
}

// IndexNames does the next step of indexing the names of a workspace's contacts, and reports
// whether there is more.
func (g *Gateway) IndexNames(ctx context.Context, w WorkspaceID) (more bool, err error) {
	err = g.store.Update(ctx, func(tx Tx) (err error) {
		more, err = tx.IndexNames(w, namesStep)
		return err
	})
	return more && err == nil, err
}
