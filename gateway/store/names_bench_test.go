//go:build unix

package store_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
)

// namedContacts is how many contacts BenchmarkNames has.
var namedContacts = flag.Int("named-contacts", 200_000, "contacts of BenchmarkNames")

// BenchmarkNames measures how long an index of names takes to make, the longest transaction
// of that, and searches in it. The first names are as uneven as people's.
func BenchmarkNames(b *testing.B) {
	b.Run("SQLite", func(b *testing.B) {
		benchNames(b, open(b, filepath.Join(b.TempDir(), "civgate.db")))
	})
	b.Run("Postgres", func(b *testing.B) { benchNames(b, open(b, pgtest.Shared(b).NewDatabase(b))) })
}

func benchNames(b *testing.B, s *store.Store) {
	w := workspace(b, s)
	rnd := rand.New(rand.NewPCG(5, 6))
	first, last := rand.NewZipf(rnd, 1.1, 4, 2999), rand.NewZipf(rnd, 1.05, 20, 49_999)
	syllables := []string{"a", "an", "jo", "ma", "ri", "li", "sa", "ka", "to", "ne", "el", "da", "vi", "lo", "mi"}
	word := func(n uint64) (text string) {
		for n += 3; n > 0; n /= uint64(len(syllables)) {
			text += syllables[n%uint64(len(syllables))]
		}
		return text
	}
	fillNames(b, s, w, *namedContacts, func(i int) string {
		switch {
		case i == 777:
			return "Ada Lovelace"
		case i%2 == 0: // half of all
			return "A" + word(first.Uint64()) + " " + word(last.Uint64())
		}
		return word(first.Uint64()) + " " + word(last.Uint64())
	})
	var longest time.Duration
	began, start := cpuTime(), time.Now()
	for more := true; more; {
		step := time.Now()
		more = indexStep(b, s, w)
		longest = max(longest, time.Since(step))
	}
	cpu, took := cpuTime()-began, time.Since(start)
	b.Run("index", func(b *testing.B) { // once, however often it is to be done
		for b.Loop() {
		}
		b.ReportMetric(float64(took)/float64(*namedContacts)/1000, "µs/contact")
		b.ReportMetric(float64(cpu)/float64(*namedContacts)/1000, "cpu-µs/contact")
		b.ReportMetric(float64(longest)/float64(time.Millisecond), "longest-ms")
	})
	for _, text := range []string{"a", "ma", "jo li", "a l", "a a", "ada lov", "lov", "lovelace", "xyz", "a xyz", "ajoma", "m a"} {
		b.Run(fmt.Sprintf("find %q", text), func(b *testing.B) {
			n := 0
			var all []time.Duration
			for b.Loop() {
				start := time.Now()
				found, err := s.FindNames(b.Context(), w, text, 8)
				if err != nil {
					b.Fatal(err)
				}
				n = len(found.Contacts)
				all = append(all, time.Since(start))
			}
			slices.Sort(all)
			b.ReportMetric(float64(n), "found")
			b.ReportMetric(float64(all[len(all)*95/100])/float64(time.Millisecond), "p95-ms")
		})
	}
}
