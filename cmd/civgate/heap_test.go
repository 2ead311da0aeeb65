package main

import (
	"testing"
	"time"
)

func TestGrowth(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		live  uint64
		since time.Duration
		want  int
	}{
		{"at rest", 20 << 20, time.Minute, gcPercent},
		{"small, under load", 20 << 20, time.Second, 700},
		{"tiny", 1, 0, maxPercent},
		{"nothing", 0, 0, gcPercent},
		{"half of it", roomyHeap / 2, time.Second, gcPercent}, // 100 by the room
		{"all of it", roomyHeap, time.Second, gcPercent},
		{"more", 4 * roomyHeap, time.Second, gcPercent},
	} {
		if got := growth(tt.live, tt.since); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
