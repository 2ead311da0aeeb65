package api

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strconv"
	"time"

	"civgate/gateway"
)

// This file owns who is an employee of which company, as clients tell and ask it: what
// their bodies name, and the pages of members.
//
// Decisions
//
//   - Whom a body names and who is nobody is a 400 of the field, as Django REST framework
//     has it for related objects. A 404 is for the path alone: a client that gets one for
//     add_member creates the company anew.
//   - An internal and an own id may come together, and the one that exists wins, the
//     internal one first: clients remember internal ids of contacts that have since been
//     deleted and made anew.
//   - In version 1, company_id names a company by its own id, in version 2 by the internal
//     one, here as in the bodies of contacts.
//   - The members of a company are read forth only, newest first, by what they are sorted
//     by, so pages stay right while members come and go. count of the former ones is that
//     of a filtered list: nobody needs the number enough to count them for each page.

// whom is a contact that a body names.
type whom struct {
	id       int64 // internal, if idField is set; 0 is nobody
	idField  string
	own      string // own id, if ownField is set
	ownField string
}

// whom reads user_id (or client, the older name) and user_custom_id (or custom_id). One
// that is given alone has to be a right one.
func (f fields) whom() (w whom, err error) {
	for _, name := range []string{"user_id", "client"} {
		if f.has(name) {
			w.idField = name
			w.id, err = f.id(name)
			break
		}
	}
	for _, name := range []string{"user_custom_id", "custom_id"} {
		own, ownErr := f.text(name, gateway.MaxID)
		switch {
		case !f.has(name):
			continue
		case ownErr == nil && err != nil:
			w.id, w.idField, err = 0, "", nil // the other one will do
		case ownErr != nil && w.idField == "":
			err = ownErr
		}
		if ownErr == nil {
			w.own, w.ownField = own, name
		}
		break
	}
	if err == nil && w.idField == "" && w.ownField == "" {
		err = invalid("user_id", textRequired)
	}
	return w, err
}

// find finds the contact, a CodeInvalid of the field if it is nobody.
func (w whom) find(e *gateway.Editor) (gateway.ContactID, error) {
	if w.idField != "" && w.id != 0 {
		id, err := e.Contact(gateway.ContactID(w.id))
		if !gateway.IsNotFound(err) {
			return id, err
		}
	}
	if w.ownField != "" {
		id, err := e.ContactByCustomID(w.own)
		if !gateway.IsNotFound(err) {
			return id, err
		}
		return 0, invalid(w.ownField, noObjectOf(w.own))
	}
	return 0, invalid(w.idField, noObject(w.id))
}

// noObject is Django REST framework's text for an internal id that nothing has.
func noObject(id int64) string { return fmt.Sprintf(`Invalid pk "%d" - object does not exist.`, id) }

// noObjectOf is the one for an own id.
func noObjectOf(id string) string { return fmt.Sprintf("Object with custom_id=%s does not exist.", id) }

// changeMember changes the membership of the contact in the body at the company of the
// path, and answers with the company.
func changeMember(target targetCompany, change func(e *gateway.Editor, company gateway.CompanyID, contact gateway.ContactID) error) writeHandler {
	return func(r *request) (operation, error) {
		f, err := r.fields()
		if err != nil {
			return nil, err
		}
		who, err := f.whom()
		return func(e *gateway.Editor) (answer, error) {
			company, err := target(r, e)
			if err != nil {
				return answer{}, err
			}
			contact, err := who.find(e)
			if err != nil {
				return answer{}, err
			}
			return answer{status: http.StatusOK, company: company}, change(e, company, contact)
		}, err
	}
}

// addMember answers POST …/add_member/.
func addMember(target targetCompany) writeHandler {
	return changeMember(target, (*gateway.Editor).AddMember)
}

// removeMember answers POST and DELETE of …/remove_member/.
func removeMember(target targetCompany) writeHandler {
	return changeMember(target, (*gateway.Editor).RemoveMember)
}

// setPrimaryCompany answers POST …/set_primary_company/, which is ours, with the
// contact. The body names one of their companies by company_id or company_custom_id.
func setPrimaryCompany(target targetContact) writeHandler {
	return func(r *request) (operation, error) {
		f, err := r.fields()
		if err != nil {
			return nil, err
		}
		patch, err := gateway.ParseContactPatch(slices.DeleteFunc(f, func(x gateway.Field) bool {
			return x.Name != "company_id" && x.Name != "company_custom_id"
		}), r.version == v2)
		if err != nil {
			return nil, err
		}
		if len(patch.Companies) == 0 {
			return nil, invalid("company_id", textRequired)
		}
		return func(e *gateway.Editor) (answer, error) {
			contact, err := target(r, e)
			if err != nil {
				return answer{}, err
			}
			company, field, err := firstCompany(e, patch.Companies)
			if err != nil {
				return answer{}, err
			}
			err = e.SetPrimaryCompany(contact, company)
			if gateway.IsNotFound(err) {
				err = invalid(field, "The contact is no employee of this company.")
			}
			return answer{status: http.StatusOK, contact: contact}, err
		}, nil
	}
}

// firstCompany returns the first of refs, which are not empty, that exists, and the
// field that named it.
func firstCompany(e *gateway.Editor, refs []gateway.CompanyRef) (id gateway.CompanyID, field string, err error) {
	for _, ref := range refs {
		if ref.ID != 0 {
			id, err = e.Company(ref.ID)
		} else {
			id, err = e.CompanyByCustomID(ref.CustomID)
		}
		if !gateway.IsNotFound(err) {
			return id, ref.Field, err
		}
	}
	if ref := refs[0]; ref.ID != 0 {
		return 0, "", invalid(ref.Field, noObject(int64(ref.ID)))
	}
	return 0, "", invalid(refs[0].Field, noObjectOf(refs[0].CustomID))
}

// memberV1 and memberV2 are an employee as the members of a company show them; ours.
type memberV1 struct {
	ID     gateway.ContactID `json:"id"`
	UserID *string           `json:"user_id"`
	memberFields
}

type memberV2 struct {
	ID       gateway.ContactID `json:"id"`
	CustomID *string           `json:"custom_id"`
	memberFields
}

type memberFields struct {
	Email       *string        `json:"email"`
	Name        *string        `json:"name"`
	Source      gateway.Source `json:"source"`
	MemberSince stamp          `json:"member_since"`
	Until       stamp          `json:"until"`
	Primary     bool           `json:"primary"`
}

func memberShape(v version, m *gateway.MemberView) any {
	f := memberFields{orNull(m.Email), orNull(m.Name), m.Source, stamp(m.Since), stamp(m.Until), m.Primary}
	if v == v1 {
		return memberV1{m.ContactID, orNull(m.CustomID), f}
	}
	return memberV2{m.ContactID, orNull(m.CustomID), f}
}

// members answers GET …/members/ with the employees of the company, or with
// former=true with those whose membership has ended, by when it began, newest first.
func (s *Server) members(find findCompany) restHandler {
	return func(r *request) error {
		former := false
		if text := r.QueryParam("former"); text != "" {
			var err error
			if former, err = strconv.ParseBool(text); err != nil {
				return invalid("former", "Must be a valid boolean.")
			}
		}
		limit, err := r.limit()
		if err != nil {
			return err
		}
		skip := 0
		at := memberCursor{former: former}
		if text := r.QueryParam("cursor"); text != "" {
			at, err = parseMemberCursor(former, text)
		} else {
			skip, err = r.skip(limit)
		}
		if err != nil {
			return err
		}
		company, err := find(r)
		if err != nil {
			return err
		}
		rows, err := s.readMembers(r, company.ID, at, skip, limit+1)
		if err != nil {
			return err
		}
		var p page
		if len(rows) > limit {
			rows = rows[:limit]
			last := &rows[limit-1]
			p.Next = s.linkTo(r, "cursor", memberCursor{former, last.Since, last.ContactID}.String())
		}
		if p.countFiltered(len(rows)); !former {
			p.Count = company.EmployeesCount
		}
		p.Results = make([]any, len(rows))
		for i := range rows {
			p.Results[i] = memberShape(r.version, &rows[i])
		}
		return writeJSON(r, http.StatusOK, p)
	}
}

// readMembers reads up to limit members behind the place at, leaving out the first
// skip. It is errNotFound if there are none behind those that are left out.
func (s *Server) readMembers(r *request, id gateway.CompanyID, at memberCursor, skip, limit int) ([]gateway.MemberView, error) {
	const step = 1000
	for left := skip; ; {
		n := limit
		if left > 0 {
			n = min(left, step)
		}
		rows, err := s.reader.Members(r.Request().Context(), r.workspace.ID, id, gateway.MemberQuery{
			Former: at.former, BeforeSince: at.since, BeforeContact: at.contact, Limit: n,
		})
		switch {
		case err != nil:
			return nil, err
		case len(rows) == 0 && skip > 0:
			return nil, errNotFound
		case left == 0:
			return rows, nil
		}
		last := &rows[len(rows)-1]
		at.since, at.contact = last.Since, last.ContactID
		left -= len(rows)
	}
}

// memberCursor is a place among the members of a company: behind the one whose
// membership began then. The zero place is the start.
type memberCursor struct {
	former  bool
	since   time.Time
	contact gateway.ContactID
}

// Its text is made like that of a cursor: version, list, whether former, since in
// microseconds and contact (8 bytes each), CRC-32. 23 bytes make 31 characters.
const memberCursorSize = 23

const listMembers list = 'm'

func (c memberCursor) String() string {
	var b [memberCursorSize]byte
	b[0], b[1] = cursorVersion, byte(listMembers)
	if c.former {
		b[2] = 1
	}
	binary.BigEndian.PutUint64(b[3:], uint64(c.since.UnixMicro()))
	binary.BigEndian.PutUint64(b[11:], uint64(c.contact))
	binary.BigEndian.PutUint32(b[19:], crc32.ChecksumIEEE(b[:19]))
	return cursorText.EncodeToString(b[:])
}

// parseMemberCursor is the inverse of String, for the current or the former members.
// Anything else is a CodeInvalid for the field cursor.
func parseMemberCursor(former bool, s string) (memberCursor, error) {
	if len(s) != cursorText.EncodedLen(memberCursorSize) {
		return memberCursor{}, errCursor
	}
	b, err := cursorText.DecodeString(s)
	if err != nil || len(b) != memberCursorSize ||
		binary.BigEndian.Uint32(b[19:]) != crc32.ChecksumIEEE(b[:19]) ||
		b[0] != cursorVersion || list(b[1]) != listMembers || b[2] > 1 || (b[2] == 1) != former {
		return memberCursor{}, errCursor
	}
	c := memberCursor{
		former:  former,
		since:   time.UnixMicro(int64(binary.BigEndian.Uint64(b[3:]))).UTC(),
		contact: gateway.ContactID(binary.BigEndian.Uint64(b[11:])),
	}
	if c.contact < 1 || c.since.Year() < 1 || c.since.Year() > 9999 {
		return memberCursor{}, errCursor
	}
	return c, nil
}
