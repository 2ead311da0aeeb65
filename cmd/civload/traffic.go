package main

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// traffic says who visits: everything about person n, company n and browser key n is a function of these few fields,
// so that a million payloads can be checked afterwards without having been remembered. Two runs never share a prefix
// or a key, so several may load one workspace.
type traffic struct {
	prefix     string // starts every user_id and company_id, and is in every e-mail's domain
	seed       uint64
	perCompany int64 // people of each company
	apiKey     []byte
	keyFactor  uint64
	keyInverse uint64
	keyOffset  uint64
}

// spread is the number of companies whose people arrive mixed with one another.
const spread = 100

// A visit is the content of one payload: who says what about themselves, from which browser.
type visit struct {
	person  int64 // whose attributes are sent; -1 for an anonymous page view
	userID  bool  // with person: send user_id
	email   bool  // with person: send the e-mail
	company int64 // -1: none
	key     int64 // number of the browser key
}

// newPrefix draws the prefix of a run.
func newPrefix() string {
	return "l" + string(appendBase36(nil, rand.Uint64()%keySpace)[5:])
}

func newTraffic(prefix string, seed uint64, perCompany int64, apiKey string) (*traffic, error) {
	quoted, err := json.Marshal(apiKey)
	if err != nil {
		return nil, fmt.Errorf("api key as JSON: %w", err)
	}
	t := &traffic{prefix: prefix, seed: seed, perCompany: perCompany, apiKey: quoted}
	// An odd factor that 3 doesn't divide has no common divisor with 36^12, so n -> n*factor+offset names every key
	// exactly once: keys of a run are scattered like random ones, never collide, and lead back to their number.
	t.keyFactor = mix(seed)%keySpace | 1
	for t.keyFactor%3 == 0 {
		t.keyFactor += 2
	}
	t.keyInverse = new(big.Int).ModInverse(new(big.Int).SetUint64(t.keyFactor), new(big.Int).SetUint64(keySpace)).Uint64()
	t.keyOffset = mix(seed+1) % keySpace
	return t, nil
}

// plain is the visit that the scenarios new, returning and mixed are made of: one person in their own browser.
func (t *traffic) plain(person int64) visit {
	return visit{person: person, userID: true, email: true, company: t.companyOf(person), key: person}
}

// companyOf tells the company of a person. People come in blocks of spread companies, and within a block each next
// person is of the next company.
func (t *traffic) companyOf(person int64) int64 {
	return person/(spread*t.perCompany)*spread + person%spread
}

// companiesOf bounds the companies of the first n people: each has a number below it.
func (t *traffic) companiesOf(n int64) int64 {
	return (n/(spread*t.perCompany) + 1) * spread
}

var (
	givenNames  = [...]string{"Anna", "Borys", "Chloé", "Daniel", "Ewa", "Filip", "Grace", "Hugo", "Inés", "Jan", "Kira", "Łukasz", "Marta", "Noor", "Olga", "Piotr"}
	familyNames = [...]string{"Adams", "Berg", "Costa", "Dąbrowska", "Evans", "Fischer", "Garcia", "Horvat", "Ivanova", "Jansen", "Kowalski", "Lind", "Moreau", "Nowak", "Okafor", "Popescu"}
	trades      = [...]string{"Freight", "Optics", "Software", "Foods", "Energy", "Textiles", "Robotics", "Books"}
	plans       = [...]string{"free", "team", "business", "enterprise"}
	countries   = [...]string{"PL", "DE", "US", "BR", "IN", "FR", "JP", "NG"}
	sections    = [...]string{"projects", "invoices", "reports", "settings", "inbox", "calendar", "contacts", "deals"}
)

func (t *traffic) appendUserID(b []byte, person int64) []byte {
	b = append(b, t.prefix...)
	b = append(b, "-u"...)
	return strconv.AppendInt(b, person, 10)
}

func (t *traffic) appendEmail(b []byte, person int64) []byte {
	b = append(b, 'p')
	b = strconv.AppendInt(b, person, 10)
	b = append(b, "@c"...)
	b = strconv.AppendInt(b, t.companyOf(person), 10)
	b = append(b, '.')
	b = append(b, t.prefix...)
	return append(b, ".example"...)
}

func (t *traffic) appendName(b []byte, person int64) []byte {
	h := mix(t.seed ^ uint64(person))
	b = append(b, givenNames[h%uint64(len(givenNames))]...)
	b = append(b, ' ')
	return append(b, familyNames[h>>8%uint64(len(familyNames))]...)
}

func (t *traffic) planOf(person int64) string {
	return plans[mix(t.seed^uint64(person))>>16%uint64(len(plans))]
}

func (t *traffic) appendCompanyID(b []byte, company int64) []byte {
	b = append(b, t.prefix...)
	b = append(b, "-c"...)
	return strconv.AppendInt(b, company, 10)
}

func (t *traffic) appendCompanyName(b []byte, company int64) []byte {
	h := mix(t.seed ^ uint64(company) ^ 0xc0)
	b = append(b, familyNames[h%uint64(len(familyNames))]...)
	b = append(b, ' ')
	b = append(b, trades[h>>8%uint64(len(trades))]...)
	b = append(b, ' ')
	return strconv.AppendInt(b, company, 10)
}

// appendPayload appends the JSON of v as the widget would send it for a page view at the given time. Only what is
// under "$" differs between two payloads of one visit. It allocates nothing when b has room.
func (t *traffic) appendPayload(b []byte, v visit, m *minter, now time.Time) []byte {
	b = append(b, `{"apiKey":`...)
	b = append(b, t.apiKey...)
	if v.person >= 0 {
		h := mix(t.seed ^ uint64(v.person))
		if v.userID {
			b = append(b, `,"user_id":"`...)
			b = t.appendUserID(b, v.person)
			b = append(b, '"')
		}
		if v.email {
			b = append(b, `,"email":"`...)
			b = t.appendEmail(b, v.person)
			b = append(b, '"')
		}
		b = append(b, `,"name":"`...)
		b = t.appendName(b, v.person)
		b = append(b, `","phone_number":"+48`...)
		b = strconv.AppendUint(b, 500_000_000+h%400_000_000, 10)
		b = append(b, `","gender":`...)
		b = strconv.AppendUint(b, 1+h>>24%3, 10)
		b = append(b, `,"status":2,"score":`...)
		b = strconv.AppendUint(b, h>>32%100, 10)
		b = append(b, `,"plan":"`...)
		b = append(b, t.planOf(v.person)...)
		b = append(b, `","signed_up":"2025-0`...)
		b = strconv.AppendUint(b, 1+h>>40%9, 10)
		b = append(b, '-')
		b = strconv.AppendUint(b, 10+h>>48%18, 10)
		b = append(b, '"')
	}
	if v.company >= 0 {
		h := mix(t.seed ^ uint64(v.company) ^ 0xc0)
		b = append(b, `,"company":{"company_id":"`...)
		b = t.appendCompanyID(b, v.company)
		b = append(b, `","name":"`...)
		b = t.appendCompanyName(b, v.company)
		b = append(b, `","seats":`...)
		b = strconv.AppendUint(b, 5+h>>16%500, 10)
		b = append(b, `,"revenue":"$`...)
		b = strconv.AppendUint(b, 1+h>>32%900, 10)
		b = append(b, ` million","country":"`...)
		b = append(b, countries[h>>24%uint64(len(countries))]...)
		b = append(b, `"}`...)
	}
	b = append(b, `,"$":{"id":"`...)
	b, page := m.appendID(b, now)
	b = append(b, `","key":"`...)
	b = t.appendKey(b, v.key)
	b = append(b, `","at":"`...)
	b = now.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	b = append(b, `","type":"page","url":"https://app.`...)
	b = append(b, t.prefix...)
	b = append(b, ".example/"...)
	section := sections[page%uint64(len(sections))]
	b = append(b, section...)
	b = append(b, '/')
	b = strconv.AppendUint(b, page>>8%10_000, 10)
	b = append(b, `?tab=`...)
	b = strconv.AppendUint(b, page>>24%8, 10)
	b = append(b, `","path":"/`...)
	b = append(b, section...)
	b = append(b, '/')
	b = strconv.AppendUint(b, page>>8%10_000, 10)
	b = append(b, `","title":"`...)
	b = append(b, section...)
	b = append(b, " – Example"...)
	b = append(b, `","referrer":"https://app.`...)
	b = append(b, t.prefix...)
	return append(b, `.example/home"}}`...)
}

// personOf reads a user_id of this run back to the number of its person.
func (t *traffic) personOf(userID string) (int64, bool) {
	rest, ok := strings.CutPrefix(userID, t.prefix+"-u")
	if !ok {
		return 0, false
	}
	return parseIndex(rest)
}

// personOfEmail reads an e-mail of this run back to the number of its person.
func (t *traffic) personOfEmail(email string) (int64, bool) {
	local, domain, ok := strings.Cut(email, "@")
	if !ok || !strings.HasSuffix(domain, "."+t.prefix+".example") || !strings.HasPrefix(local, "p") {
		return 0, false
	}
	return parseIndex(local[1:])
}

// companyNumber reads a company_id of this run back to the number of its company.
func (t *traffic) companyNumber(companyID string) (int64, bool) {
	rest, ok := strings.CutPrefix(companyID, t.prefix+"-c")
	if !ok {
		return 0, false
	}
	return parseIndex(rest)
}

func parseIndex(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	// Only the spelling that this tool writes is its own: "007" or "+7" came from somewhere else.
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == s
}

// keySpace is the number of browser keys of 12 characters a-z0-9 (contract section 1.4): 36^12.
const keySpace = 4738381338321616896

func (t *traffic) appendKey(b []byte, n int64) []byte {
	hi, lo := bits.Mul64(uint64(n)%keySpace, t.keyFactor)
	lo, carry := bits.Add64(lo, t.keyOffset, 0)
	_, v := bits.Div64(hi+carry, lo, keySpace)
	return appendBase36(b, v)
}

// keyNumber reads a key back to its number; a key that isn't of this run leads to a number far beyond any in use.
func (t *traffic) keyNumber(key string) (int64, bool) {
	if len(key) != 12 {
		return 0, false
	}
	v, err := strconv.ParseUint(key, 36, 64)
	if err != nil || v >= keySpace {
		return 0, false
	}
	hi, lo := bits.Mul64((v+keySpace-t.keyOffset)%keySpace, t.keyInverse)
	_, n := bits.Div64(hi, lo, keySpace)
	return int64(n), true
}

func appendBase36(b []byte, v uint64) []byte {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	var out [12]byte
	for i := range out {
		out[len(out)-1-i] = digits[v%36]
		v /= 36
	}
	return append(b, out[:]...)
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that makes neighbours look unrelated.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// A minter makes message ids. It is not safe for concurrent use.
type minter struct {
	random *rand.PCG
}

func newMinter() minter {
	return minter{random: rand.NewPCG(rand.Uint64(), rand.Uint64())}
}

// appendID appends a UUID of version 7 (RFC 9562 section 5.7, with the fraction of the millisecond in rand_a as section
// 6.2 method 3 has it), and returns some of its random bits, for choices that need no better.
func (m *minter) appendID(b []byte, now time.Time) ([]byte, uint64) {
	ns := uint64(now.UnixNano())
	ms, fraction := ns/1e6, ns%1e6
	random := m.random.Uint64()
	hi := ms<<16 | 7<<12 | fraction*4096/1e6
	lo := 1<<63 | random>>2
	b = appendHex(b, hi>>32, 8)
	b = append(b, '-')
	b = appendHex(b, hi>>16&0xffff, 4)
	b = append(b, '-')
	b = appendHex(b, hi&0xffff, 4)
	b = append(b, '-')
	b = appendHex(b, lo>>48, 4)
	b = append(b, '-')
	return appendHex(b, lo&0xffff_ffff_ffff, 12), random
}

func appendHex(b []byte, v uint64, width int) []byte {
	const digits = "0123456789abcdef"
	for shift := (width - 1) * 4; shift >= 0; shift -= 4 {
		b = append(b, digits[v>>shift&15])
	}
	return b
}
