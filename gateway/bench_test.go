package gateway_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"civgate/gateway"
)

// benchPayload is a payload as the widget sends it for person i.
func benchPayload(i int) string {
	return fmt.Sprintf(`{"apiKey":%q,"user_id":"user-%07d","email":"ada.lovelace.%07d@company-%d.test","name":"Ada Lovelace %d","plan":"pro","seats":%d,"phone_number":"+48600%06d","score":0,"signed_up":"2025-04-01T08:30:00Z","company":{"company_id":"company-%d","name":"Company %d","industry":"Software","employees":32},"$":{"id":%q,"key":"k%011d","at":"2026-01-02T03:04:05.678Z","type":"page","url":"https://app.company.test/projects/7/board?tab=open","path":"/projects/7/board","title":"Board - Project 7","referrer":"https://app.company.test/projects"}}`,
		rigKey, i, i, i/10, i, i%50, i%1000000, i/10, i/10, uuid.Must(uuid.NewV7()), i)
}

// inspect runs the inspector until the function that it returns is called.
func (r *rig) inspect() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.g.RunInspector(ctx) // ends with ctx
	}()
	return func() { cancel(); <-done }
}

// BenchmarkApply is the second half of the way: parsed payloads to committed
// state, in batches as they come under load. It reports a payload, not a batch.
func BenchmarkApply(b *testing.B) {
	const batch = 1024
	for _, returning := range []bool{false, true} {
		name := "new"
		if returning {
			name = "returning"
		}
		b.Run(name, func(b *testing.B) {
			r := newRigWith(b, 100_000, gateway.DefaultSettings(), zap.NewNop())
			defer r.inspect()()
			const people = 20_000
			for from := 0; from < people; from += batch {
				entries := make([]*gateway.Entry, batch)
				for i := range entries {
					entries[i] = r.entry(benchPayload(from + i))
				}
				if err := r.g.Apply(context.Background(), entries); err != nil {
					b.Fatal(err)
				}
			}
			next := people + batch
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += batch {
				b.StopTimer()
				entries := make([]*gateway.Entry, min(batch, b.N-done))
				for i := range entries {
					person := next
					if returning {
						person = next * 7919 % people
					}
					next++
					entries[i] = r.entry(benchPayload(person))
				}
				b.StartTimer()
				if err := r.g.Apply(context.Background(), entries); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAccept is the first half: a body to an answer, with 64 callers who
// share the synced writes of the inbox.
func BenchmarkAccept(b *testing.B) {
	r := newRigWith(b, 100_000, gateway.DefaultSettings(), zap.NewNop())
	defer r.inspect()()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.g.Run(ctx) // ends with ctx
	}()
	defer func() { cancel(); <-done }()
	body := []byte(benchPayload(1)) // the same message each time: applying is cheap
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := r.g.Accept(ctx, gateway.Request{Body: body}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// TestApplyAllocations is the budget of the returning contact, who is nearly
// all of the traffic.
func TestApplyAllocations(t *testing.T) {
	r := newRigWith(t, 10_000, gateway.DefaultSettings(), zap.NewNop())
	const batch = 512
	entries := func() []*gateway.Entry {
		out := make([]*gateway.Entry, batch)
		for i := range out {
			out[i] = r.entry(benchPayload(i))
		}
		return out
	}
	if err := r.g.Apply(context.Background(), entries()); err != nil {
		t.Fatal(err)
	}
	prepared := [][]*gateway.Entry{entries(), entries(), entries(), entries()}
	next := 0
	per := testing.AllocsPerRun(len(prepared)-1, func() {
		if err := r.g.Apply(context.Background(), prepared[next]); err != nil {
			t.Fatal(err)
		}
		next++
	}) / batch
	if per > 2 {
		t.Errorf("%.1f allocations for an unchanged payload of a returning contact, want at most 2", per)
	}
}
