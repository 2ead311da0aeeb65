package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"go.uber.org/zap/zaptest"

	"civgate/gateway"
	"civgate/gateway/api"
	"civgate/gateway/cache"
	"civgate/gateway/inbox"
	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// The tokens of the two workspaces of a world.
const (
	acmeToken  = "acme-token-0123456789012345678901234567890123456789012345678901"
	otherToken = "other-token-012345678901234567890123456789012345678901234567890"
)

// world is a server on a store with two workspaces; the first holds the people
// of people(), the second nobody.
type world struct {
	store   *store.Store
	gateway *gateway.Gateway
	acme    gateway.WorkspaceID
	other   gateway.WorkspaceID
	now     time.Time // of the gateway's clock
	echo    *echo.Echo
	t       testing.TB
}

// now is the time at which the workspaces of a world were made.
var now = time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC)

func newWorld(t testing.TB, trusted ...netip.Prefix) *world {
	t.Helper()
	return newWorldOn(t, filepath.Join(t.TempDir(), "civgate.db"), trusted...)
}

// newWorldOn is newWorld on a database of its own.
func newWorldOn(t testing.TB, database string, trusted ...netip.Prefix) *world {
	t.Helper()
	s, err := store.Open(context.Background(), database)
	if err != nil {
		t.Fatal(err)
	}
	in, err := inbox.Open(context.Background(), filepath.Join(t.TempDir(), "inbox"), 0, inbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	w := &world{store: s, now: now, echo: echo.New(), t: t}
	w.acme = w.workspace(t, "acme", acmeToken)
	w.other = w.workspace(t, "other", otherToken)
	log := zaptest.NewLogger(t)
	w.gateway = gateway.New(gateway.Config{Store: s, Inbox: in, Cache: cache.New(1000), Log: log, Now: func() time.Time { return w.now }})
	srv := api.New(api.Settings{Reader: s, Editor: w.gateway, Log: log, TrustedProxies: trusted})
	srv.Mount(w.echo)
	return w
}

// onBoth runs a test in a new world on SQLite and in one on PostgreSQL.
func onBoth(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newWorld(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newWorldOn(t, pgtest.Shared(t).NewDatabase(t)))
	})
}

func (w *world) workspace(t testing.TB, name, token string) gateway.WorkspaceID {
	t.Helper()
	id, err := w.store.CreateWorkspace(context.Background(),
		gateway.Workspace{Name: name, CreatedAt: now, Settings: gateway.DefaultSettings()},
		gateway.APIKey{Kind: gateway.KeyREST, Secret: hashed(token), CreatedAt: now},
		gateway.APIKey{Kind: gateway.KeyWidget, Secret: name + "Key", CreatedAt: now})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// hashed is what a store keeps of a REST token.
func hashed(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// save writes changes as the applier does; ids of the kinds are set aside
// first, so that they begin with 1.
func (w *world) save(t testing.TB, id gateway.WorkspaceID, c *gateway.Changes) {
	t.Helper()
	err := w.store.Update(context.Background(), func(tx gateway.Tx) error {
		for kind, n := range map[gateway.IDKind]int{
			gateway.IDContact: len(c.NewContacts), gateway.IDCompany: len(c.NewCompanies), gateway.IDAttribute: len(c.NewDefs),
		} {
			if n == 0 {
				continue
			}
			if _, err := tx.NextIDs(kind, n); err != nil {
				return err
			}
		}
		return tx.Save(id, c)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// scenario is one request and what the answer must be.
type scenario struct {
	name    string
	method  string // GET if empty
	path    string // below /api/public
	token   string // "Token <acmeToken>" if empty, none if "-"
	header  map[string]string
	body    string // JSON unless header says otherwise
	status  int    // 200 if 0
	golden  string
	want    string // exact body, where there is no golden file
	contain []string
	without []string
	answer  map[string]string // headers of the answer; "" for none
}

func (w *world) run(t *testing.T, scenarios []scenario) {
	t.Helper()
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			w.check(t, sc)
		})
	}
}

func (w *world) check(t *testing.T, sc scenario) {
	t.Helper()
	rec := w.do(sc)
	body := rec.Body.String()
	if want := max(sc.status, http.StatusOK); rec.Code != want {
		t.Fatalf("%s: status %d, want %d; body %s", sc.path, rec.Code, want, body)
	}
	if sc.golden != "" {
		golden(t, sc.golden, rec.Body.Bytes())
	} else if sc.want != "" {
		if diff := cmp.Diff(sc.want, body); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
	}
	for _, s := range sc.contain {
		if !strings.Contains(body, s) {
			t.Errorf("body lacks %s:\n%s", s, body)
		}
	}
	for _, s := range sc.without {
		if strings.Contains(body, s) {
			t.Errorf("body has %s:\n%s", s, body)
		}
	}
	for name, want := range sc.answer {
		if got := rec.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// do makes the request. The path goes through the same parser as a request from
// the network, so it may hold what clients forget to escape.
func (w *world) do(sc scenario) *httptest.ResponseRecorder {
	method := sc.method
	if method == "" {
		method = http.MethodGet
	}
	req := httptest.NewRequest(method, "/api/public"+sc.path, nil)
	if sc.body != "" {
		req = httptest.NewRequest(method, "/api/public"+sc.path, strings.NewReader(sc.body))
		req.Header.Set("Content-Type", "application/json")
	}
	switch sc.token {
	case "":
		req.Header.Set("Authorization", "Token "+acmeToken)
	case "-":
	default:
		req.Header.Set("Authorization", sc.token)
	}
	for name, value := range sc.header {
		req.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	w.echo.ServeHTTP(rec, req)
	api.CheckExchange(w.t, w.echo, req, sc.body, rec)
	return rec
}

// golden compares a JSON body, indented, with testdata/name.golden.json.
// Indenting keeps the order of the fields and the text of numbers.
func golden(t *testing.T, name string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, body, "", "  "); err != nil {
		t.Fatalf("body is no JSON: %v\n%s", err, body)
	}
	b.WriteByte('\n')
	path := filepath.Join("testdata", name+".golden.json")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

var inV2 = map[string]string{"Accept": "*/*; version=2"}

// attrs makes a bag of names and values.
func attrs(pairs ...any) gateway.Attributes {
	var a gateway.Attributes
	for i := 0; i < len(pairs); i += 2 {
		a.Set(pairs[i].(string), pairs[i+1].(gateway.Value))
	}
	return a
}

func text(s string) gateway.Value { return gateway.TextValue(s) }

// at is a time on the day of the world, in microseconds behind the second.
func at(hour, minute, second, micros int) time.Time {
	return time.Date(2026, 11, 21, hour, minute, second, micros*1000, time.UTC)
}

// people fills the first workspace:
//
//	1 Ada       everything there is, employee of Acme (primary) and Globex
//	2 e-mail    known by e-mail only, which she shares with 1
//	3 visitor   nothing but a key
//	4 names     first and last name, ended at Acme
//	5 alias     merged into 1, with an older page view
//	6 awkward   a custom id that must be escaped in a path
func (w *world) people(t testing.TB) {
	t.Helper()
	if err := w.store.Update(t.Context(), func(tx gateway.Tx) error {
		for _, kind := range []gateway.IDKind{gateway.IDList, gateway.IDSegment} {
			if id, err := tx.NextIDs(kind, 1); err != nil || id != 1 {
				return fmt.Errorf("id of the first %s: %d, %w", kind, id, err)
			}
		}
		if err := tx.SaveList(gateway.List{ID: 1, WorkspaceID: w.acme, Name: "Readers of Acme"}); err != nil {
			return err
		}
		return tx.SaveSegment(gateway.Segment{ID: 1, WorkspaceID: w.acme, Name: "At Acme", Filter: "status=user"})
	}); err != nil {
		t.Fatal(err)
	}
	contact := func(id gateway.ContactID, hour int, c gateway.Contact) *gateway.Contact {
		c.ID, c.WorkspaceID = id, w.acme
		c.CreatedAt, c.UpdatedAt = at(hour, 0, 0, 100), at(hour, 30, 0, 0)
		return &c
	}
	def := func(id gateway.AttributeID, of gateway.Entity, name, label string, typ gateway.Type, description string) gateway.AttributeDef {
		return gateway.AttributeDef{ID: id, WorkspaceID: w.acme, Entity: of, Name: name, Label: label, Type: typ, Description: description, CreatedAt: at(8, 0, 0, 0)}
	}
	view := func(id gateway.ContactID, key string, when time.Time, path string) gateway.PageView {
		return gateway.PageView{WorkspaceID: w.acme, ContactID: id, Key: key, At: when, URL: "https://shop.test" + path, Path: path, Title: "Shop <&>", Referrer: ""}
	}
	w.save(t, w.acme, &gateway.Changes{
		NewDefs: []gateway.AttributeDef{
			def(1, gateway.EntityContact, "plan", "Plan", gateway.TypeText, "What they pay for"),
			def(2, gateway.EntityContact, "visits_per_week", "Visits per week", gateway.TypeNumber, ""),
			def(3, gateway.EntityContact, "is_pro", "is_pro", gateway.TypeBool, ""),
			def(4, gateway.EntityContact, "birthday", "birthday", gateway.TypeDate, ""),
			def(5, gateway.EntityContact, "date_attr", "date_attr", gateway.TypeDatetime, ""),
			def(6, gateway.EntityContact, "interests", "interests", gateway.TypeList, ""),
			def(7, gateway.EntityContact, "utm", "utm", gateway.TypeJSON, ""),
			def(8, gateway.EntityContact, "custom_created_at", "created_at", gateway.TypeText, ""),
			def(9, gateway.EntityCompany, "revenue", "revenue", gateway.TypeText, ""),
			def(10, gateway.EntityCompany, "employees", "Employees", gateway.TypeNumber, ""),
			def(11, gateway.EntityCompany, "plan", "Company plan", gateway.TypeText, ""),
		},
		NewCompanies: []*gateway.Company{
			{ID: 1, WorkspaceID: w.acme, CustomID: "c7", Name: "Acme", CreatedAt: at(9, 0, 0, 1), UpdatedAt: at(9, 0, 0, 2), Attributes: attrs(
				"address", text("1 Main Street"), "approx_employees", gateway.IntValue(40), "city", text("Łódź"), "country", text("Poland"),
				"description", text("Makes <everything> & more"), "email", text("hello@acme.test"), "employees", gateway.IntValue(32),
				"phone_numbers", gateway.ListValue("+48123456789", "+48987654321"), "plan", text("gold"), "postal_code", text("90-001"),
				"region", text("Łódzkie"), "revenue", text("$239.9 billion"), "size", text("11-50"), "tags", gateway.ListValue("vip"))},
			{ID: 2, WorkspaceID: w.acme, Name: "Globex", CreatedAt: at(9, 1, 0, 0), UpdatedAt: at(9, 1, 0, 0)},
			{ID: 3, WorkspaceID: w.acme, CustomID: "group@795/a b", CreatedAt: at(9, 2, 0, 0), UpdatedAt: at(9, 2, 0, 0)},
		},
		NewContacts: []*gateway.Contact{
			contact(1, 10, gateway.Contact{CustomID: "42", Email: "Ada@Acme.test", EmailKey: "ada@acme.test", Key: "ngze13ffndcv", LastIP: "203.0.113.0", Attributes: attrs(
				"assigned_to", text("sales"), "birthday", gateway.DateValue(time.Date(1990, 2, 3, 0, 0, 0, 0, time.UTC)),
				"browser", text("Firefox"), "browser_language", text("en"), "city", text("Łódź"), "country", text("Poland"),
				"custom_created_at", text("2015-03-13 11:45:35"), "date_attr", gateway.DatetimeValue(time.Date(2017, 7, 25, 14, 14, 8, 612000000, time.UTC)),
				"facebook_url", text("https://facebook.test/ada"), "first_name", text("Ada"), "gender", gateway.IntValue(3),
				"google_url", text("https://google.test/ada"), "gravatar_url", text("https://gravatar.test/ada"),
				"interests", gateway.ListValue("maths", "engines"), "is_pro", gateway.BoolValue(false), "last_name", text("Lovelace"),
				"linkedin_url", text("https://linkedin.test/ada"), "name", text("Ada Lovelace"), "notifications", gateway.BoolValue(false),
				"os_type", text("Mac OS X"), "phone_number", text("+48123456789"), "plan", text("<gold>"), "region", text("Łódzkie"),
				"resolution", text("1920x1080"), "score", gateway.IntValue(0), "status", gateway.IntValue(2), "tags", gateway.ListValue("vip", "beta"),
				"timezone", text("Europe/Warsaw"), "twitter_url", text("https://twitter.test/ada"), "unsubscribed", gateway.BoolValue(true),
				"utm", gateway.Value{Type: gateway.TypeJSON, Raw: `{"source":"x","n":[1,2.5,null]}`}, "visits_per_week", gateway.NumberValue(2.5))}),
			contact(2, 11, gateway.Contact{Email: "ada@acme.test", EmailKey: "ada@acme.test"}),
			contact(3, 12, gateway.Contact{Key: "xzokp8bdcixx"}),
			contact(4, 13, gateway.Contact{CustomID: "user@123", Attributes: attrs("first_name", text("Grace"), "last_name", text("Hopper"),
				"phone_number", text("+48123456789"), "status", gateway.IntValue(1))}),
			contact(5, 8, gateway.Contact{MergedInto: 1}),
			contact(6, 14, gateway.Contact{CustomID: "b64/+w==", Email: "anna+test@acme.test", EmailKey: "anna+test@acme.test"}),
		},
		NewKeys: []gateway.VisitorKey{
			{Key: "g3FaYocCy0U6", ContactID: 1, CreatedAt: at(8, 0, 0, 0)},
			{Key: "ngze13ffndcv", ContactID: 1, CreatedAt: at(10, 0, 0, 0)},
			{Key: "xzokp8bdcixx", ContactID: 3, CreatedAt: at(12, 0, 0, 0)},
		},
		NewMemberships: []gateway.Membership{
			{WorkspaceID: w.acme, ContactID: 1, CompanyID: 2, Source: gateway.SourceImport, Since: at(9, 30, 0, 0)},
			{WorkspaceID: w.acme, ContactID: 1, CompanyID: 1, Source: gateway.SourceWidget, Primary: true, Since: at(10, 0, 0, 471199)},
			{WorkspaceID: w.acme, ContactID: 4, CompanyID: 1, Source: gateway.SourceWidget, Primary: true, Since: at(9, 0, 0, 0), Until: at(13, 0, 0, 0)},
			{WorkspaceID: w.acme, ContactID: 2, CompanyID: 1, Source: gateway.SourceManual, Primary: true, Since: at(11, 0, 0, 0)},
		},
		Tagged: []gateway.TagChange{
			{Entity: gateway.EntityContact, Subject: 1, Name: "vip", At: at(10, 0, 0, 0)}, {Entity: gateway.EntityContact, Subject: 1, Name: "beta", At: at(10, 0, 0, 0)},
			{Entity: gateway.EntityCompany, Subject: 1, Name: "vip", At: at(9, 0, 0, 0)},
		},
		PageViews: []gateway.PageView{
			view(5, "g3FaYocCy0U6", at(8, 0, 0, 978138), "/"),
			view(1, "ngze13ffndcv", at(10, 0, 0, 0), "/pricing"),
			view(3, "xzokp8bdcixx", at(12, 0, 0, 5), "/"),
			{WorkspaceID: w.acme, ContactID: 1, Key: "ngze13ffndcv", At: at(10, 5, 0, 51644), URL: "https://shop.test/cart?q=1", Path: "/cart", Referrer: "https://shop.test/pricing"},
		},
		Events: []gateway.Event{
			{WorkspaceID: w.acme, ContactID: 5, Key: "g3FaYocCy0U6", Kind: gateway.EventCustom, Name: "Added hashtag", At: at(8, 1, 0, 0)},
			{WorkspaceID: w.acme, ContactID: 1, Key: "ngze13ffndcv", Kind: gateway.EventProduct, Name: "add to cart", At: at(10, 5, 0, 0), Data: `{"product_id":"p1","price":9.5}`},
			{WorkspaceID: w.acme, ContactID: 1, Key: "ngze13ffndcv", Kind: gateway.EventCustom, Name: "login", At: at(10, 6, 0, 0), Data: `{"ok":true}`},
		},
	})
}
