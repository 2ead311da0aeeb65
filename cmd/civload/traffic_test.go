package main

import (
	"encoding/json"
	"regexp"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func TestPayloadIsWhatTheWidgetSends(t *testing.T) {
	t.Parallel()
	tr := testTraffic(t)
	m := newMinter()
	now := time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)
	b := tr.appendPayload(nil, tr.plain(1234), &m, now)
	if len(b) < 450 || len(b) > 750 {
		t.Errorf("payload of %d bytes is far from a real one:\n%s", len(b), b)
	}
	var got struct {
		APIKey  string `json:"apiKey"`
		UserID  string `json:"user_id"`
		Email   string
		Name    string
		Phone   string `json:"phone_number"`
		Gender  int
		Plan    string
		Day     string `json:"signed_up"`
		Company struct {
			ID   string `json:"company_id"`
			Name string
		}
		Envelope struct {
			ID   string
			Key  string
			At   time.Time
			Type string
			URL  string
			Path string
		} `json:"$"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	if got.APIKey != "A1B2C3" || got.Envelope.Type != "page" || !got.Envelope.At.Equal(now) {
		t.Errorf("unexpected content: %+v", got)
	}
	if n, ok := tr.personOf(got.UserID); !ok || n != 1234 {
		t.Errorf("user_id %q leads to %d, %v", got.UserID, n, ok)
	}
	if n, ok := tr.personOfEmail(got.Email); !ok || n != 1234 {
		t.Errorf("e-mail %q leads to %d, %v", got.Email, n, ok)
	}
	if n, ok := tr.companyNumber(got.Company.ID); !ok || n != tr.companyOf(1234) {
		t.Errorf("company_id %q leads to %d, %v, want %d", got.Company.ID, n, ok, tr.companyOf(1234))
	}
	if n, ok := tr.keyNumber(got.Envelope.Key); !ok || n != 1234 {
		t.Errorf("key %q leads to %d, %v", got.Envelope.Key, n, ok)
	}
	if !regexp.MustCompile(`^\+48[5-9]\d{8}$`).MatchString(got.Phone) || got.Gender < 1 || got.Gender > 3 {
		t.Errorf("phone %q or gender %d is out of its form", got.Phone, got.Gender)
	}
	if _, err := time.Parse(time.DateOnly, got.Day); err != nil {
		t.Errorf("signed_up: %v", err)
	}
	id, err := uuid.Parse(got.Envelope.ID)
	if err != nil || id.Version() != 7 || id.Variant() != uuid.RFC4122 {
		t.Fatalf("message id %q is no UUID of version 7: %v", got.Envelope.ID, err)
	}
	if sec, ns := id.Time().UnixTime(); !time.Unix(sec, ns).Truncate(time.Millisecond).Equal(now) {
		t.Errorf("message id is of %v, want %v", time.Unix(sec, ns).UTC(), now)
	}
}

func TestAnonymousPayloadNamesNobody(t *testing.T) {
	t.Parallel()
	tr := testTraffic(t)
	m := newMinter()
	var got map[string]any
	if err := json.Unmarshal(tr.appendPayload(nil, visit{person: -1, company: -1, key: 7}, &m, time.Now()), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "apiKey")
	delete(got, "$")
	if len(got) != 0 {
		t.Errorf("an anonymous payload says %v", got)
	}
}

// A returning person's payload must be the same up to "$", or the server would rightly see a change.
func TestReturningPayloadIsUnchanged(t *testing.T) {
	t.Parallel()
	tr := testTraffic(t)
	m := newMinter()
	ids := map[string]bool{}
	var first string
	for i := range 100 {
		var got map[string]any
		if err := json.Unmarshal(tr.appendPayload(nil, tr.plain(5), &m, time.Now()), &got); err != nil {
			t.Fatal(err)
		}
		ids[got["$"].(map[string]any)["id"].(string)] = true
		delete(got, "$")
		b, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = string(b)
		} else if string(b) != first {
			t.Fatalf("payload changed from %s to %s", first, b)
		}
	}
	if len(ids) != 100 {
		t.Errorf("%d message ids for 100 payloads", len(ids))
	}
}

func TestMessageIDsSortByTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newMinter()
		at := time.Unix(0, rapid.Int64Range(0, 1<<62).Draw(t, "at"))
		// rand_a holds 12 bits of a millisecond: two moments further apart than 1/4096 ms are told apart.
		later := at.Add(time.Duration(rapid.Int64Range(245, 1e9).Draw(t, "step")))
		a, _ := m.appendID(nil, at)
		b, _ := m.appendID(nil, later)
		if string(a[:18]) > string(b[:18]) {
			t.Fatalf("%s of %v sorts behind %s of %v", a, at, b, later)
		}
	})
}

func TestKeysLeadBackToTheirNumber(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[a-z0-9]{12}$`)
	rapid.Check(t, func(t *rapid.T) {
		tr, err := newTraffic("x", rapid.Uint64().Draw(t, "seed"), 10, "k")
		if err != nil {
			t.Fatal(err)
		}
		n := rapid.Int64Range(0, keySpace-1).Draw(t, "n")
		key := string(tr.appendKey(nil, n))
		if got, ok := tr.keyNumber(key); !ok || got != n || !form.MatchString(key) {
			t.Fatalf("key %q of %d leads to %d, %v", key, n, got, ok)
		}
	})
}

func TestEveryCompanyHasItsPeople(t *testing.T) {
	t.Parallel()
	for _, perCompany := range []int64{1, 3, 10} {
		tr, err := newTraffic("x", 1, perCompany, "k")
		if err != nil {
			t.Fatal(err)
		}
		const blocks = 4
		people := map[int64]int64{}
		total := blocks * spread * perCompany
		for i := range total {
			c := tr.companyOf(i)
			if c < 0 || c >= tr.companiesOf(i+1) {
				t.Fatalf("company %d of person %d is beyond companiesOf = %d", c, i, tr.companiesOf(i+1))
			}
			people[c]++
		}
		if len(people) != blocks*spread {
			t.Errorf("%d per company: %d companies, want %d", perCompany, len(people), blocks*spread)
		}
		for c, n := range people {
			if n != perCompany {
				t.Errorf("company %d has %d people, want %d", c, n, perCompany)
			}
		}
	}
}

func TestForeignNamesAreNotOurs(t *testing.T) {
	t.Parallel()
	tr := testTraffic(t)
	for _, s := range []string{"", "42", "other-u1", tr.prefix + "-u", tr.prefix + "-u01", tr.prefix + "-u+1", tr.prefix + "-u-1", tr.prefix + "-c1"} {
		if n, ok := tr.personOf(s); ok {
			t.Errorf("user_id %q was taken for person %d", s, n)
		}
	}
	for _, s := range []string{"", "p1", "p1@c1.other.example", "x1@c1." + tr.prefix + ".example"} {
		if n, ok := tr.personOfEmail(s); ok {
			t.Errorf("e-mail %q was taken for person %d", s, n)
		}
	}
	for _, s := range []string{"", "short", "ABCDEFGHIJK!", "zzzzzzzzzzzzz"} {
		if n, ok := tr.keyNumber(s); ok {
			t.Errorf("key %q was taken for number %d", s, n)
		}
	}
}

func TestBuildingAPayloadAllocatesNothing(t *testing.T) {
	tr := testTraffic(t)
	m := newMinter()
	b := make([]byte, 0, 4096)
	now := time.Now()
	n := int64(0)
	if got := testing.AllocsPerRun(1000, func() {
		n++
		b = tr.appendPayload(b[:0], tr.plain(n), &m, now)
	}); got != 0 {
		t.Errorf("%v allocations a payload, want none", got)
	}
}

func BenchmarkPayload(b *testing.B) {
	tr := testTraffic(b)
	m := newMinter()
	buf := make([]byte, 0, 4096)
	n := int64(0)
	for b.Loop() {
		n++
		buf = tr.appendPayload(buf[:0], tr.plain(n), &m, time.Now())
	}
	b.SetBytes(int64(len(buf)))
}
