package main

import (
	"strings"
	"testing"
)

func TestREST(t *testing.T) {
	t.Parallel()
	g := startCivgate(t)
	if status, out, errs := civload(t, "-url", g.url(), "-api-key", g.apiKey, "-scenario", "new", "-n", "300", "-c", "4"); status != exitOK {
		t.Fatalf("status %d\n%s%s", status, out, errs)
	}
	server := []string{"rest", "-url", g.url(), "-rest-token", g.restToken, "-n", "25"}
	status, out, errs := civload(t, append(server, "-api-key", g.apiKey, "-employees", "450", "-depth", "300")...)
	if status != exitOK || !strings.Contains(errs, ", 450 employees") {
		t.Fatalf("status %d\n%s%s", status, out, errs)
	}
	rows := (&restRun{}).cases()
	for _, rc := range rows {
		if !strings.Contains(out, "\n"+rc.name+"  ") {
			t.Errorf("the table has no row %q", rc.name)
		}
	}
	if n := strings.Count(out, "\n"); n != len(rows)+1 {
		t.Errorf("%d lines:\n%s", n, out)
	}
	// The company that is there already.
	_, rest, _ := strings.Cut(errs, "the large company is ")
	id, _, _ := strings.Cut(rest, " ")
	if status, out, errs := civload(t, append(server, "-large", id)...); status != exitOK || strings.Count(out, "\n") != len(rows)+1 {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}

	for name, args := range map[string][]string{
		"no token":         {"rest", "-url", g.url(), "-large", id},
		"a wrong token":    {"rest", "-url", g.url(), "-rest-token", "wrong", "-large", id},
		"no such company":  append(server, "-large", "none"),
		"no large company": server,
		"no key":           append(server, "-employees", "5"),
		"no samples":       append(server, "-large", id, "-n", "0"),
	} {
		if status, out, _ := civload(t, args...); status != exitFault || out != "" {
			t.Errorf("%s: status %d\n%s", name, status, out)
		}
	}
}

// TestRESTChecks: an answer that is not the one asked for is noticed.
func TestRESTChecks(t *testing.T) {
	t.Parallel()
	r := &restRun{
		contacts:  []restSample{{ID: 5, CustomID: "u5", Email: "u5@x.test"}},
		companies: []restSample{{ID: 6, CustomID: "c6"}},
		large:     restSample{ID: 7, Employees: 2}, deep: []string{"x"},
	}
	for _, rc := range r.cases() {
		for _, answer := range []string{``, `[]`, `{"id":1,"custom_id":"other"}`, `{"id":7,"employees":[1]}`, `{"results":[{"id":9},{"id":9}]}`, `{"results":[{"timestamp":null}]}`} {
			if rc.name == "timeline of a contact" && strings.Contains(answer, `"id":`) && !strings.Contains(answer, "results") {
				continue // has no entries
			}
			if rc.check(0, []byte(answer)) == nil {
				t.Errorf("%s takes %q", rc.name, answer)
			}
		}
	}
}
