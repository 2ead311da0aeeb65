package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// longRun is from which length on a run is also told by time.
const longRun = 4 * time.Second

// write prints the outcome of a timed phase for people.
func (r *result) write(w io.Writer, drained bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "acknowledged   %s payloads in %s requests, %.2f s\n", thousands(r.Acked), thousands(r.Requests), r.Elapsed.Seconds())
	fmt.Fprintf(&b, "rate           %s requests/s, %s payloads/s\n", thousands(int64(perSecond(r.Requests, r.Elapsed))), thousands(int64(perSecond(r.Acked, r.Elapsed))))
	fmt.Fprintf(&b, "latency        p50 %s  p99 %s  p99.9 %s  max %s\n", millis(r.Latency.quantile(0.5)), millis(r.Latency.quantile(0.99)), millis(r.Latency.quantile(0.999)), millis(r.Latency.max))
	if r.Elapsed >= longRun {
		fmt.Fprintf(&b, "p99 by time    %s\n", r.Times.p99())
	}
	if drained {
		fmt.Fprintf(&b, "visible after  %s more: accepted and applied %s payloads/s\n", millis(r.Drain), thousands(int64(r.applied())))
	}
	if r.Refused+r.Unknown+r.Retries+r.Warnings > 0 {
		fmt.Fprintf(&b, "not at once    %s refused, %s never answered, %s offered again, %s warnings\n", thousands(r.Refused), thousands(r.Unknown), thousands(r.Retries), thousands(r.Warnings))
	}
	if len(r.Errors) == 0 {
		b.WriteString("errors         none\n")
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(&b, "errors         %s × %s\n", thousands(r.Errors[kind]), kind)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// progress prints once a second how a load goes, until ctx ends: one line written over itself on a terminal, a line
// each elsewhere. watched, if not nil, adds what a server process uses.
func (l *load) progress(ctx context.Context, w io.Writer, watched *watch) {
	start, last, lastAcked := time.Now(), time.Now(), l.count.acked.Load()
	begin, end := "", "\n"
	if isTerminal(w) {
		begin, end = "\r\x1b[K", ""
		defer fmt.Fprint(w, begin)
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, acked := time.Now(), l.count.acked.Load()
		line := fmt.Sprintf("%4.0fs  %9s payloads/s  %11s acknowledged", now.Sub(start).Seconds(), thousands(int64(perSecond(acked-lastAcked, now.Sub(last)))), thousands(acked))
		last, lastAcked = now, acked
		if h, err := l.target.health(ctx); err == nil && h.InboxPending != nil {
			line += fmt.Sprintf("  %7s pending", thousands(*h.InboxPending))
		}
		if n := l.count.retries.Load(); n > 0 {
			line += fmt.Sprintf("  %s offered again", thousands(n))
		}
		if n := l.count.refused.Load(); n > 0 {
			line += fmt.Sprintf("  %s refused", thousands(n))
		}
		if watched != nil {
			if u, err := watched.look(); err == nil {
				line += fmt.Sprintf("  server %s resident", mebibytes(u.resident))
			}
		}
		fmt.Fprint(w, begin+line+end) // a progress line that can't be written is no reason to stop
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// thousands writes n with commas.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
