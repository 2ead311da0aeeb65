package api

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"math"

	"civgate/gateway"
)

// cursor is a place in a list that is sorted by id, newest first: the rows on
// one side of an id. It stays right while rows come and go, as a page number
// does not.
type cursor struct {
	list  list
	newer bool  // the rows just above id, else those just below
	id    int64 // not itself among the rows
}

// list tells the lists apart, so that a cursor of one is refused by another.
type list byte

const (
	listContacts  list = 'u'
	listCompanies list = 'c'
	listEvents    list = 'E'
	listTags      list = 't'
	listProducts  list = 'p'
	listDeals     list = 'd'
)

// A cursor's text is the URL-safe base64 of: version, list, direction, id
// (8 bytes), CRC-32 of these. 15 bytes make 20 characters without padding. The
// sum finds what was cut or mistyped; a forged cursor shows its maker nothing
// but another place in the same list of the same workspace.
const (
	cursorVersion = 1
	cursorSize    = 15
)

var cursorText = base64.RawURLEncoding.Strict()

func (c cursor) String() string {
	var b [cursorSize]byte
	b[0], b[1] = cursorVersion, byte(c.list)
	if c.newer {
		b[2] = 1
	}
	binary.BigEndian.PutUint64(b[3:], uint64(c.id))
	binary.BigEndian.PutUint32(b[11:], crc32.ChecksumIEEE(b[:11]))
	return cursorText.EncodeToString(b[:])
}

var errCursor = &gateway.Error{Code: gateway.CodeInvalid, Field: "cursor", Message: "Invalid cursor. Follow the links of a page as they are."}

// parseCursor is the inverse of String. Anything else is a CodeInvalid for the
// field cursor.
func parseCursor(of list, s string) (cursor, error) {
	if len(s) != cursorText.EncodedLen(cursorSize) {
		return cursor{}, errCursor
	}
	b, err := cursorText.DecodeString(s)
	if err != nil || len(b) != cursorSize ||
		binary.BigEndian.Uint32(b[11:]) != crc32.ChecksumIEEE(b[:11]) ||
		b[0] != cursorVersion || list(b[1]) != of || b[2] > 1 {
		return cursor{}, errCursor
	}
	c := cursor{list: of, newer: b[2] == 1, id: int64(binary.BigEndian.Uint64(b[3:]))}
	if c.id < 0 || c.id == math.MaxInt64 {
		return cursor{}, errCursor
	}
	return c, nil
}
