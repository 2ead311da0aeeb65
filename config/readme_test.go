package config_test

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"civgate/config"
)

var update = flag.Bool("update", false, "rewrite the table of settings in the README")

// TestReadme holds the README's table to the settings that there are.
func TestReadme(t *testing.T) {
	t.Parallel()
	const path = "../README.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const head, foot = "| variable | flag | default | |\n|---|---|---|---|\n", "| | `--config` |"
	before, rest, ok := strings.Cut(string(data), head)
	got, after, ok2 := strings.Cut(rest, foot)
	if !ok || !ok2 {
		t.Fatal("the README has no table of settings")
	}
	want := table()
	if *update {
		if err := os.WriteFile(path, []byte(before+head+want+foot+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("the README's table of settings is not current; rewrite it with: go test ./config -update\ngot:\n%s\nwant:\n%s", got, want)
	}
}

func table() string {
	var b strings.Builder
	d := reflect.ValueOf(config.Default())
	for i, f := range reflect.VisibleFields(d.Type()) {
		name := f.Tag.Get("koanf")
		value := ""
		if v := d.Field(i); !v.IsZero() {
			value = fmt.Sprintf("`%v`", v.Interface())
		}
		help := strings.TrimSuffix(f.Tag.Get("help"), ".")
		fmt.Fprintf(&b, "| `%s%s` | `--%s` | %s | %s |\n", config.Prefix, strings.ToUpper(name), strings.ReplaceAll(name, "_", "-"), value, help)
	}
	return b.String()
}
