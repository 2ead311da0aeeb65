package store

import (
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// fastArrays teaches a connection to send []string, []int64, []bool and
// [][16]byte as arrays without asking the driver about each element, which makes
// an allocation for nearly every value that a batch writes.
func fastArrays(c *pgx.Conn) error {
	for array, element := range map[uint32]uint32{
		pgtype.TextArrayOID: pgtype.TextOID,
		pgtype.Int8ArrayOID: pgtype.Int8OID,
		pgtype.BoolArrayOID: pgtype.BoolOID,
		pgtype.UUIDArrayOID: pgtype.UUIDOID,
	} {
		known, ok := c.TypeMap().TypeForOID(array)
		if !ok {
			return fmt.Errorf("the driver does not know type %d", array)
		}
		codec, ok := known.Codec.(*pgtype.ArrayCodec)
		if !ok {
			return fmt.Errorf("the driver takes type %s for a %T", known.Name, known.Codec)
		}
		c.TypeMap().RegisterType(&pgtype.Type{Name: known.Name, OID: array, Codec: arrayCodec{codec, element}})
	}
	return nil
}

// arrayCodec is the driver's, but for what fastArrays names.
type arrayCodec struct {
	*pgtype.ArrayCodec
	element uint32
}

// PlanEncode implements pgtype.Codec.
func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if format == pgtype.BinaryFormatCode {
		var element uint32
		switch value.(type) {
		case []string:
			element = pgtype.TextOID
		case []int64:
			element = pgtype.Int8OID
		case []bool:
			element = pgtype.BoolOID
		case [][16]byte:
			element = pgtype.UUIDOID
		}
		if element == c.element {
			return arrayPlan(element)
		}
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

// arrayPlan writes arrays of an element type in the server's binary form: the
// number of dimensions, whether there are NULLs, the element type, length and
// lower bound of the one dimension, then length and bytes of each element.
type arrayPlan uint32

// Encode implements pgtype.EncodePlan.
func (p arrayPlan) Encode(value any, buf []byte) ([]byte, error) {
	u32 := binary.BigEndian.AppendUint32
	head := func(n int) {
		dimensions := uint32(1)
		if n == 0 {
			dimensions = 0
		}
		buf = u32(u32(u32(buf, dimensions), 0), uint32(p))
		if n > 0 {
			buf = u32(u32(buf, uint32(n)), 1)
		}
	}
	switch all := value.(type) {
	case []string:
		head(len(all))
		for _, v := range all {
			buf = append(u32(buf, uint32(len(v))), v...)
		}
	case []int64:
		head(len(all))
		for _, v := range all {
			buf = binary.BigEndian.AppendUint64(u32(buf, 8), uint64(v))
		}
	case []bool:
		head(len(all))
		for _, v := range all {
			b := byte(0)
			if v {
				b = 1
			}
			buf = append(u32(buf, 1), b)
		}
	case [][16]byte:
		head(len(all))
		for i := range all {
			buf = append(u32(buf, 16), all[i][:]...)
		}
	default:
		return nil, fmt.Errorf("no plan for a %T", value)
	}
	return buf, nil
}
