package inbox

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"civgate/gateway"
)

// A batch is packed as the CRC-32C of the rest (4 bytes, little endian) and its
// entries one after the other: time as seconds and nanoseconds, workspace id,
// length and bytes of the IP, length and bytes of the body; all numbers are
// varints as encoding/binary has them.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errPack = errors.New("damaged batch")

// packedSize is an upper bound of what e takes in a packed batch.
func packedSize(e *gateway.Entry) int64 {
	return int64(len(e.IP)) + int64(len(e.Body)) + 5*binary.MaxVarintLen64
}

// pack appends the packed entries to buf.
func pack(buf []byte, entries []*gateway.Entry) []byte {
	start := len(buf)
	buf = append(buf, 0, 0, 0, 0)
	for _, e := range entries {
		buf = binary.AppendVarint(buf, e.At.Unix())
		buf = binary.AppendUvarint(buf, uint64(e.At.Nanosecond()))
		buf = binary.AppendVarint(buf, int64(e.WorkspaceID))
		buf = binary.AppendUvarint(buf, uint64(len(e.IP)))
		buf = append(buf, e.IP...)
		buf = binary.AppendUvarint(buf, uint64(len(e.Body)))
		buf = append(buf, e.Body...)
	}
	binary.LittleEndian.PutUint32(buf[start:], crc32.Checksum(buf[start+4:], castagnoli))
	return buf
}

// unpack returns the n entries of a batch that starts at seq. Their bodies
// share memory with data.
func unpack(data []byte, seq, n int64) ([]*gateway.Entry, error) {
	if len(data) < 4 || n < 1 || crc32.Checksum(data[4:], castagnoli) != binary.LittleEndian.Uint32(data) {
		return nil, errPack
	}
	u := unpacker{data: data[4:]}
	// No entry is shorter than five bytes: a wrong n can't make this large.
	if n > int64(len(u.data)/5) {
		return nil, errPack
	}
	slab := make([]gateway.Entry, n)
	entries := make([]*gateway.Entry, n)
	for i := range slab {
		e := &slab[i]
		e.Seq = seq + int64(i)
		sec := u.varint()
		e.At = time.Unix(sec, int64(u.uvarint())).UTC()
		e.WorkspaceID = gateway.WorkspaceID(u.varint())
		e.IP = string(u.bytes())
		e.Body = u.bytes()
		entries[i] = e
	}
	if u.bad || len(u.data) != 0 {
		return nil, errPack
	}
	return entries, nil
}

// unpacker reads a packed batch; bad says that it ended too early.
type unpacker struct {
	data []byte
	bad  bool
}

func (u *unpacker) uvarint() uint64 {
	v, n := binary.Uvarint(u.data)
	u.skip(n)
	return v
}

func (u *unpacker) varint() int64 {
	v, n := binary.Varint(u.data)
	u.skip(n)
	return v
}

func (u *unpacker) skip(n int) {
	if n <= 0 {
		u.bad, u.data = true, nil
		return
	}
	u.data = u.data[n:]
}

func (u *unpacker) bytes() []byte {
	n := u.uvarint()
	if n > uint64(len(u.data)) {
		u.bad, u.data = true, nil
		return nil
	}
	b := u.data[:n:n]
	u.data = u.data[n:]
	return b
}
