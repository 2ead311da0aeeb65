package store

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

func namedEvents(names ...string) (events []gateway.Event) {
	for i, name := range names {
		events = append(events, gateway.Event{Kind: gateway.EventCustom, Name: name, At: moment(100 - int64(i))})
	}
	return events
}

func TestEventNamesMissing(t *testing.T) {
	t.Parallel()
	var n eventNames
	var noted, other namesNoted
	noted.note(1, gateway.EventCustom, "a")
	other.note(1, gateway.EventCustom, "c")
	n.learn(other)
	events := namedEvents("d", "a", "b", "d", "c", "b")
	events = append(events, gateway.Event{Kind: gateway.EventProduct, Name: "a", At: moment(7)})
	for _, tt := range []struct {
		what  string
		ws    gateway.WorkspaceID
		noted namesNoted
		want  string
	}{
		{"known and noted", 1, noted, "[{event b 95} {event d 97} {product_event a 7}]"},
		{"known", 1, nil, "[{event a 99} {event b 95} {event d 97} {product_event a 7}]"},
		{"another workspace", 2, noted, "[{event a 99} {event b 95} {event c 96} {event d 97} {product_event a 7}]"},
	} {
		if got := fmt.Sprint(n.missing(tt.ws, tt.noted, events)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
	n.forget()
	if got := n.missing(1, nil, namedEvents("c")); len(got) != 1 {
		t.Errorf("c is known after all was forgotten: %v", got)
	}
}

// TestEventNamesAreBounded brings more names than are kept, in small parts and at
// once, and looks at what is in memory.
func TestEventNamesAreBounded(t *testing.T) {
	t.Parallel()
	var n eventNames
	for _, size := range []int{1, 700, maxEventNames, maxEventNames + 1, 3 * maxEventNames} {
		for round := range 2*maxEventNames/size + 2 {
			var noted namesNoted
			for i := range size {
				noted.note(1, gateway.EventCustom, fmt.Sprint(size, "-", round, "-", i))
			}
			n.learn(noted)
			if len(n.known) > maxEventNames {
				t.Fatalf("%d names are kept", len(n.known))
			}
			if size <= maxEventNames {
				for e := range noted {
					if _, ok := n.known[e]; !ok {
						t.Fatalf("size %d, round %d: the newest are not known", size, round)
					}
				}
			}
		}
	}
}

// TestEventNamesKeepNoPayload: a name is a part of a text of 32 KiB, which must
// not stay in memory with it.
func TestEventNamesKeepNoPayload(t *testing.T) {
	t.Parallel()
	payload := strings.Repeat("x", 1<<15) + "name"
	name := payload[1<<15:]
	var noted namesNoted
	noted.note(1, gateway.EventCustom, name)
	for e := range noted {
		if unsafe.StringData(e.name) == unsafe.StringData(name) {
			t.Error("the name is still a part of the payload")
		}
		if d := cmp.Diff("name", e.name); d != "" {
			t.Error(d)
		}
	}
}

// BenchmarkEventNames is what a batch of events of known names costs, each.
func BenchmarkEventNames(b *testing.B) {
	var n eventNames
	var noted namesNoted
	events := make([]gateway.Event, 2048)
	for i := range events {
		events[i] = gateway.Event{Kind: gateway.EventCustom, Name: fmt.Sprint("some event name ", i%50)}
		noted.note(1, events[i].Kind, events[i].Name)
	}
	n.learn(noted)
	b.ReportAllocs()
	for i := 0; i < b.N; i += len(events) {
		if got := n.missing(1, nil, events); len(got) > 0 {
			b.Fatal(got)
		}
	}
}
