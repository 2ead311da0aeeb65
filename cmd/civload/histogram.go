package main

import (
	"math/bits"
	"time"
)

// A histogram keeps durations in log-linear buckets: every power of two of nanoseconds is cut into subBuckets equal
// parts, so a quantile is read at most 1/subBuckets (3 %) above the true value, whatever the range. The zero value is
// empty and ready. It is not safe for concurrent use.
type histogram struct {
	counts [(64 - subBits) * subBuckets]uint64
	total  uint64
	max    time.Duration
}

const (
	subBits    = 5
	subBuckets = 1 << subBits
)

// record counts one duration; a negative one (a clock set back) counts as zero.
func (h *histogram) record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))]++
	h.total++
	h.max = max(h.max, d)
}

// add counts everything that o counted.
func (h *histogram) add(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// quantile returns a duration that the share q (0 to 1) of all recorded ones doesn't exceed; 0 when nothing was
// recorded.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := min(uint64(q*float64(h.total)), h.total-1)
	for i, n := range h.counts {
		if rank < n {
			return min(time.Duration(bucketEnd(i)), h.max)
		}
		rank -= n
	}
	return h.max
}

// bucketOf numbers the bucket of v: values below 2*subBuckets have one each, above that the highest subBits+1 bits
// of the value choose.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift*subBuckets + int(v>>shift)
}

// bucketEnd is the largest value of bucket i.
func bucketEnd(i int) uint64 {
	shift := max(i/subBuckets-1, 0)
	return (uint64(i-shift*subBuckets)+1)<<shift - 1
}
