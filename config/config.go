// Package config turns defaults, a YAML file, CIVGATE_* variables and
// command-line flags into one checked Config. It doesn't open or start
// anything, and it is the only place that knows the names of settings.
//
// Decisions
//
//   - Later wins: defaults < file < environment < flags. kong would rank a file
//     above the environment, so kong only parses the flags and koanf merges.
//   - A setting that nobody knows is an error, in the file and in the
//     environment: a misspelt CIVGATE_TRUSTED_PROXY must not go unnoticed.
//   - One name a setting, three spellings: trusted_proxies in the file,
//     CIVGATE_TRUSTED_PROXIES in the environment, --trusted-proxies as a flag.
//   - One meaning a value, wherever it is written: the file's are taken as the
//     texts that they are, and read as those of a flag. YAML's own types would make
//     1.2345678901234568e+29 of a token of 30 digits, 83 of 0123, and 1 of true.
//   - Errors never repeat a value that may be a secret (a token, a password, a
//     URL with one), nor anything of a file that can't be read.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
)

// Prefix is that of the environment variables.
const Prefix = "CIVGATE_"

// Config is all that can be set. The help tags are the texts of the flags and
// of the README's table.
type Config struct {
	Addr           string        `koanf:"addr" help:"Address to listen on."`
	Data           string        `koanf:"data" help:"Folder of the SQLite file and the inbox."`
	DatabaseURL    string        `koanf:"database_url" help:"Where the data is, if not in the data folder: sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE."`
	RedisURL       string        `koanf:"redis_url" help:"Redis for what several nodes share: identity cache and limits. Default: each node by itself."`
	Inbox          string        `koanf:"inbox" help:"Where accepted payloads wait to be applied: file (in the data folder) or redis (for nodes without a lasting disk; needs PostgreSQL and a Redis with appendfsync always)."`
	InboxReplicas  int           `koanf:"inbox_replicas" help:"With inbox redis on a Cluster or Sentinels: how many replicas must have a payload before it is acknowledged. 0: a fail-over may lose the newest."`
	PublicURL      string        `koanf:"public_url" help:"Address under which browsers reach civgate, for the snippet that is printed. Default: http://localhost and the port."`
	APIKey         string        `koanf:"api_key" help:"apiKey of the first workspace. Default: made at the first start."`
	RESTToken      string        `koanf:"rest_token" help:"REST token of the first workspace, 20 characters or more. Default: made at the first start."`
	AdminEmail     string        `koanf:"admin_email" help:"E-mail of the first workspace's owner, who will sign in to the panel."`
	AdminPassword  string        `koanf:"admin_password" help:"Password of the first workspace's owner, 10 characters or more."`
	ScriptPath     string        `koanf:"script_path" help:"Path of the widget script."`
	IngestPath     string        `koanf:"ingest_path" help:"Path to which the widget posts."`
	Demo           bool          `koanf:"demo" help:"Serve the sample site at /demo."`
	TrustedProxies []string      `koanf:"trusted_proxies" help:"Networks (CIDR) of the proxies whose X-Forwarded-* headers count. Default: none."`
	Limits         string        `koanf:"limits" help:"on, or off for load tests."`
	LimitIP        float64       `koanf:"limit_ip" help:"Requests a second from one address, sustained; ten times as many at once."`
	LimitKey       float64       `koanf:"limit_key" help:"Payloads a second for one apiKey, sustained; ten times as many at once."`
	MaxPending     int           `koanf:"max_pending" help:"Payloads that may wait in the inbox before new ones get 503."`
	CacheSize      int           `koanf:"cache_size" help:"Browsers whose contact is remembered in memory."`
	DrainDelay     time.Duration `koanf:"drain_delay" help:"How long a stop goes on taking requests while /readyz already says 503, so that a balancer looks elsewhere first."`
	DrainTimeout   time.Duration `koanf:"drain_timeout" help:"How long a stop then waits for requests and for the inbox; it ends 3 s later at most, and what waits still is applied at the next start."`
	LogLevel       string        `koanf:"log_level" help:"debug, info, warn or error."`
	LogFormat      string        `koanf:"log_format" help:"text or json."`
	MetricsAddr    string        `koanf:"metrics_addr" help:"Address on which Prometheus finds /metrics, such as 127.0.0.1:9090. Default: off."`
	MetricsToken   string        `koanf:"metrics_token" help:"Token for /metrics on the main address, 20 characters or more. Default: not served there."`
	DebugAddr      string        `koanf:"debug_addr" help:"Address for Go's profiler (pprof), loopback only. Default: off."`
}

// Default returns the settings that count where nothing else is said.
func Default() Config {
	return Config{
		Addr:         ":8080",
		Data:         "./civgate-data",
		Inbox:        "file",
		ScriptPath:   "/widget.js",
		IngestPath:   "/ingest",
		Demo:         true,
		Limits:       "on",
		LimitIP:      200,
		LimitKey:     5000,
		MaxPending:   500_000,
		CacheSize:    100_000,
		DrainTimeout: 20 * time.Second,
		LogLevel:     "info",
		LogFormat:    "text",
	}
}

// Names returns the names of all settings, in the order of Config.
func Names() []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		names = append(names, f.Tag.Get("koanf"))
	}
	return names
}

// Load merges the settings: defaults, then the YAML file at path (if path is
// not ""), then CIVGATE_* from environ (as os.Environ gives it), then flags
// (name -> text). It returns the first setting that can't be used as an error
// of one line that names it.
func Load(path string, environ []string, flags map[string]string) (Config, error) {
	k := koanf.New("|") // a delimiter that no setting has: the settings are flat
	known := make(map[string]reflect.Type)
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		known[f.Tag.Get("koanf")] = f.Type
	}
	if path != "" {
		settings, err := readFile(path, func(name string) bool { return known[name] != nil })
		if err != nil {
			return Config{}, err
		}
		for name, value := range settings {
			if text, ok := value.(string); ok && known[name].Kind() == reflect.Slice {
				value = splitList(text)
			}
			if _, ok := value.([]string); ok && known[name].Kind() != reflect.Slice {
				return Config{}, fmt.Errorf("%s: it is one value, not a list: put it in quotes", name)
			}
			if err := k.Set(name, value); err != nil {
				return Config{}, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	var unknown string
	vars := env.Provider("|", env.Opt{
		Prefix:      Prefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(key, value string) (string, any) {
			name := strings.ToLower(strings.TrimPrefix(key, Prefix))
			if strings.HasPrefix(name, "test_") { // set by those who run the tests
				return "", nil
			}
			if known[name] == nil {
				if !isServiceLink(name, value) {
					unknown = key
				}
				return "", nil
			}
			if known[name].Kind() == reflect.Slice {
				return name, splitList(value)
			}
			return name, value
		},
	})
	if err := k.Load(vars, nil); err != nil {
		return Config{}, fmt.Errorf("read the environment: %w", err)
	}
	if unknown != "" {
		return Config{}, fmt.Errorf("%s: there is no such setting", unknown)
	}
	for name, value := range flags {
		t := known[name]
		if t == nil {
			return Config{}, fmt.Errorf("--%s: there is no such setting", strings.ReplaceAll(name, "_", "-"))
		}
		var v any = value
		if t.Kind() == reflect.Slice {
			v = splitList(value)
		}
		if err := k.Set(name, v); err != nil {
			return Config{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	c := Default()
	// One setting at a time, so that an error names the one at fault.
	for _, name := range k.Keys() {
		one := koanf.New("|")
		if err := one.Set(name, k.Get(name)); err != nil {
			return Config{}, fmt.Errorf("%s: %w", name, err)
		}
		text := k.String(name)
		if err := one.Unmarshal("", &c); err != nil || known[name].Kind() == reflect.Int && octal.MatchString(text) {
			return Config{}, fmt.Errorf("%s: %q is not a %s", name, text, kindName(known[name]))
		}
	}
	return c, c.Validate()
}

// octal are numbers that would be read to the base of eight.
var octal = regexp.MustCompile(`^[+-]?0[0-9_]`)

// serviceLink is what follows the name of a service in the variables that
// Kubernetes, and Docker for links, set in every container beside it.
var serviceLink = regexp.MustCompile(`^(service_host|service_port(_.*)?|port_[0-9]+_[a-z]+(_(proto|port|addr))?)$`)

// isServiceLink tells whether a variable was not set for civgate but because a
// service is called so. That with the bare "port" is only known by its value.
func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) || name == "port" && strings.Contains(value, "://")
}

func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func kindName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return `duration such as "20s"`
	case t.Kind() == reflect.Bool:
		return "switch: write true or false"
	case t.Kind() == reflect.Int:
		return "whole number"
	case t.Kind() == reflect.Float64:
		return "number"
	case t.Kind() == reflect.Slice:
		return "list"
	}
	return "text"
}

// ownPaths are where civgate serves something else than the script and the
// payloads, with all that is below.
var ownPaths = []string{"/api", "/demo", "/healthz", "/readyz", "/metrics"}

// Validate returns an error of one line that names the setting that can't be
// used and says what can.
func (c *Config) Validate() error {
	bad := func(name, format string, args ...any) error {
		return fmt.Errorf("%s: "+format, append([]any{name}, args...)...)
	}
	if !isAddr(c.Addr) {
		return bad("addr", "%q is not an address such as :8080 or 127.0.0.1:8080", c.Addr)
	}
	if c.Data == "" {
		return bad("data", "name a folder")
	}
	if _, err := c.SQLitePath(); err != nil && !c.Postgres() {
		return err
	}
	if scheme, _, ok := strings.Cut(c.RedisURL, "://"); c.RedisURL != "" && (!ok || scheme != "redis" && scheme != "rediss") {
		// The text may hold a password: it is not repeated.
		return bad("redis_url", "it is not of the form redis://HOST:PORT")
	}
	switch c.Inbox {
	case "file":
	case "redis":
		if c.RedisURL == "" || !c.Postgres() {
			return bad("inbox", "redis needs redis_url, and a database_url of PostgreSQL")
		}
	default:
		return bad("inbox", "%q is neither file nor redis", c.Inbox)
	}
	if c.InboxReplicas < 0 || c.InboxReplicas > 10 {
		return bad("inbox_replicas", "it must be 0 to 10")
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		// Paths go behind it and it goes into an attribute of the snippet.
		if err != nil || !isHost(u) || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || strings.ContainsAny(c.PublicURL, "?#\"'<>") {
			if strings.Contains(c.PublicURL, "@") {
				return bad("public_url", "it is printed in the snippet; leave the name and the password out")
			}
			return bad("public_url", "%q is not an address such as https://civ.example.com", c.PublicURL)
		}
	}
	if c.APIKey != "" && !isKey(c.APIKey, 4, 64) {
		return bad("api_key", "use 4 to 64 letters, digits, - or _")
	}
	if c.RESTToken != "" && !isKey(c.RESTToken, 20, 128) {
		return bad("rest_token", "use 20 to 128 letters, digits, - or _")
	}
	if (c.AdminEmail == "") != (c.AdminPassword == "") {
		return bad("admin_email", "admin_email and admin_password go together")
	}
	if c.AdminEmail != "" && !strings.Contains(c.AdminEmail, "@") {
		return bad("admin_email", "%q is not an e-mail address", c.AdminEmail)
	}
	if c.AdminPassword != "" && len(c.AdminPassword) < 10 {
		return bad("admin_password", "use 10 characters or more")
	}
	for _, p := range []struct{ name, path string }{{"script_path", c.ScriptPath}, {"ingest_path", c.IngestPath}} {
		if !strings.HasPrefix(p.path, "/") || p.path == "/" || strings.ContainsAny(p.path, "?#*: \"'<>") || strings.HasSuffix(p.path, "/") {
			return bad(p.name, "%q is not a path such as /widget.js", p.path)
		}
		for _, own := range ownPaths {
			if p.path == own || strings.HasPrefix(p.path, own+"/") {
				return bad(p.name, "%q is taken: civgate serves %s itself", p.path, own)
			}
		}
	}
	if c.ScriptPath == c.IngestPath {
		return bad("ingest_path", "it must differ from script_path")
	}
	if _, err := c.Proxies(); err != nil {
		return err
	}
	if c.Limits != "on" && c.Limits != "off" {
		return bad("limits", "%q is neither on nor off", c.Limits)
	}
	for _, l := range []struct {
		name  string
		value float64
	}{{"limit_ip", c.LimitIP}, {"limit_key", c.LimitKey}} {
		if !(l.value >= 0.1 && l.value <= 1e6) { // false for NaN
			return bad(l.name, "it must be 0.1 to 1,000,000; to switch limits off set limits to off")
		}
	}
	if c.MaxPending < 100 {
		return bad("max_pending", "it must be 100 or more")
	}
	if c.CacheSize < 100 {
		return bad("cache_size", "it must be 100 or more")
	}
	if c.DrainDelay < 0 || c.DrainDelay > maxDrainDelay {
		return bad("drain_delay", "it must be 0s to %s", maxDrainDelay)
	}
	if c.DrainTimeout <= 0 || c.DrainTimeout > maxDrainTimeout {
		return bad("drain_timeout", "it must be above 0s and at most %s", maxDrainTimeout)
	}
	switch c.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		return bad("log_level", "%q is none of debug, info, warn, error", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return bad("log_format", "%q is neither text nor json", c.LogFormat)
	}
	if c.MetricsAddr != "" && !isAddr(c.MetricsAddr) {
		return bad("metrics_addr", "%q is not an address such as 127.0.0.1:9090", c.MetricsAddr)
	}
	if c.MetricsToken != "" && !isKey(c.MetricsToken, 20, 128) {
		return bad("metrics_token", "use 20 to 128 letters, digits, - or _")
	}
	if c.DebugAddr != "" {
		host, _, _ := net.SplitHostPort(c.DebugAddr) // isAddr says whether that went well
		ip := net.ParseIP(host)
		if !isAddr(c.DebugAddr) || ip == nil || !ip.IsLoopback() {
			return bad("debug_addr", "%q is not a loopback address such as 127.0.0.1:6060", c.DebugAddr)
		}
	}
	taken := map[string]string{}
	for _, a := range []struct{ name, addr string }{{"addr", c.Addr}, {"metrics_addr", c.MetricsAddr}, {"debug_addr", c.DebugAddr}} {
		if a.addr == "" || strings.HasSuffix(a.addr, ":0") { // the system chooses
			continue
		}
		if other := taken[a.addr]; other != "" {
			return bad(a.name, "%q is that of %s: use another port", a.addr, other)
		}
		taken[a.addr] = a.name
	}
	return nil
}

// The bounds of what a stop may take: whoever stops civgate should not come to
// wonder whether it does.
const (
	maxDrainDelay   = 5 * time.Minute
	maxDrainTimeout = time.Hour
)

// isAddr reports whether s is an address to listen on: a port (a number, or the
// name of a service) and, in front of it, nothing, an IP address, or what may be
// the name of a host. It asks nobody.
func isAddr(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || port == "" {
		return false
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return false
	}
	if host == "" {
		return true
	}
	_, err = netip.ParseAddr(host)
	return err == nil || hostName.MatchString(host)
}

// hostName is what may be the name of a host: its last part has a letter, or it
// would be a mistyped IP address.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]*[A-Za-z][A-Za-z0-9_-]*\.?$`)

// isHost reports whether a URL names a host, and, if any, a port that there is.
func isHost(u *url.URL) bool {
	if u.Hostname() == "" || strings.HasSuffix(u.Host, ":") {
		return false
	}
	if u.Port() == "" {
		return true
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

func isKey(s string, least, most int) bool {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
			return false
		}
	}
	return len(s) >= least && len(s) <= most
}

// SQLitePath returns the path of the SQLite file; an error unless the data is in
// one.
func (c *Config) SQLitePath() (string, error) {
	if c.DatabaseURL == "" {
		return filepath.Join(c.Data, "civgate.db"), nil
	}
	if path, ok := strings.CutPrefix(c.DatabaseURL, "sqlite:"); ok {
		if path = strings.TrimPrefix(path, "//"); path != "" && !strings.HasSuffix(path, "/") {
			return path, nil
		}
	}
	// The text may hold a password: it is not repeated.
	return "", errors.New("database_url: it is neither of the form sqlite:PATH nor postgres://USER:PASSWORD@HOST/DATABASE")
}

// Postgres reports whether the data is in PostgreSQL.
func (c *Config) Postgres() bool {
	return strings.HasPrefix(c.DatabaseURL, "postgres://") || strings.HasPrefix(c.DatabaseURL, "postgresql://")
}

// Proxies returns the networks whose forwarding headers count.
func (c *Config) Proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range c.TrustedProxies {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, errAddr := netip.ParseAddr(s)
			if errAddr != nil {
				return nil, fmt.Errorf("trusted_proxies: %q is not a network such as 10.0.0.0/8", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// Origin returns the address under which browsers reach civgate, without a
// slash at the end.
func (c *Config) Origin() string {
	if c.PublicURL != "" {
		return strings.TrimSuffix(c.PublicURL, "/")
	}
	host, port, _ := net.SplitHostPort(c.Addr) // Validate has parsed it
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
