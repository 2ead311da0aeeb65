package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"civgate/config"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "civgate.yaml")
	write(t, path, "addr: 127.0.0.1:1\ndata: /from/file\nlimits: off\ntrusted_proxies: [10.0.0.0/8, 192.0.2.7]\ndrain_timeout: 3s\n")

	c, err := config.Load(path,
		[]string{"CIVGATE_DATA=/from/env", "CIVGATE_DEMO=false", "CIVGATE_MAX_PENDING=1000", "PATH=/bin", "CIVGATE_TEST_REQUIRE=postgres"},
		map[string]string{"max_pending": "2000"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr != "127.0.0.1:1" || c.DrainTimeout != 3*time.Second {
		t.Errorf("the file does not count: %+v", c)
	}
	if c.Data != "/from/env" || c.Demo {
		t.Errorf("the environment does not win over the file: %+v", c)
	}
	if c.MaxPending != 2000 {
		t.Errorf("the flag does not win over the environment: %d", c.MaxPending)
	}
	if c.ScriptPath != "/widget.js" {
		t.Errorf("a default is lost: %q", c.ScriptPath)
	}
	nets, err := c.Proxies()
	if err != nil || len(nets) != 2 || nets[1].String() != "192.0.2.7/32" {
		t.Errorf("Proxies() = %v, %v", nets, err)
	}
}

// TestLoadNamesTheSetting holds every wrong setting to one line that names it.
func TestLoadNamesTheSetting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	write(t, bad, "adress: :1\n")
	broken := filepath.Join(dir, "broken.yaml")
	write(t, broken, "addr: [\n")
	for _, tt := range []struct {
		name, file string
		env        []string
		flags      map[string]string
		want       string
	}{
		{name: "address", env: []string{"CIVGATE_ADDR=8080"}, want: "addr"},
		{name: "no folder", env: []string{"CIVGATE_DATA="}, want: "data"},
		{name: "database", env: []string{"CIVGATE_DATABASE_URL=mysql://u:secret@h/d"}, want: "database_url"},
		{name: "redis", env: []string{"CIVGATE_REDIS_URL=secret@h:6379"}, want: "redis_url"},
		{name: "inbox", env: []string{"CIVGATE_INBOX=disk"}, want: "inbox"},
		{name: "inbox replicas", env: []string{"CIVGATE_INBOX_REPLICAS=-1"}, want: "inbox_replicas"},
		{name: "inbox without Redis", env: []string{"CIVGATE_INBOX=redis", "CIVGATE_DATABASE_URL=postgres://u@h/d"}, want: "inbox"},
		{name: "inbox without PostgreSQL", env: []string{"CIVGATE_INBOX=redis", "CIVGATE_REDIS_URL=redis://h"}, want: "inbox"},
		{name: "metrics address", env: []string{"CIVGATE_METRICS_ADDR=9090"}, want: "metrics_addr"},
		{name: "metrics token", env: []string{"CIVGATE_METRICS_TOKEN=short"}, want: "metrics_token"},
		{name: "public url", env: []string{"CIVGATE_PUBLIC_URL=civ.example.com"}, want: "public_url"},
		{name: "public url with a query", env: []string{"CIVGATE_PUBLIC_URL=https://civ.example.com?a=1"}, want: "public_url"},
		{name: "public url with a fragment", env: []string{"CIVGATE_PUBLIC_URL=https://civ.example.com/#a"}, want: "public_url"},
		{name: "public url with a password", env: []string{"CIVGATE_PUBLIC_URL=https://me:secret@civ.example.com"}, want: "public_url"},
		{name: "public url that ends the tag", env: []string{`CIVGATE_PUBLIC_URL=https://"><script>`}, want: "public_url"},
		{name: "api key", env: []string{"CIVGATE_API_KEY=a b"}, want: "api_key"},
		{name: "token", env: []string{"CIVGATE_REST_TOKEN=short"}, want: "rest_token"},
		{name: "admin alone", env: []string{"CIVGATE_ADMIN_EMAIL=a@b.c"}, want: "admin_email"},
		{name: "admin password", env: []string{"CIVGATE_ADMIN_EMAIL=a@b.c", "CIVGATE_ADMIN_PASSWORD=123"}, want: "admin_password"},
		{name: "script path", env: []string{"CIVGATE_SCRIPT_PATH=widget.js"}, want: "script_path"},
		{name: "same paths", env: []string{"CIVGATE_SCRIPT_PATH=/x", "CIVGATE_INGEST_PATH=/x"}, want: "ingest_path"},
		{name: "script over the demo", env: []string{"CIVGATE_SCRIPT_PATH=/demo"}, want: "script_path"},
		{name: "script below the demo", env: []string{"CIVGATE_SCRIPT_PATH=/demo/live"}, want: "script_path"},
		{name: "script over REST", env: []string{"CIVGATE_SCRIPT_PATH=/api/public/users"}, want: "script_path"},
		{name: "payloads over health", env: []string{"CIVGATE_INGEST_PATH=/healthz"}, want: "ingest_path"},
		{name: "payloads over REST", env: []string{"CIVGATE_INGEST_PATH=/api/public"}, want: "ingest_path"},
		{name: "path that ends the tag", env: []string{`CIVGATE_SCRIPT_PATH=/"><script>`}, want: "script_path"},
		{name: "port", env: []string{"CIVGATE_PORT=9000"}, want: "CIVGATE_PORT"},
		{name: "proxies", env: []string{"CIVGATE_TRUSTED_PROXIES=10.0.0.0/8,house"}, want: "trusted_proxies"},
		{name: "limits", env: []string{"CIVGATE_LIMITS=some"}, want: "limits"},
		{name: "limit", env: []string{"CIVGATE_LIMIT_IP=0"}, want: "limit_ip"},
		{name: "limit below one request in ten seconds", env: []string{"CIVGATE_LIMIT_IP=0.05"}, want: "limit_ip"},
		{name: "limit that is none", env: []string{"CIVGATE_LIMIT_KEY=NaN"}, want: "limit_key"},
		{name: "limit without end", env: []string{"CIVGATE_LIMIT_KEY=Inf"}, want: "limit_key"},
		{name: "number", env: []string{"CIVGATE_LIMIT_KEY=many"}, want: "limit_key"},
		{name: "whole number", env: []string{"CIVGATE_MAX_PENDING=1.5"}, want: "max_pending"},
		{name: "duration", env: []string{"CIVGATE_DRAIN_TIMEOUT=soon"}, want: "drain_timeout"},
		{name: "yes or no", env: []string{"CIVGATE_DEMO=perhaps"}, want: "demo"},
		{name: "level", env: []string{"CIVGATE_LOG_LEVEL=loud"}, want: "log_level"},
		{name: "format", env: []string{"CIVGATE_LOG_FORMAT=xml"}, want: "log_format"},
		{name: "profiler for all", env: []string{"CIVGATE_DEBUG_ADDR=:6060"}, want: "debug_addr"},
		{name: "unknown variable", env: []string{"CIVGATE_TRUSTED_PROXY=::1"}, want: "CIVGATE_TRUSTED_PROXY"},
		{name: "unknown flag", flags: map[string]string{"no_such": "1"}, want: "no-such"},
		{name: "port that there isn't", env: []string{"CIVGATE_ADDR=127.0.0.1:99999"}, want: "addr"},
		{name: "no port", env: []string{"CIVGATE_ADDR=127.0.0.1:"}, want: "addr"},
		{name: "URL as address", env: []string{"CIVGATE_ADDR=http://127.0.0.1"}, want: "addr"},
		{name: "mistyped IP address", env: []string{"CIVGATE_ADDR=127.0.0.256:80"}, want: "addr"},
		{name: "address with a space", env: []string{"CIVGATE_ADDR=my host:80"}, want: "addr"},
		{name: "metrics port that there isn't", env: []string{"CIVGATE_METRICS_ADDR=:-1"}, want: "metrics_addr"},
		{name: "metrics where all else is", env: []string{"CIVGATE_ADDR=:9090", "CIVGATE_METRICS_ADDR=:9090"}, want: "metrics_addr"},
		{name: "profiler where the metrics are", env: []string{"CIVGATE_METRICS_ADDR=127.0.0.1:9090", "CIVGATE_DEBUG_ADDR=127.0.0.1:9090"}, want: "debug_addr"},
		{name: "profiler port that there isn't", env: []string{"CIVGATE_DEBUG_ADDR=127.0.0.1:66666"}, want: "debug_addr"},
		{name: "public url without a host", env: []string{"CIVGATE_PUBLIC_URL=https://:443"}, want: "public_url"},
		{name: "public url with a port that there isn't", env: []string{"CIVGATE_PUBLIC_URL=https://civ.example.com:99999"}, want: "public_url"},
		{name: "public url that can't be read, with a password", env: []string{"CIVGATE_PUBLIC_URL=https://me:secret%zz@civ.example.com"}, want: "public_url"},
		{name: "SQLite without a file", env: []string{"CIVGATE_DATABASE_URL=sqlite:///"}, want: "database_url"},
		{name: "SQLite in a folder", env: []string{"CIVGATE_DATABASE_URL=sqlite:/data/"}, want: "database_url"},
		{name: "drain delay below 0", env: []string{"CIVGATE_DRAIN_DELAY=-1s"}, want: "drain_delay"},
		{name: "drain delay without end", env: []string{"CIVGATE_DRAIN_DELAY=1h"}, want: "drain_delay"},
		{name: "drain timeout without end", env: []string{"CIVGATE_DRAIN_TIMEOUT=1000h"}, want: "drain_timeout"},
		{name: "octal number", env: []string{"CIVGATE_MAX_PENDING=0500"}, want: "max_pending"},
		{name: "unknown in file", file: bad, want: "adress"},
		{name: "broken file", file: broken, want: broken},
		{name: "no file", file: filepath.Join(dir, "none.yaml"), want: "none.yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(tt.file, tt.env, tt.flags)
			if err == nil {
				t.Fatal("it was taken")
			}
			if msg := err.Error(); !strings.Contains(msg, tt.want) || strings.Contains(msg, "secret") {
				t.Errorf("%q does not name %s alone", msg, tt.want)
			} else if tt.file == "" && strings.Contains(msg, "\n") {
				t.Errorf("%q is more than a line", msg)
			}
		})
	}
}

// TestLoadBesideAServiceCalledCivgate: Kubernetes tells every pod of a namespace
// of its services in variables, and those of one that is called civgate look
// like settings.
func TestLoadBesideAServiceCalledCivgate(t *testing.T) {
	t.Parallel()
	c, err := config.Load("", []string{
		"CIVGATE_SERVICE_HOST=10.0.0.11",
		"CIVGATE_SERVICE_PORT=80",
		"CIVGATE_SERVICE_PORT_HTTP=80",
		"CIVGATE_PORT=tcp://10.0.0.11:80",
		"CIVGATE_PORT_80_TCP=tcp://10.0.0.11:80",
		"CIVGATE_PORT_80_TCP_PROTO=tcp",
		"CIVGATE_PORT_80_TCP_PORT=80",
		"CIVGATE_PORT_80_TCP_ADDR=10.0.0.11",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr != config.Default().Addr {
		t.Errorf("addr became %q", c.Addr)
	}
}

// TestLoadOtherPaths holds the refusal of civgate's own paths to these.
func TestLoadOtherPaths(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/demonstration.js", "/apis", "/healthz.js", "/static/w-1_2.js", "/a/b"} {
		if _, err := config.Load("", nil, map[string]string{"script_path": path, "ingest_path": path + "2"}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestExample holds config.example.yaml to the settings and defaults that
// there are.
func TestExample(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range config.Names() {
		if !strings.Contains(string(data), name+":") {
			t.Errorf("the example lacks %s", name)
		}
	}
	// Uncommented it is the default configuration, but for the secrets.
	var lines []string
	for line := range strings.Lines(string(data)) {
		lines = append(lines, strings.TrimPrefix(line, "#"))
	}
	path := filepath.Join(t.TempDir(), "c.yaml")
	var settings []string
	for _, l := range lines {
		if name, _, ok := strings.Cut(l, ":"); ok && !strings.HasPrefix(l, " ") && !strings.Contains(name, " ") {
			settings = append(settings, l)
		}
	}
	write(t, path, strings.Join(settings, ""))
	c, err := config.Load(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := config.Default()
	if c.Addr != d.Addr || c.Data != d.Data || c.MaxPending != d.MaxPending || c.LimitIP != d.LimitIP || c.DrainTimeout != d.DrainTimeout || c.Demo != d.Demo {
		t.Errorf("the example differs from the defaults:\n%+v\n%+v", c, d)
	}
}

// TestFileAsWritten: what YAML takes for a number, a switch or a date is the text
// that was written, as it is in the environment.
func TestFileAsWritten(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		line, want string // want: "" for what is not set
	}{
		{"api_key: 0123", "0123"},
		{"api_key: 1e55", "1e55"},
		{"api_key: 0x1F", "0x1F"},
		{"api_key: 1_000", "1_000"},
		{"api_key: 123456789012345678901234567890", "123456789012345678901234567890"},
		{"api_key: yes_", "yes_"},
		{"api_key: true", "true"},
		{"api_key: 2026-01-02", "2026-01-02"},
		{"api_key: \"0123\"", "0123"},
		{"api_key: !!str 0123", "0123"},
		{"api_key: null", ""},
		{"api_key:", ""},
		{"other: &a 0777\napi_key: *a", ""},
		{"rest_token: &a 01234567890123456789\napi_key: *a", "01234567890123456789"},
		{"# nothing", ""},
		{"", ""},
		{"---", ""},
	} {
		path := filepath.Join(t.TempDir(), "c.yaml")
		write(t, path, tt.line+"\n")
		c, err := config.Load(path, nil, nil)
		if c.APIKey != tt.want {
			t.Errorf("%q gives %q (%v), want %q", tt.line, c.APIKey, err, tt.want)
		}
	}
	path := filepath.Join(t.TempDir(), "c.yaml")
	write(t, path, "demo: false\nlimit_ip: 0.5\nmax_pending: 1000\ndrain_delay: 5s\ntrusted_proxies: 10.0.0.0/8, 192.0.2.7\nmetrics_token: 12345678901234567890123\n")
	c, err := config.Load(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Demo || c.LimitIP != 0.5 || c.MaxPending != 1000 || c.DrainDelay != 5*time.Second || len(c.TrustedProxies) != 2 || c.MetricsToken != "12345678901234567890123" {
		t.Errorf("%+v", c)
	}
}

// TestErrorsKeepSecrets gives every setting that may be secret in every way that
// does not work: what was given is never repeated, the file and the line are.
func TestErrorsKeepSecrets(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, name := range []string{"rest_token", "admin_password", "metrics_token", "database_url", "redis_url", "public_url"} {
		for _, form := range []string{
			"%s: [hunter2]", "%s: {a: hunter2}", "%s: !hunter2 a", "%s: !a hunter2", "%s: *hunter2", "%s:hunter2", "%s:hunter2: a", "%s=hunter2",
			"%s: @hunter2", "%s: `hunter2", "%s: %%hunter2", "%s: \"hunter2", "%s: 'hunter2' hunter2", "%s: a: hunter2", "%s: hunter2\n%[1]s: hunter2",
			"%s: !!binary hunter2", "%s: !!int hunter2", "%s: - hunter2", "%s: ? hunter2", "%s: \"\\hunter2\"", "%s: http://me:hunter2@h:port/",
			"%s: postgre://me:hunter2@h/d", "%s: {hunter2", "%s: |hunter2", "- %s: hunter2", "%s: [[hunter2]]", "<<: {%s: hunter2}",
		} {
			path := filepath.Join(t.TempDir(), "c.yaml")
			line := fmt.Sprintf(form, name)
			write(t, path, line+"\n")
			_, err := config.Load(path, nil, nil)
			if err == nil {
				t.Errorf("%q was taken", line)
			} else if msg := err.Error(); strings.Contains(msg, secret) || strings.Contains(msg, "\n") || !strings.HasPrefix(msg, "admin_email: ") && !strings.Contains(msg, name+":") && !strings.Contains(msg, path) {
				t.Errorf("%q: %s", line, msg)
			}
		}
		for _, value := range []string{secret, "a " + secret, "mysql://me:" + secret + "@h/d", "https://me:" + secret + "%zz@h"} {
			if name == "public_url" && !strings.Contains(value, "@") || name == "admin_password" {
				continue // no secret, and taken
			}
			for _, given := range []struct {
				env   []string
				flags map[string]string
			}{
				{env: []string{config.Prefix + strings.ToUpper(name) + "=" + value}},
				{flags: map[string]string{name: value}},
			} {
				if _, err := config.Load("", given.env, given.flags); err == nil {
					t.Errorf("%s: %q was taken", name, value)
				} else if msg := err.Error(); strings.Contains(msg, secret) || !strings.HasPrefix(msg, name+": ") {
					t.Errorf("%s: %q: %s", name, value, msg)
				}
			}
		}
	}
}

// TestFileIsBounded: whatever is no file of settings is not read whole.
func TestFileIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c.yaml")
	write(t, path, "#"+strings.Repeat(" ", 1<<20))
	if _, err := config.Load(path, nil, nil); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Error(err)
	}
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ addr, public, want string }{
		{":8080", "", "http://localhost:8080"},
		{"0.0.0.0:80", "", "http://localhost:80"},
		{"[::]:80", "", "http://localhost:80"},
		{"127.0.0.1:9", "", "http://127.0.0.1:9"},
		{":8080", "https://civ.example.com/", "https://civ.example.com"},
	} {
		c := config.Default()
		c.Addr, c.PublicURL = tt.addr, tt.public
		if got := c.Origin(); got != tt.want {
			t.Errorf("Origin of %q and %q = %q, want %q", tt.addr, tt.public, got, tt.want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
