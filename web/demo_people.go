package web

import (
	"bytes"
	"encoding/json"
	"strings"
)

// field is one key of a window.civchat object. The order of fields is the order
// in which the snippet names them.
type field struct {
	name  string
	value any // string, int, bool, []string or []field
}

// person is somebody whom a visitor of the demo can sign in as.
type person struct {
	ID      string // user_id
	Name    string
	Role    string
	Company string
	fields  []field
}

// team is a company of the demo with its people.
type team struct {
	ID     string // company_id
	Name   string
	About  string
	People []person
}

// teams are the two companies and the six people of the demo. The names under
// .example and the phone numbers are of the ranges set aside for examples (RFC
// 2606; Ofcom and the NANPA for numbers in drama), so that they are nobody's.
// Between them the people have attributes of every type.
var teams = func() []team {
	engines := []field{
		{"company_id", "demo-engines"},
		{"name", "Analytical Engines Ltd"},
		{"industry", "Precision machinery"},
		{"employees", 320},
		{"revenue", "£12.4 million"},
		{"plan", "Floor"},
		{"customer_since", "2019-06-01"},
	}
	orbit := []field{
		{"company_id", "demo-orbit"},
		{"name", "Orbit Software"},
		{"industry", "Space and aviation"},
		{"employees", 18400},
		{"revenue", "$239.9 billion"},
		{"plan", "Campus"},
		{"offices", []string{"Houston", "Hampton", "Boston"}},
	}
	return []team{
		newTeam("Precision machinery, London", engines,
			newPerson("demo-ada", "Ada Lovelace", "Head of Computing", "ada@engines.example", "+442079460101", 3,
				field{"score", 0},
				field{"member_since", "2024-12-10"},
				field{"interests", []string{"filter", "decaf"}},
				field{"newsletter", true}),
			newPerson("demo-charles", "Charles Babbage", "Founder", "charles@engines.example", "+442079460102", 2,
				field{"score", 72},
				field{"member_since", "2019-06-01"},
				field{"newsletter", false},
				field{"delivery", []field{{"floor", 3}, {"dock", "B"}}}),
			newPerson("demo-mary", "Mary Somerville", "Research", "mary@engines.example", "+442079460103", 3,
				field{"score", 41},
				field{"last_tasting", "2026-10-02T15:30:00Z"},
				field{"interests", []string{"single origin"}})),
		newTeam("Space and aviation, Houston", orbit,
			newPerson("demo-grace", "Grace Hopper", "Rear Admiral, Compilers", "grace@orbit.example", "+12025550101", 3,
				field{"score", 98},
				field{"member_since", "2021-09-09"},
				field{"interests", []string{"espresso", "cold brew"}},
				field{"newsletter", true}),
			newPerson("demo-katherine", "Katherine Johnson", "Trajectories", "katherine@orbit.example", "+12025550102", 3,
				field{"score", 87},
				field{"last_tasting", "2026-09-18T09:00:00-05:00"},
				field{"newsletter", true}),
			newPerson("demo-margaret", "Margaret Hamilton", "Flight Software", "margaret@orbit.example", "+12025550103", 3,
				field{"score", 64},
				field{"member_since", "2022-07-20"},
				field{"delivery", []field{{"floor", 11}, {"before", "07:30"}}})),
	}
}()

func newPerson(id, name, role, email, phone string, gender int, more ...field) person {
	return person{
		ID: id, Name: name, Role: role,
		fields: append([]field{
			{"user_id", id},
			{"name", name},
			{"email", email},
			{"phone_number", phone},
			{"gender", gender},
			{"status", 2},
			{"role", role},
		}, more...),
	}
}

func newTeam(about string, company []field, people ...person) team {
	t := team{ID: company[0].value.(string), Name: company[1].value.(string), About: about, People: people}
	for i := range t.People {
		t.People[i].Company = t.Name
		t.People[i].fields = append(t.People[i].fields, field{"company", company})
	}
	return t
}

// personByID finds one of the six people.
func personByID(id string) (person, bool) {
	for _, t := range teams {
		for _, p := range t.People {
			if p.ID == id {
				return p, true
			}
		}
	}
	return person{}, false
}

func isDemoPerson(customID string) bool {
	_, ok := personByID(customID)
	return ok
}

func isDemoCompany(customID string) bool {
	for _, t := range teams {
		if t.ID == customID {
			return true
		}
	}
	return false
}

// snippet is the script that a page carries for p, the zero person being a
// visitor who has not signed in (contract, section 1.1).
func snippet(apiKey string, p person) string {
	var b strings.Builder
	b.WriteString("\n  window.civchat = ")
	writeObject(&b, append([]field{{"apiKey", apiKey}}, p.fields...), "  ")
	b.WriteString(";\n")
	return b.String()
}

func writeObject(b *strings.Builder, fields []field, indent string) {
	b.WriteString("{\n")
	for i, f := range fields {
		b.WriteString(indent + "  " + f.name + ": ")
		if inner, ok := f.value.([]field); ok {
			writeObject(b, inner, indent+"  ")
		} else {
			b.WriteString(literal(f.value))
		}
		if i < len(fields)-1 {
			b.WriteString(",")
		}
		b.WriteString("\n")
	}
	b.WriteString(indent + "}")
}

// literal is a value as JavaScript. JSON is, and the escapes of json.Marshal for
// <, > and & keep it from ending the script that it stands in.
func literal(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("web: value of a snippet: " + err.Error()) // all are above
	}
	return string(bytes.ReplaceAll(text, []byte(`","`), []byte(`", "`)))
}
