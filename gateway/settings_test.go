package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

// audit are the newest entries of the audit log, the newest first: action, subject and
// detail.
func (r *rig) audit(n int) (lines []string) {
	r.t.Helper()
	all, err := r.store.AuditLog(r.t.Context(), r.w, gateway.AuditQuery{Limit: n})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range all {
		lines = append(lines, fmt.Sprintf("%s %s by %s %s", e.Action, e.SubjectID, e.By, e.Detail))
	}
	return lines
}

func (r *rig) wantAudit(what string, want ...string) {
	r.t.Helper()
	if d := cmp.Diff(want, r.audit(len(want))); d != "" {
		r.t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestSettingsAudit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		change := func(fn func(w *gateway.Workspace)) error {
			return r.edit(func(e *gateway.Editor) error {
				_, err := e.ChangeWorkspace(func(w *gateway.Workspace) error { fn(w); return nil })
				return err
			})
		}
		if err := change(func(w *gateway.Workspace) {
			w.Settings.RetentionDays, w.Settings.IdentitySecret = 30, "s3cret"
			w.Settings.ExcludedAddresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			w.Settings.Companies.AutoAssign.ExcludeDomains = []string{"a.test", "b.test"}
		}); err != nil {
			t.Fatal(err)
		}
		r.wantAudit("after a change", `workspace.settings 1 by token t1 {"companies.auto_assign.exclude_domains":{"added":["a.test","b.test"]},"excluded_addresses":{"added":["10.0.0.0/8"]},"identity.secret":"changed","retention_days":{"from":0,"to":30}}`)
		many := []string{"b.test"}
		for i := range 5000 {
			many = append(many, fmt.Sprintf("d%d.test", i))
		}
		if err := change(func(w *gateway.Workspace) { w.Settings.Companies.AutoAssign.ExcludeDomains = many }); err != nil {
			t.Fatal(err)
		}
		var detail struct {
			C struct {
				Added, Removed []string
				More           int
			} `json:"companies.auto_assign.exclude_domains"`
		}
		line := r.audit(1)[0]
		if err := json.Unmarshal([]byte(line[strings.Index(line, "{"):]), &detail); err != nil || len(detail.C.Added) != 20 || detail.C.More != 4980 || !slices.Equal(detail.C.Removed, []string{"a.test"}) {
			t.Errorf("a long list: %v %s", err, line)
		}
		// What changes nothing, and what fails, leaves no line.
		if err := change(func(*gateway.Workspace) {}); err != nil {
			t.Fatal(err)
		}
		wants(t, "a retention that can't be", change(func(w *gateway.Workspace) { w.Settings.RetentionDays = -1 }), gateway.CodeInvalid, "retention_days")
		wants(t, "too many networks", change(func(w *gateway.Workspace) { w.Settings.ExcludedAddresses = make([]netip.Prefix, gateway.MaxNetworks+1) }), gateway.CodeInvalid, "excluded_addresses")
		if got := r.audit(10); len(got) != 2 {
			t.Errorf("%d lines: %q", len(got), got)
		}
	})
}

func TestCleanNetworks(t *testing.T) {
	t.Parallel()
	got, err := gateway.CleanNetworks("f", []string{" 203.0.113.7 ", "", "203.0.113.7/32", "10.1.2.3/8", "2001:DB8::1/32", "::ffff:192.0.2.1", "fe80::1%eth0"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "[203.0.113.7/32 10.0.0.0/8 2001:db8::/32 192.0.2.1/32 fe80::1/128]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	for _, bad := range []string{"acme.test", "10.0.0.0/33", "10.0.0", "::ffff:10.0.0.0/104", "10.0.0.0-10.0.0.9"} {
		_, err := gateway.CleanNetworks("f", []string{"10.0.0.1", bad})
		wants(t, bad, err, gateway.CodeInvalid, "f")
		if !strings.Contains(fmt.Sprint(err), bad) {
			t.Errorf("%s is not named: %v", bad, err)
		}
	}
}

func TestExcludedAddresses(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	r.must(func(e *gateway.Editor) error {
		_, err := e.ChangeWorkspace(func(w *gateway.Workspace) (err error) {
			w.Settings.ExcludedAddresses, err = gateway.CleanNetworks("", []string{"203.0.113.0/24", "2001:db8::/32"})
			return err
		})
		return err
	})
	for ip, want := range map[string]gateway.Code{
		"203.0.113.9": gateway.CodeAddressExcluded, "::ffff:203.0.113.9": gateway.CodeAddressExcluded, "2001:db8::5": gateway.CodeAddressExcluded,
		"203.0.114.9": "", "2001:db9::5": "", "": "",
	} {
		req := gateway.Request{Body: []byte(`{"apiKey":"` + rigKey + `"}`)}
		if ip != "" {
			req.IP = netip.MustParseAddr(ip)
		}
		if _, _, err := r.g.Accept(t.Context(), req); gateway.CodeOf(err) != want {
			t.Errorf("from %q: %v, want %q", ip, err, want)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		var token string
		var k, widget gateway.APIKey
		r.must(func(e *gateway.Editor) (err error) {
			if token, k, err = e.AddToken("  nightly\n sync ", gateway.ScopeWrite); err != nil {
				return err
			}
			widget, err = e.AddWidgetKey("shop")
			return err
		})
		if len(token) != 64 || k.Secret == token || k.Name != "nightly sync" || len(widget.Secret) != 6 {
			t.Errorf("token of %d characters, %+v, %+v", len(token), k, widget)
		}
		kept, err := r.store.APIKey(t.Context(), gateway.KeyREST, k.Secret)
		if err != nil || kept != k {
			t.Errorf("stored %+v (%v), want %+v", kept, err, k)
		}
		r.wantAudit("after making keys", `key.add `+widget.Secret+` by token t1 {"name":"shop"}`, `key.add `+gateway.KeyID(k)+` by token t1 {"name":"nightly sync","scope":"write"}`)
		if strings.Contains(strings.Join(r.audit(10), ""), token) {
			t.Error("the token is in the audit log")
		}
		accept := func() gateway.Code {
			_, _, err := r.g.Accept(t.Context(), gateway.Request{Body: []byte(`{"apiKey":"` + widget.Secret + `"}`)})
			return gateway.CodeOf(err)
		}
		if code := accept(); code != "" {
			t.Errorf("with a new key: %s", code)
		}
		revoke := func(kind gateway.KeyKind, id string) error {
			return r.edit(func(e *gateway.Editor) error {
				_, err := e.RevokeKey(kind, id)
				return err
			})
		}
		wants(t, "of the other kind", revoke(gateway.KeyREST, widget.Secret), gateway.CodeNotFound, "")
		for _, x := range []gateway.APIKey{widget, k} {
			if err := revoke(x.Kind, gateway.KeyID(x)); err != nil {
				t.Fatal(err)
			}
			wants(t, "again", revoke(x.Kind, gateway.KeyID(x)), gateway.CodeNotFound, "")
		}
		if code := accept(); code != gateway.CodeUnknownAPIKey {
			t.Errorf("with a revoked key: %q", code)
		}
		r.wantAudit("after revoking", `key.revoke `+gateway.KeyID(k)+` by token t1 {"name":"nightly sync","scope":"write"}`)
		for _, bad := range []struct {
			name, scope, field string
		}{{"", "read", "name"}, {strings.Repeat("x", 121), "read", "name"}, {"x", "", "scope"}, {"x", "all", "scope"}} {
			wants(t, fmt.Sprint(bad), r.edit(func(e *gateway.Editor) error {
				_, _, err := e.AddToken(bad.name, gateway.Scope(bad.scope))
				return err
			}), gateway.CodeInvalid, bad.field)
		}
	})
}

func TestChangeAttribute(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		var d gateway.AttributeDef
		r.must(func(e *gateway.Editor) (err error) {
			d, err = e.DefineAttribute(gateway.AttributeDef{Entity: gateway.EntityContact, Label: "Plan", Type: gateway.TypeText})
			return err
		})
		r.must(func(e *gateway.Editor) error {
			got, err := e.ChangeAttribute(d.ID, func(d *gateway.AttributeDef) {
				d.Label, d.Description, d.Hidden, d.Type, d.Name = " Tariff ", "What they pay", true, gateway.TypeNumber, "x"
			})
			want := d
			want.Label, want.Description, want.Hidden = "Tariff", "What they pay", true
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			return err
		})
		r.wantAudit("after a change", `attribute.set contact.plan by token t1 {"description":{"from":"","to":"What they pay"},"hidden":{"from":false,"to":true},"label":{"from":"Plan","to":"Tariff"}}`,
			`attribute.add contact.plan by token t1 {"label":"Plan","type":"text"}`)
		// Values go on under its name.
		id := r.contact(gateway.ContactPatch{Attributes: []gateway.PayloadAttribute{set("plan", str("pro"))}})
		if v, ok := r.view(id).Attributes.Get("plan"); !ok || gateway.Text(v) != "pro" {
			t.Errorf("plan is %v", v)
		}
		for field, fn := range map[string]func(d *gateway.AttributeDef){
			"label":       func(d *gateway.AttributeDef) { d.Label = " " },
			"description": func(d *gateway.AttributeDef) { d.Description = strings.Repeat("x", gateway.MaxDescription+1) },
		} {
			wants(t, field, r.edit(func(e *gateway.Editor) error { _, err := e.ChangeAttribute(d.ID, fn); return err }), gateway.CodeInvalid, field)
		}
		wants(t, "none", r.edit(func(e *gateway.Editor) error {
			_, err := e.ChangeAttribute(999, func(*gateway.AttributeDef) {})
			return err
		}), gateway.CodeNotFound, "")
		r.must(func(e *gateway.Editor) error { return e.DropAttribute(d.ID) })
		r.wantAudit("after dropping", `attribute.drop contact.plan by token t1 {"label":"Tariff","type":"text"}`)
		var tag gateway.TagID
		r.must(func(e *gateway.Editor) (err error) { tag, _, err = e.AddTag("vip"); return err })
		r.must(func(e *gateway.Editor) (err error) { _, _, err = e.AddTag("vip"); return err })
		r.must(func(e *gateway.Editor) error { return e.DeleteTag(tag) })
		r.wantAudit("tags", "tag.drop vip by token t1 {}", "tag.add vip by token t1 {}", `attribute.drop contact.plan by token t1 {"label":"Tariff","type":"text"}`)
	})
}

func TestSweep(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		key := func(name string) (id gateway.ContactID) {
			return r.contact(gateway.ContactPatch{Key: name})
		}
		old := []gateway.ContactID{key("old000000001"), key("old000000002")}
		known := r.contact(gateway.ContactPatch{CustomID: new("u1")})
		r.now = r.now.AddDate(0, 0, 31)
		young := key("young0000001")
		there := func() (n int) {
			t.Helper()
			for _, id := range append(old, known, young) {
				if _, err := r.store.Contact(t.Context(), r.w, id); err == nil {
					n++
				} else if !gateway.IsNotFound(err) {
					t.Fatal(err)
				}
			}
			return n
		}
		sweep := func(what string, want int) {
			t.Helper()
			if err := r.g.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := there(); n != want {
				t.Errorf("%s: %d contacts are there, want %d", what, n, want)
			}
		}
		retain := func(days int) {
			r.must(func(e *gateway.Editor) error {
				_, err := e.ChangeWorkspace(func(w *gateway.Workspace) error { w.Settings.RetentionDays = days; return nil })
				return err
			})
		}
		sweep("by default", 4)
		retain(60)
		sweep("when nobody is old enough", 4)
		retain(30)
		sweep("the old ones go", 2)
		r.now = r.now.AddDate(0, 0, 31)
		sweep("a month later the young one too", 1)
		if r.view(known).CustomID != "u1" {
			t.Error("who is known must stay")
		}
		// Between two passes there is a rest.
		old = []gateway.ContactID{key("late00000001")}
		retain(1)
		sweep("a new setting begins anew", 2)
		r.now = r.now.Add(30 * time.Minute)
		sweep("within the rest", 2)
		r.now = r.now.AddDate(0, 0, 2)
		sweep("after it", 1)
	})
}
