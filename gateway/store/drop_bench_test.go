//go:build unix

package store_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/store/pgtest"
)

// BenchmarkDropAttribute drops an attribute that b.N contacts have, of whom each has a
// few more: go test -run xxx -bench DropAttribute -benchtime 1000000x ./gateway/store.
func BenchmarkDropAttribute(b *testing.B) {
	for name, url := range map[string]func(b *testing.B) string{
		"sqlite":   func(b *testing.B) string { return filepath.Join(b.TempDir(), "civgate.db") },
		"postgres": func(b *testing.B) string { return pgtest.Shared(b).NewDatabase(b) },
	} {
		b.Run(name, func(b *testing.B) {
			s := open(b, url(b))
			w := workspace(b, s)
			const batch = 5000
			for from := 0; from < b.N; from += batch {
				if err := s.Update(b.Context(), func(tx gateway.Tx) error {
					c := &gateway.Changes{}
					for i := from; i < min(from+batch, b.N); i++ {
						x := &gateway.Contact{ID: gateway.ContactID(i + 1), WorkspaceID: w, CreatedAt: moment(1), UpdatedAt: moment(1), Fingerprint: 1}
						for _, a := range []string{"browser", "city", "first_name", "last_name", "plan", "source"} {
							x.Attributes.Set(a, gateway.TextValue(fmt.Sprintf("%s of %d", a, i)))
						}
						c.NewContacts = append(c.NewContacts, x)
					}
					return tx.Save(w, c)
				}); err != nil {
					b.Fatal(err)
				}
			}
			d := gateway.AttributeDef{ID: 1, WorkspaceID: w, Entity: gateway.EntityContact, Name: "plan", Type: gateway.TypeText}
			if err := s.Update(b.Context(), func(tx gateway.Tx) error {
				return tx.Save(w, &gateway.Changes{NewDefs: []gateway.AttributeDef{d}})
			}); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			start := time.Now()
			if err := s.Update(b.Context(), func(tx gateway.Tx) error { return tx.DropAttribute(w, d) }); err != nil {
				b.Fatal(err)
			}
			took := time.Since(start)
			b.StopTimer()
			b.ReportMetric(took.Seconds(), "s")
		})
	}
}
