package inbox

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"

	"civgate/gateway"
)

// readBytes is how much Next reads back from disk at once.
const readBytes = 4 << 20

// handOver keeps new entries in memory for Next if there is room. The caller
// holds mu.
//
// What Next has yet to return lies in this order: on disk from next to onDisk;
// in memory; on disk alone, if memory is not open. When all but the last of
// these is used up, Next makes that the first and opens memory again, so that
// it is back in memory as soon as it reads faster than entries come.
func (f *File) handOver(entries []*gateway.Entry) {
	signal(f.ready)
	if !f.memOpen {
		return
	}
	var bytes int64
	for _, e := range entries {
		bytes += memorySize(e)
	}
	if len(f.memory)+len(entries) <= f.opts.QueueEntries && f.memBytes+bytes <= f.opts.QueueBytes {
		if len(f.memory) == 0 {
			f.memory = entries
		} else {
			f.memory = append(f.memory, entries...)
		}
		f.memBytes += bytes
		return
	}
	f.memOpen = false
	if f.next <= f.onDisk {
		// Nobody will get to it soon, and it is on disk as well.
		f.memory, f.memBytes = nil, 0
		f.onDisk = f.last
	}
}

// memorySize is about what e takes in memory.
func memorySize(e *gateway.Entry) int64 {
	size := int64(len(e.Body)+len(e.IP)) + 256
	if e.Payload != nil {
		size += int64(len(e.Body)) + 512
	}
	return size
}

// takeMemory returns up to limit entries from memory. The caller holds mu.
func (f *File) takeMemory(limit int) []*gateway.Entry {
	if limit >= len(f.memory) {
		entries := f.memory
		f.memory, f.memBytes = nil, 0
		return entries
	}
	entries := f.memory[:limit:limit]
	f.memory = f.memory[limit:]
	for _, e := range entries {
		f.memBytes -= memorySize(e)
	}
	return entries
}

// skipTo makes Next go on at seq, unless it is beyond already. The caller holds
// mu.
func (f *File) skipTo(seq int64) {
	if seq <= f.next {
		return
	}
	f.next = seq
	n := 0
	for n < len(f.memory) && f.memory[n].Seq < seq {
		n++
	}
	f.takeMemory(n)
}

// Next waits until there is an entry behind the last one it returned, and
// returns up to limit of them, in order; after Open it starts at the first that
// is not applied. Those from memory have their Payload, those read back from
// disk don't. A limit below 1 counts as 1.
//
// It returns ctx.Err() when ctx ends first, a CodeUnavailable after Close, and
// another error when entries can't be read back; the next call then tries
// again from the same entry.
func (f *File) Next(ctx context.Context, limit int) ([]*gateway.Entry, error) {
	limit = max(limit, 1)
	select {
	case f.reading <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-f.closing:
		return nil, errClosed()
	}
	defer func() { <-f.reading }()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f.mu.Lock()
		if f.closed {
			f.mu.Unlock()
			return nil, errClosed()
		}
		if f.next > f.onDisk && len(f.memory) > 0 {
			entries := f.takeMemory(limit)
			f.next = entries[len(entries)-1].Seq + 1
			f.mu.Unlock()
			return entries, nil
		}
		if f.next > f.onDisk && f.next <= f.last {
			f.onDisk = f.last
			f.memOpen = true
		}
		if f.next > f.onDisk {
			f.memOpen = true
			f.mu.Unlock()
			_ = f.reader.close() // it was only read from
			select {
			case <-f.ready:
			case <-ctx.Done():
			case <-f.closing:
			}
			continue
		}
		entries, err := f.nextOnDisk(limit)
		if len(entries) > 0 || err != nil {
			return entries, err
		}
	}
}

// nextOnDisk returns the next entries from disk, none if they were applied
// meanwhile. The caller holds mu, which nextOnDisk gives back.
func (f *File) nextOnDisk(limit int) ([]*gateway.Entry, error) {
	from := f.next
	var s *segment
	for _, s = range f.segments {
		if s.last >= from {
			break
		}
	}
	// Between two segments numbers may be missing: files that somebody moved
	// away, or entries that were applied before the inbox was.
	from = max(from, s.first)
	to := min(s.last, f.onDisk)
	path := s.path
	f.mu.Unlock()

	entries, err := f.reader.read(path, from, to, limit)

	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next > from {
		return nil, nil // Applied overtook the reader
	}
	if err != nil {
		_ = f.reader.close()
		return nil, &gateway.Error{
			Code:       gateway.CodeUnavailable,
			Message:    "accepted entries can't be read back",
			RetryAfter: retryAfter,
			Err:        readError(path, err),
		}
	}
	f.next = entries[len(entries)-1].Seq + 1
	return entries, nil
}

// reader reads entries back from one segment after the other.
type reader struct {
	path  string
	conn  driver.Conn
	ahead []*gateway.Entry // read and not returned yet
}

// read returns up to limit entries from on, up to to, all of which are in the
// segment.
func (r *reader) read(path string, from, to int64, limit int) ([]*gateway.Entry, error) {
	for len(r.ahead) > 0 && r.ahead[0].Seq < from {
		r.ahead = r.ahead[1:]
	}
	if len(r.ahead) == 0 || r.ahead[0].Seq != from {
		if err := r.fill(path, from, to, limit); err != nil {
			return nil, err
		}
	}
	n := min(limit, len(r.ahead))
	entries := r.ahead[:n:n]
	r.ahead = r.ahead[n:]
	return entries, nil
}

// fill reads at least limit entries ahead, less if they are large.
func (r *reader) fill(path string, from, to int64, limit int) error {
	if r.conn == nil || r.path != path {
		if err := r.close(); err != nil {
			return err
		}
		conn, err := openReader(path)
		if err != nil {
			return err
		}
		r.path, r.conn = path, conn
	}
	r.ahead = nil
	bytes, want := 0, from
	err := query(r.conn, "SELECT seq, n, data FROM batches WHERE seq >= "+
		"coalesce((SELECT max(seq) FROM batches WHERE seq <= ?1), 0) AND seq <= ?2 ORDER BY seq", from, to)(
		func(row []driver.Value) error {
			data, _ := row[2].([]byte)
			entries, err := unpack(data, row[0].(int64), row[1].(int64))
			if err != nil {
				return err
			}
			for _, e := range entries {
				if e.Seq == want && want <= to {
					r.ahead = append(r.ahead, e)
					want++
				}
			}
			bytes += len(data)
			if len(r.ahead) >= limit || bytes >= readBytes {
				return io.EOF
			}
			return nil
		})
	if err == nil && want == from {
		err = fmt.Errorf("entry %d is missing: %w", from, errPack)
	}
	return err
}

// close closes the reader's connection, if one is open.
func (r *reader) close() error {
	conn := r.conn
	*r = reader{}
	if conn == nil {
		return nil
	}
	return conn.Close()
}
