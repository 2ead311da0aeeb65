package main

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestHistogramQuantiles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour)), 1, 300).Draw(t, "values")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		// Two histograms added up must read like one.
		var h, other histogram
		for i, v := range values {
			if i%2 == 0 {
				h.record(time.Duration(v))
			} else {
				other.record(time.Duration(v))
			}
		}
		h.add(&other)

		slices.Sort(values)
		want := values[min(int(q*float64(len(values))), len(values)-1)]
		got := int64(h.quantile(q))
		if got < want || float64(got) > float64(want)*(1+1.0/subBuckets) {
			t.Fatalf("quantile(%v) = %d, want %d to 3 %% above", q, got, want)
		}
		if got > values[len(values)-1] {
			t.Fatalf("quantile(%v) = %d is above the largest value %d", q, got, values[len(values)-1])
		}
	})
}

func TestHistogramEdges(t *testing.T) {
	t.Parallel()
	var h histogram
	if got := h.quantile(0.99); got != 0 {
		t.Errorf("quantile of nothing = %v, want 0", got)
	}
	h.record(-time.Second)
	h.record(1<<63 - 1)
	if got := h.quantile(0); got != 0 {
		t.Errorf("smallest = %v, want 0", got)
	}
	if got := h.quantile(1); got != 1<<63-1 {
		t.Errorf("largest = %v, want %v", got, time.Duration(1<<63-1))
	}
}

func TestBucketsCoverEveryValueOnce(t *testing.T) {
	t.Parallel()
	for i := range len(histogram{}.counts) - 1 {
		if end := bucketEnd(i); bucketOf(end) != i || bucketOf(end+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, but that value is in %d and the next in %d", i, end, bucketOf(end), bucketOf(end+1))
		}
	}
}
