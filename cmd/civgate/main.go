// Command civgate is the gateway: one binary that serves the widget, takes
// what it sends, applies it and reads it back.
//
// This package turns the command line into settings, builds the parts, starts
// them and stops them in order. It holds no rules of the domain.
//
// Decisions
//
//   - The flags are made from config.Config, so that a setting has one
//     definition. kong parses them; which source wins is config's business.
//   - Commands beside serve open the data themselves, next to a running server:
//     SQLite keeps the two apart. Only serve takes the lock of the data folder,
//     because two appliers on one file would each think that they are alone.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"civgate/config"
	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/store"
)

// version is set by release builds: -ldflags "-X main.version=1.2.3".
var version = ""

func main() {
	if _, set := os.LookupEnv("GOGC"); !set {
		paceHeap()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// The exit codes of the command. With exitUsage another try is of no use; after
// exitFailed it may be, when what was in the way is gone.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // wrong command line or settings
)

// usageError is an error of what was asked for: exitUsage.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

type commandLine struct {
	Config      string             `help:"YAML file with settings." placeholder:"FILE" type:"path"`
	Serve       struct{}           `cmd:"" default:"1" help:"Run the gateway (default)."`
	Workspace   workspaceCommand   `cmd:"" help:"List, make and change workspaces."`
	Token       tokenCommand       `cmd:"" help:"Make, list and revoke REST tokens."`
	Agent       agentCommand       `cmd:"" help:"List, add, invite, change and remove agents: the people who sign in to the panel."`
	Inbox       inboxCommand       `cmd:"" help:"Look at what was accepted and is not applied: what waits, what was set aside; replay or drop that."`
	Export      exportCommand      `cmd:"" help:"Write everything that is stored to a file, also while the server runs; prints rows and a checksum for each table."`
	ImportStore importStoreCommand `cmd:"" help:"Fill an empty database with what civgate export wrote, such as PostgreSQL with what was in SQLite."`
	Ready       struct{}           `cmd:"" help:"Ask the civgate that runs with these settings whether it can take payloads; exits with 0 if so. For health checks of containers."`
	Version     struct{}           `cmd:"" help:"Print the version."`
}

// run is the whole program in given surroundings; it returns the exit code.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	var cl commandLine
	flags := settingFlags()
	exited := -1
	parser, err := kong.New(&cl,
		kong.Name("civgate"),
		kong.Description("Self-hosted gateway for the window.civchat website snippet: contacts, companies and the links between them. Every setting is a flag, a CIVGATE_ variable or a line of a YAML file; the first of these wins."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.Embed(flags.Addr().Interface()),
	)
	if err != nil {
		fmt.Fprintln(stderr, "civgate:", err)
		return exitFailed
	}
	kctx, err := parser.Parse(args)
	switch {
	case exited >= 0: // --help has been written
		return exited
	case err != nil:
		fmt.Fprintln(stderr, "civgate:", err)
		return exitUsage
	}
	command := kctx.Command()
	if command == "version" {
		fmt.Fprintln(stdout, versionText())
		return exitOK
	}
	cfg, err := config.Load(cl.Config, environ, flagValues(flags))
	if err == nil {
		err = checkSettings(cfg)
	}
	if err != nil {
		fmt.Fprintln(stderr, "civgate:", err)
		return exitUsage
	}
	switch command {
	case "serve":
		err = serve(ctx, cfg, stdout, stderr)
	case "ready":
		err = askReady(ctx, cfg, stdout)
	case "export <file>":
		err = cl.Export.run(ctx, cfg, stdout, stderr)
	case "import-store <file>":
		err = cl.ImportStore.run(ctx, cfg, os.Stdin, stdout)
	default:
		switch group, _, _ := strings.Cut(command, " "); group {
		case "inbox":
			err = cl.Inbox.run(ctx, command, cfg, stdout)
		case "agent":
			err = cl.Agent.run(ctx, command, cfg, os.Stdin, stdout)
		case "token":
			err = cl.Token.run(ctx, command, cfg, stdout)
		default:
			err = cl.Workspace.run(ctx, command, cfg, stdout)
		}
	}
	if err != nil {
		// One line: drivers like to tell more.
		fmt.Fprintln(stderr, "civgate:", strings.Join(strings.Fields(err.Error()), " "))
		if errors.As(err, new(usageError)) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}

// checkSettings is the part of the settings' check that only those can do who use
// them: config knows neither drivers nor e-mail addresses.
func checkSettings(cfg config.Config) error {
	check := func(setting string, err error) error {
		var e *gateway.Error
		if errors.As(err, &e) {
			return fmt.Errorf("%s: %s", setting, e.Message)
		}
		return err
	}
	if cfg.Postgres() {
		if err := check("database_url", store.CheckURL(cfg.DatabaseURL)); err != nil {
			return err
		}
	}
	if cfg.AdminEmail != "" {
		if _, _, ok := gateway.NormalizeEmail(cfg.AdminEmail); !ok {
			return fmt.Errorf("admin_email: %q is not an e-mail address", cfg.AdminEmail)
		}
	}
	if cfg.RedisURL == "" {
		return nil
	}
	_, err := cache.ParseURL(cfg.RedisURL)
	return check("redis_url", err)
}

// askReady asks the running civgate what it answers to balancers.
func askReady(ctx context.Context, cfg config.Config, out io.Writer) error {
	origin, err := localOrigin(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := localClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", text)
	}
	_, err = fmt.Fprintf(out, "%s\n", text)
	return err
}

// localClient speaks to the civgate of this machine: past no proxy, and nowhere
// else than it was sent.
var localClient = &http.Client{
	Transport:     &http.Transport{Proxy: nil},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// localOrigin is where a civgate with these settings answers on this machine.
func localOrigin(cfg config.Config) (string, error) {
	host, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return "", fmt.Errorf("addr: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// settingFlags makes a struct with an optional text for every setting, as kong
// wants to have flags described.
func settingFlags() reflect.Value {
	var fields []reflect.StructField
	for _, f := range reflect.VisibleFields(reflect.TypeFor[config.Config]()) {
		name := strings.ReplaceAll(f.Tag.Get("koanf"), "_", "-")
		fields = append(fields, reflect.StructField{
			Name: f.Name, Type: reflect.TypeFor[*string](),
			Tag: reflect.StructTag(fmt.Sprintf(`name:%q help:%q placeholder:"VALUE"`, name, f.Tag.Get("help"))),
		})
	}
	return reflect.New(reflect.StructOf(fields)).Elem()
}

// flagValues returns the flags that were given, by the name of their setting.
func flagValues(flags reflect.Value) map[string]string {
	given := make(map[string]string)
	for i, name := range config.Names() {
		if v, _ := flags.Field(i).Interface().(*string); v != nil {
			given[name] = *v
		}
	}
	return given
}

func versionText() string {
	v := version
	info, ok := debug.ReadBuildInfo()
	if v == "" && ok {
		v = info.Main.Version
	}
	if v == "" {
		v = "(devel)"
	}
	if !ok {
		return "civgate " + v
	}
	return "civgate " + v + ", " + info.GoVersion
}
