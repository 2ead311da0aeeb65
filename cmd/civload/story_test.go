package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The outcomes of the stories, by the rows of the identity matrix (civgate's design, section 4). People and keys 0 and 1
// stand for those of the story.
func TestOutcomeOfEachStory(t *testing.T) {
	t.Parallel()
	const a, b = 0, 1 // companies of person 0 and 1
	want := [len(stories)][]modelContact{
		{{person: -1, emailOf: -1, namedBy: -1, key: 0, views: 3}},
		{{key: 0, views: 4, companies: []int64{a}}},
		{{key: 0, views: 2, companies: []int64{a}}, {person: 1, emailOf: 1, namedBy: 1, key: 0, views: 1, companies: []int64{b}}},
		{{key: 0, views: 4, companies: []int64{a}}},
		{{key: 0, views: 3, companies: []int64{a, b}}},
		{{key: 0, views: 3, companies: []int64{a}}},
		{{key: 0, views: 1, companies: []int64{a}}, {person: 1, emailOf: 1, namedBy: 1, key: 1, views: 2, companies: []int64{b}}},
		{{key: 0, views: 2, companies: []int64{a}}},
		{{key: 0, views: 4, companies: []int64{a}}},
		{{key: 0, views: 3, companies: []int64{a}}},
		{{person: 0, emailOf: 1, namedBy: 1, key: 0, views: 2, companies: []int64{a, b}}},
		{{person: -1, emailOf: 0, key: 0, views: 1, companies: []int64{a}}, {person: -1, emailOf: 1, namedBy: 1, key: 0, views: 1, companies: []int64{b}}},
		{{key: 0, views: 2, companies: []int64{a}}, {person: 1, emailOf: 1, namedBy: 1, key: 1, views: 1, companies: []int64{b}}},
	}
	for i, steps := range stories {
		visits := make([]visit, len(steps))
		for n, s := range steps {
			v := visit{person: -1, company: -1, key: int64(s.browser)}
			if s.who != nobody {
				v.person, v.userID, v.email, v.company = int64(s.who), !s.mail, true, int64(s.who)
				if s.moved {
					v.company ^= 1
				}
			}
			visits[n] = v
		}
		var got []modelContact
		for _, c := range outcome(visits) {
			got = append(got, *c)
		}
		if diff := cmp.Diff(want[i], got, cmp.AllowUnexported(modelContact{})); diff != "" {
			t.Errorf("story %d %+v (-want +got):\n%s", i, steps, diff)
		}
	}
}

func TestEveryStoryIsTold(t *testing.T) {
	t.Parallel()
	tr := testTraffic(t)
	lengths := map[int]int{}
	for s := range int64(2000) {
		script := tr.script(s)
		lengths[len(script)]++
		for _, v := range script {
			if v.key/2 != s || (v.person >= 0 && v.person/2 != s) {
				t.Fatalf("story %d has a payload of another one: %+v", s, v)
			}
		}
	}
	if len(lengths) != 3 {
		t.Errorf("lengths of 2000 stories: %v, want 2, 3 and 4", lengths)
	}
}
