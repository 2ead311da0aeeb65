package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
)

// A ledger remembers what the server owes: for each sender the payloads that were acknowledged and those whose fate is
// open (sent, never answered). A sender is a person, or in the chaos scenario one browser's story. It takes 8 bytes a
// sender. Its counters may be changed from many goroutines; at any moment the server must hold at least what is
// acknowledged and at most that plus what is open.
type ledger struct {
	traffic *traffic
	chaos   bool
	senders atomic.Int64 // numbers given out so far
	chunks  [maxSenders / chunkSize]atomic.Pointer[[chunkSize]tally]
}

type tally struct {
	acked atomic.Uint32
	open  atomic.Uint32
}

const (
	chunkSize  = 1 << 16
	maxSenders = 1 << 28
	// unclear in a tally's open says that a story's payloads were accepted out of order, so that their outcome can't
	// be told.
	unclear = 1 << 31
)

func newLedger(t *traffic, chaos bool) *ledger {
	return &ledger{traffic: t, chaos: chaos}
}

// take gives out n new sender numbers and returns the first; false when there are no more.
func (l *ledger) take(n int64) (int64, bool) {
	first := l.senders.Add(n) - n
	return first, first+n <= maxSenders
}

// begin notes that a payload is about to be sent.
func (l *ledger) begin(sender int64) { l.tally(sender).open.Add(1) }

// ack notes that a payload begun was acknowledged.
func (l *ledger) ack(sender int64) {
	t := l.tally(sender)
	t.acked.Add(1)
	t.open.Add(^uint32(0))
}

// refuse notes that a payload begun was turned down for good and must not be stored.
func (l *ledger) refuse(sender int64) { l.tally(sender).open.Add(^uint32(0)) }

// blur notes that nothing can be said any more of what comes of a story.
func (l *ledger) blur(sender int64) { l.tally(sender).open.Or(unclear) }

// owed returns the counts of a sender.
func (l *ledger) owed(sender int64) (acked, open int64, clear bool) {
	c := l.chunks[sender/chunkSize].Load()
	if c == nil {
		return 0, 0, true
	}
	o := c[sender%chunkSize].open.Load()
	return int64(c[sender%chunkSize].acked.Load()), int64(o &^ unclear), o&unclear == 0
}

func (l *ledger) tally(sender int64) *tally {
	p := &l.chunks[sender/chunkSize]
	c := p.Load()
	if c == nil {
		p.CompareAndSwap(nil, new([chunkSize]tally))
		c = p.Load()
	}
	return &c[sender%chunkSize]
}

// ledgerHeader is the first line of a ledger file. It holds no secret.
type ledgerHeader struct {
	Version    int    `json:"civload_ledger"`
	Prefix     string `json:"prefix"`
	Seed       uint64 `json:"seed"`
	PerCompany int64  `json:"people_per_company"`
	Chaos      bool   `json:"chaos"`
	Senders    int64  `json:"senders"`
}

const ledgerVersion = 1

// writeFile writes the ledger as text: a header line of JSON, then "<senders> <acknowledged> <open>" for each run of
// neighbours with equal counts, then "end". The file appears whole or not at all.
func (l *ledger) writeFile(name string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".civload-*")
	if err != nil {
		return fmt.Errorf("create ledger file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write ledger file: %w", err), f.Close(), os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriter(f)
	if err := l.write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return f.Close()
}

func (l *ledger) write(w io.Writer) error {
	senders := l.senders.Load()
	header, err := json.Marshal(ledgerHeader{
		Version: ledgerVersion, Prefix: l.traffic.prefix, Seed: l.traffic.seed, PerCompany: l.traffic.perCompany,
		Chaos: l.chaos, Senders: senders,
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s\n", header); err != nil {
		return err
	}
	for i := int64(0); i < senders; {
		run, counts := i, l.raw(i)
		for i < senders && l.raw(i) == counts {
			i++
		}
		if _, err := fmt.Fprintln(w, i-run, counts[0], counts[1]); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(w, "end")
	return err
}

func (l *ledger) raw(sender int64) [2]uint32 {
	c := l.chunks[sender/chunkSize].Load()
	if c == nil {
		return [2]uint32{}
	}
	return [2]uint32{c[sender%chunkSize].acked.Load(), c[sender%chunkSize].open.Load()}
}

// readLedgerFile reads what writeFile wrote.
func readLedgerFile(name string) (*ledger, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open ledger file: %w", err)
	}
	defer f.Close()
	l, err := readLedger(f)
	if err != nil {
		return nil, fmt.Errorf("read ledger file %s: %w", name, err)
	}
	return l, nil
}

func readLedger(r io.Reader) (*ledger, error) {
	lines := bufio.NewScanner(r)
	if !lines.Scan() {
		return nil, errors.Join(errors.New("no header line"), lines.Err())
	}
	var h ledgerHeader
	if err := json.Unmarshal(lines.Bytes(), &h); err != nil {
		return nil, fmt.Errorf("header line: %w", err)
	}
	if h.Version != ledgerVersion {
		return nil, fmt.Errorf("version %d, this program reads %d", h.Version, ledgerVersion)
	}
	if h.Prefix == "" || h.PerCompany < 1 || h.Senders < 0 || h.Senders > maxSenders {
		return nil, errors.New("header line has values out of range")
	}
	t, err := newTraffic(h.Prefix, h.Seed, h.PerCompany, "")
	if err != nil {
		return nil, err
	}
	l := newLedger(t, h.Chaos)
	for lines.Scan() {
		if lines.Text() == "end" {
			if n := l.senders.Load(); n != h.Senders {
				return nil, fmt.Errorf("%d senders, the header promises %d", n, h.Senders)
			}
			return l, nil
		}
		var n int64
		var acked, open uint32
		if _, err := fmt.Sscanf(lines.Text(), "%d %d %d", &n, &acked, &open); err != nil {
			return nil, fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		if n < 1 || n > h.Senders-l.senders.Load() {
			return nil, fmt.Errorf("line %q: more senders than the header promises", lines.Text())
		}
		first, _ := l.take(n)
		for i := first; i < first+n && (acked|open) != 0; i++ {
			l.tally(i).acked.Store(acked)
			l.tally(i).open.Store(open)
		}
	}
	return nil, errors.Join(errors.New("cut off before its end line"), lines.Err())
}
