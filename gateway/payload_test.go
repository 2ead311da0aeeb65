package gateway_test

import (
	"testing"

	"civgate/gateway"
)

// widgetPayload is what the widget sends for the documented snippet on a page.
const widgetPayload = `{"apiKey":"A1B2C3","user_id":"u-1048576","email":"jane.roe@acme.test","name":"Jane Roe","gender":2,"status":2,` +
	`"date_attr":"2017-07-25T14:14:08.612Z","phone_number":"+44754123434","score":0,"plan":"enterprise","newsletter":true,` +
	`"company":{"name":"Acme GmbH","company_id":"c-77","revenue":"$239.9 billion","employees":32},` +
	`"$":{"id":"01932c0a-7b1e-7c3d-9e4f-5a6b7c8d9e0f","key":"ngze13ffndcv","at":"2026-11-22T10:00:00.123Z","type":"page",` +
	`"url":"https://www.acme.test/products/anvils?utm_source=newsletter","path":"/products/anvils","title":"Anvils - Acme",` +
	`"referrer":"https://www.example.test/"}}`

func BenchmarkParsePayload(b *testing.B) {
	body := []byte(widgetPayload)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := gateway.ParsePayload(body); err != nil {
			b.Fatal(err)
		}
	}
}

func TestParsePayloadAllocations(t *testing.T) {
	body := []byte(widgetPayload)
	const budget = 20
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := gateway.ParsePayload(body); err != nil {
			t.Fatal(err)
		}
	}); n > budget {
		t.Errorf("parsing a widget payload takes %v allocations, the budget is %d", n, budget)
	}
}
