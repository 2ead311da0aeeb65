package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

func TestStandardName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"API string attribute": "api_string_attribute", "plan": "plan", "first_name": "first_name", "firstName": "firstname",
		"  a--b__c..d ": "a_b_c_d", "_x_": "x", "a__b": "a_b", "Größe (cm)": "größe_cm", "ДАТА рождения": "дата_рождения", "हिन्दी नाम": "हिन्दी_नाम",
		"年龄": "年龄", "$": "", "": "", "___": "", "a\uFFFDb": "a_b", "x²": "x²", "email": "email",
	} {
		got := gateway.StandardName(in)
		if got != want {
			t.Errorf("StandardName(%q) = %q, want %q", in, got, want)
		}
		if again := gateway.StandardName(got); again != got {
			t.Errorf("StandardName(%q) = %q", got, again)
		}
	}
}

func TestCustomName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", gateway.MaxName)
	tests := []struct {
		entity     gateway.Entity
		in, want   string
		unsuitable bool
	}{
		{gateway.EntityContact, "Plan", "plan", false},
		{gateway.EntityContact, "First name", "custom_first_name", false},
		{gateway.EntityContact, "Phone Number", "custom_phone_number", false},
		{gateway.EntityContact, "User ID", "custom_user_id", false},
		{gateway.EntityContact, "E-mail", "e_mail", false},
		{gateway.EntityContact, "Email", "custom_email", false},
		{gateway.EntityContact, "id", "custom_custom_id", false}, // custom_id is the user_id of v2
		{gateway.EntityContact, "created_at", "custom_created_at", false},
		{gateway.EntityContact, "revenue", "revenue", false},
		{gateway.EntityContact, "size", "size", false},
		{gateway.EntityCompany, "Size", "custom_size", false},
		{gateway.EntityCompany, "gender", "gender", false},
		{gateway.EntityCompany, "Name", "custom_name", false},
		{gateway.EntityContact, "!?", "", true},
		{gateway.EntityContact, long, long, false},
		{gateway.EntityContact, long + "n", long + "n", true},
	}
	for _, test := range tests {
		if got, ok := gateway.CustomName(test.entity, test.in); got != test.want || ok == test.unsuitable {
			t.Errorf("CustomName(%s, %q) = %q, %t; want %q", test.entity, test.in, got, ok, test.want)
		}
	}
}

func TestStandardAttrs(t *testing.T) {
	t.Parallel()
	for _, entity := range []gateway.Entity{gateway.EntityContact, gateway.EntityCompany} {
		attrs := gateway.StandardAttrs(entity)
		if len(attrs) < 10 {
			t.Errorf("%s has %d standard attributes", entity, len(attrs))
		}
		for _, a := range attrs {
			got, ok := gateway.Standard(entity, a.Name)
			if !ok || got.Label != a.Label || got.Type != a.Type || a.Label == "" || gateway.StandardName(a.Name) != a.Name {
				t.Errorf("Standard(%s, %s) = %+v, %t", entity, a.Name, got, ok)
			}
			if out, warning, ok := a.Convert(gateway.Null); !out.IsNull() || warning != "" || !ok {
				t.Errorf("%s of null = %v, %q, %t", a.Name, out, warning, ok)
			}
		}
		for _, name := range []string{"", "user_id", "email address", "company_id", "created_at", "First name"} {
			if a, ok := gateway.Standard(entity, name); ok {
				t.Errorf("Standard(%s, %q) = %+v", entity, name, a)
			}
		}
	}
}

func TestStandardConvert(t *testing.T) {
	t.Parallel()
	const invalid = gateway.WarnInvalidValue
	tests := []struct {
		entity        gateway.Entity
		name          string
		in            string // JSON, texts as text
		want, warning string
	}{
		{gateway.EntityContact, "name", `"Jane"`, `"Jane"`, ""},
		{gateway.EntityContact, "name", `""`, `""`, ""},
		{gateway.EntityContact, "name", `7`, `"7"`, ""},
		{gateway.EntityContact, "name", `["Jane"]`, `"Jane"`, ""},
		{gateway.EntityContact, "name", `true`, "", invalid},
		{gateway.EntityContact, "name", `["Jane","Roe"]`, "", invalid},
		{gateway.EntityContact, "name", `{"first":"Jane"}`, "", invalid},
		{gateway.EntityContact, "gender", `1`, `1`, ""},
		{gateway.EntityContact, "gender", `2.0`, `2`, ""},
		{gateway.EntityContact, "gender", `"3"`, `3`, ""},
		{gateway.EntityContact, "gender", `"unknown"`, `1`, ""},
		{gateway.EntityContact, "gender", `"Male"`, `2`, ""},
		{gateway.EntityContact, "gender", `" FEMALE "`, `3`, ""},
		{gateway.EntityContact, "gender", `"m"`, `2`, ""},
		{gateway.EntityContact, "gender", `"F"`, `3`, ""},
		{gateway.EntityContact, "gender", `["male"]`, `2`, ""},
		{gateway.EntityContact, "gender", `"u"`, "", invalid},
		{gateway.EntityContact, "gender", `0`, "", invalid},
		{gateway.EntityContact, "gender", `4`, "", invalid},
		{gateway.EntityContact, "gender", `1.5`, "", invalid},
		{gateway.EntityContact, "gender", `""`, "", invalid},
		{gateway.EntityContact, "gender", `true`, "", invalid},
		{gateway.EntityContact, "gender", `[]`, "", invalid},
		{gateway.EntityContact, "status", `1`, `1`, ""},
		{gateway.EntityContact, "status", `"2"`, `2`, ""},
		{gateway.EntityContact, "status", `"Visitor"`, `1`, ""},
		{gateway.EntityContact, "status", `"user"`, `2`, ""},
		{gateway.EntityContact, "status", `"Active"`, "", invalid},
		{gateway.EntityContact, "status", `"u"`, "", invalid},
		{gateway.EntityContact, "status", `0`, "", invalid},
		{gateway.EntityContact, "status", `3`, "", invalid},
		{gateway.EntityContact, "score", `0`, `0`, ""},
		{gateway.EntityContact, "score", `-7`, `-7`, ""},
		{gateway.EntityContact, "score", `3.0`, `3`, ""},
		{gateway.EntityContact, "score", `" 12 "`, `12`, ""},
		{gateway.EntityContact, "score", `9223372036854775807`, `9223372036854775807`, ""},
		{gateway.EntityContact, "score", `9223372036854775808`, "", invalid},
		{gateway.EntityContact, "score", `3.5`, "", invalid},
		{gateway.EntityContact, "score", `"many"`, "", invalid},
		{gateway.EntityContact, "score", `false`, "", invalid},
		{gateway.EntityContact, "unsubscribed", `true`, `true`, ""},
		{gateway.EntityContact, "unsubscribed", `0`, `false`, ""},
		{gateway.EntityContact, "notifications", `"True"`, `true`, ""},
		{gateway.EntityContact, "notifications", `"maybe"`, "", invalid},
		{gateway.EntityContact, "tags", `"a, b,a,,c"`, `["a","b","c"]`, ""},
		{gateway.EntityContact, "tags", `["a","b","a"," "]`, `["a","b"]`, ""},
		{gateway.EntityContact, "tags", `["a,b",1,true]`, `["a,b","1","true"]`, ""},
		{gateway.EntityContact, "tags", `""`, `[]`, ""},
		{gateway.EntityContact, "tags", `[]`, `[]`, ""},
		{gateway.EntityContact, "tags", `7`, `["7"]`, ""},
		{gateway.EntityContact, "tags", `true`, "", invalid},
		{gateway.EntityContact, "tags", `{"a":1}`, "", invalid},
		{gateway.EntityContact, "tags", `[["a"]]`, "", invalid},
		{gateway.EntityContact, "source_context", `{"foo":"bar"}`, `{"foo":"bar"}`, ""},
		{gateway.EntityContact, "source_context", `"foo"`, "", invalid},
		{gateway.EntityContact, "source_context", `[1]`, "", invalid},
		{gateway.EntityContact, "source_context", `[[1]]`, "", invalid},
		{gateway.EntityContact, "phone_number", `"+44754123434"`, `"+44754123434"`, ""},
		{gateway.EntityContact, "phone_number", `"+44 (754) 123-434"`, `"+44754123434"`, ""},
		{gateway.EntityContact, "phone_number", `" 0754 123434 "`, `"0754 123434"`, gateway.WarnNotE164},
		{gateway.EntityContact, "phone_number", `44754123434`, `"44754123434"`, gateway.WarnNotE164},
		{gateway.EntityContact, "phone_number", `""`, `""`, ""},
		{gateway.EntityContact, "phone_number", `" "`, `""`, ""},
		{gateway.EntityContact, "phone_number", `"unknown"`, "", gateway.WarnInvalidPhone},
		{gateway.EntityContact, "phone_number", `{"a":1}`, "", gateway.WarnInvalidPhone},
		{gateway.EntityContact, "phone_number", `["a","b"]`, "", gateway.WarnInvalidPhone},
		{gateway.EntityCompany, "approx_employees", `"32"`, `32`, ""},
		{gateway.EntityCompany, "postal_code", `12345`, `"12345"`, ""},
		{gateway.EntityCompany, "postal_code", `"01067"`, `"01067"`, ""},
		{gateway.EntityCompany, "phone_numbers", `"+1 2, +3 4"`, `["+1 2","+3 4"]`, ""},
		{gateway.EntityCompany, "extra_data", `[1,{"a":2}]`, `[1,{"a":2}]`, ""},
	}
	for _, test := range tests {
		t.Run(test.name+" "+test.in, func(t *testing.T) {
			t.Parallel()
			a, ok := gateway.Standard(test.entity, test.name)
			if !ok {
				t.Fatal("no such attribute")
			}
			v := mustValue(t, test.in)
			out, warning, ok := a.Convert(v)
			if !ok {
				out.Raw = ""
			}
			if out.Raw != test.want || warning != test.warning || ok != (test.want != "") {
				t.Errorf("Convert = %v, %q, %t; want %s, %q", out, warning, ok, test.want, test.warning)
			}
			if ok {
				checkValue(t, out)
				if again, _, ok := a.Convert(out); !ok || again != out {
					t.Errorf("Convert(%v) = %v, %t", out, again, ok)
				}
			}
		})
	}
}

func TestTagsTooLarge(t *testing.T) {
	t.Parallel()
	tags, _ := gateway.Standard(gateway.EntityContact, "tags")
	// Each comma becomes one with two quotes.
	var b strings.Builder
	for i := range 1500 {
		fmt.Fprintf(&b, "%d,", i)
	}
	v := gateway.TextValue(b.String())
	checkValue(t, v)
	if out, warning, ok := tags.Convert(v); ok || warning != gateway.WarnTooLarge {
		t.Errorf("Convert = %d bytes, %q, %t", len(out.Raw), warning, ok)
	}
}

func FuzzStandardName(f *testing.F) {
	for _, s := range []string{"API string attribute", "_a__B_", "İx", "ǅ", "a\xffb", "हिन्दी"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name := gateway.StandardName(s)
		if again := gateway.StandardName(name); again != name {
			t.Errorf("StandardName(%q) = %q", name, again)
		}
		if !utf8.ValidString(name) || strings.HasPrefix(name, "_") || strings.HasSuffix(name, "_") || strings.Contains(name, "__") {
			t.Errorf("StandardName(%q) = %q", s, name)
		}
		for _, entity := range []gateway.Entity{gateway.EntityContact, gateway.EntityCompany} {
			custom, ok := gateway.CustomName(entity, s)
			if _, standard := gateway.Standard(entity, custom); standard || ok && (custom == "" || len(custom) > gateway.MaxName) {
				t.Errorf("CustomName(%q) = %q, %t", s, custom, ok)
			}
		}
		if diff := cmp.Diff(gateway.StandardName(strings.ToLower(name)), name); diff != "" {
			t.Errorf("not in lower case: %q", name)
		}
	})
}
