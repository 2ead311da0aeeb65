package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestImports holds the one direction of imports: cmd -> adapters -> gateway ->
// nothing of ours, and each technology to the packages that own it.
func TestImports(t *testing.T) {
	t.Parallel()
	const root = "civgate/"
	adapters := []string{"web", "gateway/api", "widget", "gateway/store", "gateway/inbox", "gateway/cache", "gateway/sheet", "config"}
	// May import of ours: the domain for adapters, all for commands, nothing for
	// the domain itself. storetest is a test's tool.
	allowed := func(from, to string) bool {
		switch {
		case strings.HasPrefix(from, "cmd/"):
			return !strings.HasPrefix(to, "cmd/")
		case from == "config", from == "gateway":
			return false
		case slices.Contains(adapters, from), from == "gateway/storetest":
			return to == "gateway"
		}
		return false
	}
	owners := map[string][]string{
		"github.com/labstack/echo/v4":   {"gateway/api", "web", "widget", "cmd/"},
		"github.com/rs/cors":            {"gateway/api", "widget"},
		"database/sql":                  {"gateway/store", "gateway/inbox"},
		"database/sql/driver":           {"gateway/store", "gateway/inbox"},
		"modernc.org/sqlite":            {"gateway/store", "gateway/inbox"},
		"github.com/redis/go-redis/v9":  {"gateway/cache", "gateway/cache/redistest", "gateway/inbox"},
		"github.com/alecthomas/kong":    {"cmd/"},
		"github.com/knadh/koanf/v2":     {"config"},
		"go.yaml.in/yaml/v3":            {"config", "gateway/api"},
		"github.com/maypok86/otter/v2":  {"gateway/cache"},
		"github.com/alexedwards/scs":    {"web"},
		"net/http":                      {"gateway/api", "web", "widget", "cmd/"},
		"github.com/pressly/goose/v3":   {"gateway/store"},
		"github.com/evanw/esbuild":      {},
		"github.com/chromedp":           {"widget/browsertest"},
		"github.com/andybalholm/brotli": {},
		"github.com/alicebob/miniredis": {},
		"github.com/google/go-cmp":      {"gateway/storetest"},
		"pgregory.net/rapid":            {"gateway/storetest"},
		"go.uber.org/goleak":            {},
		"testing":                       {"gateway/storetest", "gateway/store/pgtest", "gateway/cache/redistest", "widget/browsertest"},
		"github.com/santhosh-tekuri":    {},
		"github.com/jackc/pgx/v5":       {"gateway/store", "gateway/store/pgtest", "cmd/civload"},
		"github.com/prometheus":         {"gateway/api"},
	}
	for _, p := range goList(t, "-json=ImportPath,Imports", "civgate/...") {
		from := strings.TrimPrefix(p.ImportPath, root)
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, root); ours {
				if !allowed(from, to) {
					t.Errorf("%s imports %s: imports run cmd -> adapters -> gateway", from, to)
				}
				continue
			}
			for tech, packages := range owners {
				if imp != tech && !strings.HasPrefix(imp, tech+"/") || tech == "testing" && imp != tech || tech == "net/http" && imp != tech {
					continue
				}
				if !slices.ContainsFunc(packages, func(p string) bool { return from == p || strings.HasSuffix(p, "/") && strings.HasPrefix(from, p) }) {
					t.Errorf("%s imports %s, which belongs to %v", from, imp, packages)
				}
			}
		}
	}
}

// TestServerIsSmall keeps what only builds and tests need out of the server,
// so that the first go run stays short.
func TestServerIsSmall(t *testing.T) {
	t.Parallel()
	for _, p := range goList(t, "-deps", "-json=ImportPath", ".") {
		for _, heavy := range []string{"github.com/evanw/esbuild", "github.com/chromedp", "github.com/santhosh-tekuri", "github.com/andybalholm/brotli", "github.com/alicebob"} {
			if strings.HasPrefix(p.ImportPath, heavy) {
				t.Errorf("the server contains %s", p.ImportPath)
			}
		}
	}
}

type listed struct {
	ImportPath string
	Imports    []string
}

func goList(t *testing.T, args ...string) []listed {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
