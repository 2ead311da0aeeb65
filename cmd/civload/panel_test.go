package main

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

const (
	panelEmail    = "owner@panel.test"
	panelPassword = "a long enough one"
)

func TestPanel(t *testing.T) {
	t.Parallel()
	g := startCivgate(t, "CIVGATE_ADMIN_EMAIL="+panelEmail, "CIVGATE_ADMIN_PASSWORD="+panelPassword)
	if status, out, errs := civload(t, "-url", g.url(), "-api-key", g.apiKey, "-scenario", "new", "-n", "300", "-c", "4"); status != exitOK {
		t.Fatalf("status %d\n%s%s", status, out, errs)
	}
	server := []string{"panel", "-url", g.url(), "-rest-token", g.restToken, "-n", "3"}
	signedIn := append(slices.Clip(server), "-email", panelEmail, "-password", panelPassword)
	status, out, errs := civload(t, append(slices.Clip(signedIn), "-api-key", g.apiKey, "-employees", "150", "-depth", "100", "--p95", "1m")...)
	if status != exitOK || !strings.Contains(errs, ", 150 employees") {
		t.Fatalf("status %d\n%s%s", status, out, errs)
	}
	pages := map[string]bool{}
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(line, "  ")
		pages[name] = true
	}
	for _, name := range []string{"page", "contacts", "visitors", "filter: e-mail is", "filter: the large company, few", "search: names", "search: what nobody has", "contact", "merge preview",
		"companies", "company search", "the large company, employees, deep page", "inspector, deep page", "inspector, a payload", "audit log", "first steps", "settings: companies"} {
		if !pages[name] {
			t.Errorf("the table has no row %q, but %q", name, slices.Sorted(maps.Keys(pages)))
		}
	}
	// The company that is there already, and no page that is fast enough.
	_, rest, _ := strings.Cut(errs, "the large company is ")
	id, _, _ := strings.Cut(rest, " ")
	status, out, errs = civload(t, append(slices.Clip(signedIn), "-large", id, "-only", "audit log", "--p95", "1ns")...)
	if status != exitFault || !strings.Contains(errs, "too slow: p95 over 1ns: audit log; ") || strings.Count(out, "\n") < 3 {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}

	for name, args := range map[string][]string{
		"nobody":           append(slices.Clip(server), "-large", id),
		"a wrong password": append(slices.Clip(server), "-large", id, "-email", panelEmail, "-password", "wrong"),
		"no token":         {"panel", "-url", g.url(), "-large", id, "-email", panelEmail, "-password", panelPassword},
		"no large company": signedIn,
		"a small company":  append(slices.Clip(signedIn), "-large", strings.TrimSuffix(id, "0")+"1"),
	} {
		if status, out, _ := civload(t, args...); status != exitFault || out != "" {
			t.Errorf("%s: status %d\n%s", name, status, out)
		}
	}
}

// TestPanelChecks: an answer that is not the page asked for is noticed.
func TestPanelChecks(t *testing.T) {
	t.Parallel()
	one := restSample{ID: 5, CustomID: "u5", Email: "u5@x.test", Name: "Ada Lovelace", Phone: "+48123456789", Plan: "pro"}
	other := restSample{ID: 6, CustomID: "u6", Email: "u6@x.test"}
	paths := []string{"/x"}
	r := &panelRun{
		restRun:   &restRun{contacts: []restSample{one, other}, companies: []restSample{{ID: 7, Name: "Acme"}}, large: restSample{ID: 8, Name: "Large"}, rnd: rand.New(rand.NewPCG(1, 2))},
		employees: paths, timeline: paths, inspector: paths, audit: paths, tag: "vip", list: "3", payload: "/inspector/1",
	}
	frame := `<form action="/panel/sign-out"></form>`
	for _, pc := range r.cases() {
		for _, page := range []string{"", "{}", frame, "<html></html>", `<a class="option">…</html>`} {
			if pc.check(0, page) == nil {
				t.Errorf("%s takes %q", pc.name, page)
			}
		}
		if !strings.HasPrefix(pc.path(0), "/") {
			t.Errorf("%s is at %q", pc.name, pc.path(0))
		}
		page := frame + "u5@x.test u6@x.test Acme Large</html>\n"
		if pc.part {
			page = `<form><i class="option">` + one.Email + other.Email + "</i>"
		}
		if err := pc.check(0, page); err != nil {
			t.Errorf("%s: %v", pc.name, err)
		}
	}
}

func TestTyped(t *testing.T) {
	t.Parallel()
	r := &panelRun{restRun: &restRun{rnd: rand.New(rand.NewPCG(1, 2))}}
	got := r.typed("Łuk", "a")
	slices.Sort(got)
	if want := []string{"a", "Ł", "Łu", "Łuk"}; !slices.Equal(got, want) {
		t.Errorf("typed %q, want %q", got, want)
	}
	if n := len(r.typed(strings.Repeat("x", 100))); n != 16 {
		t.Errorf("%d beginnings of a long text", n)
	}
}
