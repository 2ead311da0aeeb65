package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

// TestFlush: whether an edit flushes in between makes no difference.
func TestFlush(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, flushing *rig) {
		plain := newRig(t, 1000)
		for seed := range uint64(30) {
			what := randomEdit(seed)
			for _, r := range []*rig{plain, flushing} {
				random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test
				r.must(func(e *gateway.Editor) error {
					for i, step := range what {
						if err := step(e); err != nil && !gateway.IsNotFound(err) && gateway.CodeOf(err) != gateway.CodeInvalid {
							return fmt.Errorf("step %d: %w", i, err)
						}
						if r == flushing && random.IntN(2) == 0 {
							if err := e.Flush(); err != nil {
								return err
							}
						}
					}
					return nil
				})
			}
			if diff := cmp.Diff(picture(t, plain), picture(t, flushing)); diff != "" {
				t.Fatalf("seed %d (-without +with):\n%s", seed, diff)
			}
		}
	})
}

// randomEdit is a sequence of changes of a few contacts and companies, who are named by
// their own ids, as those of a bulk request are.
func randomEdit(seed uint64) (steps []func(e *gateway.Editor) error) {
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test
	// What can be refused is asked for before anything is changed: after an error an edit
	// must not go on.
	for range 15 {
		u, u2, c := fmt.Sprint("u", random.IntN(5)), fmt.Sprint("u", random.IntN(5)), fmt.Sprint("c", random.IntN(3))
		key, kind := fmt.Sprintf("key%09d", seed*100+uint64(len(steps))), random.IntN(8)
		steps = append(steps, func(e *gateway.Editor) error {
			contact, err1 := e.ContactByCustomID(u)
			company, err2 := e.CompanyByCustomID(c)
			if gateway.IsNotFound(err1) {
				_, err := e.CreateContact(gateway.ContactPatch{CustomID: &u, Key: key})
				return err
			}
			if gateway.IsNotFound(err2) {
				_, err := e.CreateCompany(gateway.CompanyPatch{CustomID: &c, Name: &c})
				return err
			}
			switch kind {
			case 0:
				return e.UpdateContact(contact, gateway.ContactPatch{Attributes: []gateway.PayloadAttribute{set(key, str(u2)), set("first_name", str(key))}})
			case 1, 2:
				return e.AddMember(company, contact)
			case 3:
				return e.RemoveMember(company, contact)
			case 4:
				return e.DeleteContact(contact)
			case 5:
				return e.DeleteCompany(company)
			case 6:
				other, err := e.ContactByCustomID(u2)
				if err != nil {
					return err
				}
				return e.MergeContacts(contact, []gateway.ContactID{other})
			}
			return e.SetTags(contact, []string{u2, c})
		})
	}
	return steps
}

// picture is what is stored, as text.
func picture(t *testing.T, r *rig) string {
	t.Helper()
	var b strings.Builder
	views, err := r.store.Contacts(t.Context(), r.w, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range views {
		fmt.Fprintln(&b, "contact", v.CustomID, v.Key, v.Attributes, v.CreatedAt, v.UpdatedAt)
		for _, c := range v.Companies {
			fmt.Fprintln(&b, "  company", c.CustomID, c.Since, c.Primary, c.Source)
		}
		merges, err := r.store.Merges(t.Context(), r.w, v.Contact.ID, gateway.HistoryQuery{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, "  merges", len(merges))
	}
	companies, err := r.store.Companies(t.Context(), r.w, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range companies {
		fmt.Fprintln(&b, "company", c.CustomID, c.Name, c.EmployeesCount, c.Attributes)
	}
	return b.String()
}
