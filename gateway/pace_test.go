package gateway

import (
	"testing"
	"time"
)

// TestPace: a lone payload never waits, a stream gathers, a backlog doesn't.
func TestPace(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		n     int
		since time.Duration
		want  time.Duration
	}{
		{"one a second", 1, time.Second, 0},
		{"just below", 19, 100 * time.Millisecond, 0},
		{"1,000 a second", 100, 100 * time.Millisecond, maxRest},
		{"40,960 a second", 64, 1562500 * time.Nanosecond, 100 * time.Millisecond},
		{"a backlog", maxBatch, 100 * time.Millisecond, 0},
		{"a clock that went back", 64, -time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := pace{last: start}
			if got := p.rest(tt.n, start.Add(tt.since)); (got - tt.want).Abs() > time.Microsecond {
				t.Errorf("rests %v, want %v", got, tt.want)
			}
		})
	}
}
