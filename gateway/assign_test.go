package gateway_test

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

// fixtureRule is the rule of testdata/assign/addresses.txt.
func fixtureRule() *gateway.AssignRule {
	return gateway.NewAssignRule(gateway.AutoAssign{
		ExcludeDomains: []string{"rival.com", "*.edu", "partner.*", "dept.big.com", "xn--hrdin-mra.example", "sub.shop.*"},
		OwnDomains:     []string{"own.example", "*.own.test", "ours.*"},
	})
}

func asError(err error) *gateway.Error {
	var e *gateway.Error
	errors.As(err, &e)
	return e
}

type fixtureAddress struct{ address, want string }

func fixtureAddresses(t testing.TB) (all []fixtureAddress) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "assign", "addresses.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if line := lines.Text(); line != "" && !strings.HasPrefix(line, "# ") {
			address, want, found := strings.Cut(line, " => ")
			if !found {
				t.Fatalf("%q has no =>", line)
			}
			all = append(all, fixtureAddress{address, want})
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAssignRuleAddresses(t *testing.T) {
	t.Parallel()
	rule := fixtureRule()
	all := fixtureAddresses(t)
	if len(all) < 200 {
		t.Errorf("the fixture has %d addresses", len(all))
	}
	for _, f := range all {
		domain, why := rule.Domain(f.address)
		if got := domain + string(why); got != f.want {
			t.Errorf("%q stands for %q, want %q", f.address, got, f.want)
		}
		// What is stored is the comparable form of an address, which must say the same.
		if _, key, ok := gateway.NormalizeEmail(f.address); ok {
			domain, why := rule.Domain(key)
			if got := domain + string(why); got != f.want {
				t.Errorf("%q, the key of %q, stands for %q, want %q", key, f.address, got, f.want)
			}
		}
	}
}

func TestCleanDomainPatterns(t *testing.T) {
	t.Parallel()
	got, err := gateway.CleanDomainPatterns("f", []string{" Acme.com ", "@rival.com", "", "*.EDU", ".gov", "gmail.*", "acme.com", "bücher.de.", "*.mail.acme.org", "my.shop.*"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"acme.com", "rival.com", "*.edu", "*.gov", "gmail.*", "xn--bcher-kva.de", "*.mail.acme.org", "my.shop.*"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"gmail", "*", "*.*", "*.acme.*", "ac*me.com", "mail*.com", "anna@acme.com", "http://acme.com", "acme..com", "acme com", "-.com", "*gmail.com", "acme.com,rival.com"} {
		_, err := gateway.CleanDomainPatterns("companies.auto_assign.exclude_domains", []string{"good.com", bad, "fine.org"})
		if e := asError(err); e == nil || e.Code != gateway.CodeInvalid || e.Field != "companies.auto_assign.exclude_domains" || !strings.Contains(e.Message, `"`+bad+`"`) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	_, err = gateway.CleanDomainPatterns("f", slices.Repeat([]string{"no"}, 500))
	if e := asError(err); e == nil || !strings.HasSuffix(e.Message, " And 490 more.") || len(e.Message) > 2000 {
		t.Errorf("many bad entries: %v", err)
	}
}

// The lists are found by halving, so they must be sorted, and by what the rule asks.
func TestProviderLists(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"free_mail_domains.txt", "disposable_domains.txt"} {
		text, err := os.ReadFile(filepath.Join("data", name))
		if err != nil {
			t.Fatal(err)
		}
		head, last := "", ""
		n := 0
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSuffix(line, "\n")
			if strings.HasPrefix(line, "#") && n == 0 {
				head += line
				continue
			}
			n++
			if domain, ok := gateway.NormalizeDomain(line); !ok || domain != line {
				t.Errorf("%s: %q is no domain in comparable form", name, line)
			}
			if line <= last {
				t.Errorf("%s: %q comes behind %q", name, line, last)
			}
			last = line
		}
		if n < 5000 || !strings.Contains(head, "Licen") || !strings.Contains(head, "Source: ") {
			t.Errorf("%s: %d domains, below %q", name, n, head)
		}
	}
	// The first and the last line of each, and what would be before, between and behind.
	rule := gateway.NewAssignRule(gateway.AutoAssign{})
	for _, f := range []fixtureAddress{
		{"a@0-mail.com", "disposable"}, {"a@zzz.com", "disposable"}, {"a@0.com", "0.com"}, {"a@zzzzzz.com", "zzzzzz.com"},
	} {
		domain, why := rule.Domain(f.address)
		if got := domain + string(why); got != f.want {
			t.Errorf("%s: %s, want %s", f.address, got, f.want)
		}
	}
}

// Any number of entries must not make the rule slower by their number.
func TestAssignRuleManyEntries(t *testing.T) {
	t.Parallel()
	entries := make([]string, 200_000)
	for i := range entries {
		entries[i] = "excluded-" + strings.Repeat("x", i%7) + strconv.Itoa(i) + ".com"
	}
	clean, err := gateway.CleanDomainPatterns("f", entries)
	if err != nil || len(clean) != len(entries) {
		t.Fatal(len(clean), err)
	}
	rule := gateway.NewAssignRule(gateway.AutoAssign{ExcludeDomains: clean})
	if _, why := rule.Domain("a@mail." + entries[123_456]); why != gateway.AssignExcluded {
		t.Errorf("an excluded domain: %q", why)
	}
	if domain, why := rule.Domain("a@acme.com"); domain != "acme.com" {
		t.Errorf("acme.com: %q %q", domain, why)
	}
}

func FuzzAssignRule(f *testing.F) {
	for _, a := range fixtureAddresses(f) {
		f.Add(a.address)
	}
	rule := fixtureRule()
	f.Fuzz(func(t *testing.T, address string) {
		domain, why := rule.Domain(address)
		if (domain == "") == (why == gateway.AssignOK) {
			t.Fatalf("%q: domain %q, reason %q", address, domain, why)
		}
		if domain == "" {
			return
		}
		// The domain is comparable, and stands for itself.
		if again, ok := gateway.NormalizeDomain(domain); !ok || again != domain {
			t.Errorf("%q: the domain %q is not comparable: %q", address, domain, again)
		}
		if again, why := rule.Domain("anna@" + domain); again != domain {
			t.Errorf("%q: the domain %q stands for %q %q", address, domain, again, why)
		}
		if _, key, ok := gateway.NormalizeEmail(address); ok {
			if again, _ := rule.Domain(key); again != domain {
				t.Errorf("%q stands for %q, its key %q for %q", address, domain, key, again)
			}
		}
	})
}

func FuzzCleanDomainPatterns(f *testing.F) {
	for _, s := range []string{"acme.com", "*.edu", "acme.*", "@a.b", ".gov", "bücher.de", "*", "a*b.c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		clean, err := gateway.CleanDomainPatterns("f", []string{entry})
		if err != nil || len(clean) == 0 {
			return
		}
		again, err := gateway.CleanDomainPatterns("f", clean)
		if err != nil || again[0] != clean[0] {
			t.Errorf("%q is kept as %q, and that as %q, %v", entry, clean, again, err)
		}
	})
}
