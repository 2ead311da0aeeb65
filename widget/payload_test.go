package widget_test

import (
	"encoding/json"
	"testing"

	"github.com/evanw/esbuild/pkg/api"
	"github.com/google/go-cmp/cmp"
)

// TestPayloadFunctions calls the pure functions of src/payload.ts in an empty page.
func TestPayloadFunctions(t *testing.T) {
	t.Parallel()
	script := string(build(t, api.BuildOptions{EntryPoints: []string{"src/payload.ts"}, GlobalName: "payload"}))
	b := newTab(t)
	b.open("about:blank")
	b.run(`const script = document.createElement('script'); script.text = ` + quote(script) + `; document.head.appendChild(script);`)

	cases := []struct{ name, expression, want string }{
		{"plain values stay", `payload.wire({s: 'a', e: '', n: 0, f: false, z: null, o: {}, l: []})`, `{"s":"a","e":"","n":0,"f":false,"z":null,"o":{},"l":[]}`},
		{"steering keys stay in the page", `payload.wire({state: 'simple', debug: true, userKey: 'k', $: {id: 1}, onLoad() {}, a: 1})`, `{"a":1}`},
		{"but are attributes further down", `payload.wire({company: {state: 'NY', $: 1}})`, `{"company":{"state":"NY","$":1}}`},
		{"undefined isn't sent", `payload.wire({a: undefined, l: [undefined, 1]})`, `{"l":[1]}`},
		{"not numbers", `payload.wire({a: NaN, b: Infinity, c: -0})`, `{"c":0}`},
		{"dates", `payload.wire({a: new Date(1e12), b: new Date('x')})`, `{"a":"2001-09-09T01:46:40.000Z"}`},
		{"BigInt", `payload.wire({a: 42n, b: 10n ** 30n})`, `{"a":"42","b":"1000000000000000000000000000000"}`},
		{"a text as long as the gateway takes", `Object.keys(payload.wire({a: 'x'.repeat(8192), b: 'x'.repeat(8193)}))`, `["a"]`},
		{"inherited keys are not the page's", `payload.wire(Object.create({a: 1}, {b: {value: 2, enumerable: true}, c: {value: 3}}))`, `{"b":2}`},
		{"no objects", `[undefined, null, 5, 'text', Symbol('x'), () => 1, 1n].map((one) => payload.wire(one))`, `[{},{},{},{},{},{},{}]`},
		{"cycles", `(() => { const a = {n: 1}; a.a = a; a.l = [a, 2]; return payload.wire({a}); })()`, `{"a":{"n":1,"l":[2]}}`},
		{"the same object twice is no cycle", `(() => { const a = {n: 1}; return payload.wire({a, b: a}); })()`, `{"a":{"n":1},"b":{"n":1}}`},
		{"a tree without end", `(() => { const grow = () => ({get a() { return grow(); }, get b() { return grow(); }}); return JSON.stringify(payload.wire(grow())).length < 2000; })()`, `true`},
		{"more values than fit", `JSON.stringify(payload.wire({l: Array.from({length: 1e5}, () => 1)})).length`, `32775`},
		{"nodes and windows", `payload.wire({a: document.body, b: document, c: window, d: [document.body]})`, `{"d":[]}`},

		{"another user", `payload.isOther({user_id: 1}, {user_id: 2})`, `true`},
		{"the same user as text", `payload.isOther({user_id: 1}, {user_id: '1', email: 'new'})`, `false`},
		{"first user_id", `payload.isOther({}, {user_id: 1})`, `false`},
		{"first user_id, same e-mail", `payload.isOther({email: 'a'}, {user_id: 1, email: 'a'})`, `false`},
		{"first user_id, other e-mail", `payload.isOther({email: 'a'}, {user_id: 1, email: 'b'})`, `true`},
		{"other e-mail", `payload.isOther({email: 'a'}, {email: 'b'})`, `true`},
		{"a known user changes the e-mail", `payload.isOther({user_id: 1, email: 'a'}, {email: 'b'})`, `false`},
		{"nobody named", `payload.isOther({user_id: 1, email: 'a'}, {name: 'b'})`, `false`},
		{"cleared", `payload.isOther({user_id: 1, email: 'a'}, {user_id: null, email: null})`, `false`},

		{"message", `payload.message({apiKey: 'k', a: 1}, {id: 'i'})`, `"{\"apiKey\":\"k\",\"a\":1,\"$\":{\"id\":\"i\"}}"`},
		{"message with too many attributes", `payload.message({apiKey: 'k', email: 'e', a: 'x'.repeat(40000)}, {id: 'i'})`, `"{\"apiKey\":\"k\",\"email\":\"e\",\"$\":{\"id\":\"i\"}}"`},
		{"message of exactly the limit", `payload.message({a: 'x'.repeat(32768 - 15)}, {}).length`, `32768`},
		{"message one byte over it", `payload.message({a: 'x'.repeat(32768 - 14)}, {})`, `"{\"$\":{}}"`},
		{"message with too much data", `payload.message({apiKey: 'k'}, {data: 'x'.repeat(40000)})`, `""`},
		{"size in bytes", `payload.size('aż€😀')`, `10`},

		{"no Retry-After", `payload.retryAfter(null, 0)`, `0`},
		{"Retry-After in seconds", `payload.retryAfter('120', 0)`, `120000`},
		{"Retry-After of zero", `payload.retryAfter('0', 0)`, `0`},
		{"Retry-After as a date", `payload.retryAfter('Thu, 01 Jan 1970 00:01:00 GMT', 10000)`, `50000`},
		{"Retry-After in the past", `payload.retryAfter('Thu, 01 Jan 1970 00:01:00 GMT', 70000)`, `0`},
		{"Retry-After that is none", `payload.retryAfter('soon', 0)`, `0`},
		{"Retry-After below zero", `payload.retryAfter('-5', 1e15)`, `0`},

		{"ids carry the time", `payload.messageId(0x0190a1b2c3d4).slice(0, 15)`, `"0190a1b2-c3d4-7"`},
		{"ids grow within a millisecond", `(() => { const ids = Array.from({length: 500}, () => payload.messageId(0x0190a1b2c3d5)); return ids.join() === ids.slice().sort().join() && new Set(ids).size === 500; })()`, `true`},
		{"ids don't run ahead of the clock", `(() => { const ids = Array.from({length: 250}, () => payload.messageId(0x0190a1b2c4d5)); return ids[249] < '0190a1b2-c4d6'; })()`, `true`},
		{"ids grow when the clock goes back a little", `payload.messageId(0x0190a1b2f000) < payload.messageId(0x0190a1b2e000)`, `true`},
		{"ids follow a clock that was far off", `[payload.messageId(0x0290a1b2c3d4), payload.messageId(0x0190a1b2c3d4)].map((id) => id.slice(0, 4))`, `["0290","0190"]`},
		{"keys", `Array.from({length: 200}, () => payload.random(12, 36)).every((key) => /^[a-z0-9]{12}$/.test(key))`, `true`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			// One page, so one after the other.
			got := string(eval[[]byte](b, c.expression))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// quote writes a text as a JavaScript literal.
func quote(text string) string {
	literal, _ := json.Marshal(text) // a string always marshals
	return string(literal)
}
