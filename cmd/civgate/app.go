package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"civgate/config"
	"civgate/gateway"
	"civgate/gateway/api"
	"civgate/gateway/cache"
	"civgate/gateway/inbox"
	"civgate/gateway/store"
	"civgate/web"
	"civgate/widget"
)

// The time that a client has to send what it started. They bound what a
// slow-loris holds: a connection and its buffers for this long.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 15 * time.Second
	idleTimeout   = 2 * time.Minute
)

// localNode is the name under which a database that belongs to one process keeps
// the position of its inbox.
const localNode = "local"

// limitedNames is how many addresses and keys are counted at once.
const limitedNames = 100_000

// signInLimits bound attempts to sign in to the panel: five a minute of an e-mail (or
// of a browser that its agent has signed in with) and thirty an hour in the long run, and
// more of an address, behind which a whole office may be.
var signInLimits = map[string]cache.Limit{
	web.LimitSignInEmail:       {PerSecond: 5.0 / 60, Burst: 5},
	web.LimitSignInEmailLong:   {PerSecond: 30.0 / 3600, Burst: 30},
	web.LimitSignInDevice:      {PerSecond: 5.0 / 60, Burst: 5},
	web.LimitSignInDeviceLong:  {PerSecond: 30.0 / 3600, Burst: 30},
	web.LimitSignInAddress:     {PerSecond: 20.0 / 60, Burst: 20},
	web.LimitSignInAddressLong: {PerSecond: 120.0 / 3600, Burst: 120},
}

// intake is what takes payloads in: a file, or Redis Streams.
type intake interface {
	gateway.Intake
	Close() error
}

// app is a running civgate.
type app struct {
	cfg     config.Config
	log     *zap.Logger
	lock    *flock.Flock
	node    string // this process's inbox, as the store knows it
	store   *store.Store
	redis   *cache.Redis // nil without redis_url
	intake  intake
	metrics *api.Metrics
	server  *http.Server
	others  []*http.Server // for metrics_addr and debug_addr
	addr    net.Addr
	first   newWorkspace

	stopping chan struct{}      // closed when a stop begins: the node is no longer ready
	done     chan struct{}      // closed when no more requests are taken: ends streams
	stopRun  context.CancelFunc // ends the applier and the housekeeping
	running  sync.WaitGroup
	failed   chan error // what ended the server or the applier before its time
}

// serve runs civgate until ctx ends or a part of it fails, and stops it in
// order.
func serve(ctx context.Context, cfg config.Config, stdout, stderr io.Writer) error {
	log, err := newLog(cfg, stderr)
	if err != nil {
		return err
	}
	a, err := start(ctx, cfg, log)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		log.Info("stopped before it was ready")
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, a.welcome())
	delay := cfg.DrainDelay
	select {
	case <-ctx.Done():
		log.Info("stopping", zap.Duration("drain_delay", delay), zap.Duration("drain_timeout", cfg.DrainTimeout))
	case err = <-a.failed:
		delay = 0 // requests that a balancer still sends would fare no better
	}
	return errors.Join(err, a.stop(delay))
}

func newLog(cfg config.Config, w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(cfg.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("log_level: %w", err)
	}
	ec := zap.NewProductionEncoderConfig()
	ec.EncodeTime = zapcore.RFC3339TimeEncoder
	enc := zapcore.NewJSONEncoder(ec)
	if cfg.LogFormat == "text" {
		ec.EncodeLevel = zapcore.CapitalLevelEncoder
		enc = zapcore.NewConsoleEncoder(ec)
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(w)), level)), nil
}

// start builds the parts and starts them; on an error it has stopped what it
// had started.
func start(ctx context.Context, cfg config.Config, log *zap.Logger) (_ *app, err error) {
	a := &app{cfg: cfg, log: log, metrics: api.NewMetrics(), stopping: make(chan struct{}), done: make(chan struct{}), failed: make(chan error, 4)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if err := a.openData(ctx); err != nil {
		return nil, err
	}
	// Whatever can fail comes before the workspace: who has to start again must not
	// have missed the token, which is shown once.
	listener, err := listen("addr", cfg.Addr)
	if err != nil {
		return nil, err
	}
	a.addr = listener.Addr()
	defer func() {
		if err != nil {
			err = errors.Join(err, listener.Close())
		}
	}()
	identities, limiter, err := a.openCache()
	if err != nil {
		return nil, err
	}
	for _, other := range []struct {
		setting, addr string
		handler       http.Handler
	}{
		{"metrics_addr", cfg.MetricsAddr, metricsOnly(a.metrics)},
		{"debug_addr", cfg.DebugAddr, profiler()},
	} {
		if other.addr == "" {
			continue
		}
		l, err := listen(other.setting, other.addr)
		if err != nil {
			return nil, err
		}
		s := newServer(other.handler, log)
		a.others = append(a.others, s)
		a.serveOn(s, l)
	}
	err = a.store.Exclusively(ctx, func() (err error) {
		a.first, err = firstWorkspace(ctx, a.store, cfg)
		return err
	})
	if err != nil {
		return nil, err
	}
	file, _ := a.intake.(gateway.Inbox) // nil: the intake has shards
	gw := gateway.New(gateway.Config{
		Store: a.store, Inbox: file, Intake: a.intake, Cache: identities, Log: log, Limiter: limiter, Node: a.node, Observer: a.metrics,
		Inspect: true,
	})
	a.metrics.Gauge("civgate_inbox_pending", "Payloads acknowledged and not yet visible.", func() float64 { return float64(gw.Pending()) })
	a.metrics.Gauge("civgate_inbox_lag_seconds", "For how long the oldest payload that is being applied has been waiting, or for how long the inbox can't be read.", func() float64 { return gw.Lag().Seconds() })
	handler, err := a.handler(gw, limiter)
	if err != nil {
		return nil, err
	}
	a.server = newServer(handler, log)
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.stopRun = cancel
	inspectCtx, stopInspector := context.WithCancel(context.WithoutCancel(ctx))
	a.running.Go(func() {
		defer stopInspector() // it shows the last batch too
		if err := a.apply(runCtx, gw); runCtx.Err() == nil {
			a.failed <- err
		}
	})
	a.running.Go(func() { _ = gw.RunInspector(inspectCtx) }) // ends with its context
	a.running.Go(func() { a.housekeep(runCtx, gw) })
	a.running.Go(func() { _ = gw.RunJobs(runCtx) })  // it ends with runCtx
	a.running.Go(func() { _ = gw.RunNames(runCtx) }) // likewise
	a.serveOn(a.server, listener)
	return a, nil
}

// listen listens where a setting says. That the address is none of this machine
// is the setting's fault; that another process has it is not.
func listen(setting, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	var lookup *net.DNSError
	switch {
	case err == nil:
		return l, nil
	case errors.As(err, &lookup) && lookup.IsNotFound, errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, usagef("%s: %q is not an address of this machine: name one, or the port alone, such as :8080", setting, addr)
	}
	return nil, fmt.Errorf("%s: %w", setting, err)
}

// openData opens the store and the inbox. The data folder is this process's
// alone; a PostgreSQL database may have other nodes.
func (a *app) openData(ctx context.Context) error {
	source, dir := a.cfg.DatabaseURL, a.cfg.Data
	if !a.cfg.Postgres() {
		path, err := a.cfg.SQLitePath()
		if err != nil {
			return err
		}
		source, dir = path, filepath.Dir(path)
	}
	for _, dir := range []string{a.cfg.Data, dir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("data: make the folder: %w", err)
		}
	}
	var err error
	if a.lock, err = lockData(a.cfg); err != nil {
		return err
	}
	a.node = localNode
	if a.cfg.Postgres() {
		if a.node, err = nodeName(a.cfg.Data); err != nil {
			return fmt.Errorf("data: %w", err)
		}
	}
	if a.store, err = store.Open(ctx, source); err != nil {
		setting := "data"
		if a.cfg.DatabaseURL != "" {
			setting = "database_url"
		}
		return fmt.Errorf("%s: %w", setting, err)
	}
	return a.openInbox(ctx)
}

// errInUse is what lockData answers while another civgate works on the data.
var errInUse = errors.New("another civgate works on it: stop it first, or name another folder with --data")

// lockData makes sure that no other process serves or fills the data that the
// settings name, until the lock is given back. The folder must exist. A command
// that only reads, or changes what the database itself keeps apart, needs none.
func lockData(cfg config.Config) (*flock.Flock, error) {
	path := filepath.Join(cfg.Data, "civgate")
	if !cfg.Postgres() {
		var err error
		if path, err = cfg.SQLitePath(); err != nil {
			return nil, err
		}
	}
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("data: lock %s: %w", path, err)
	case !ok:
		return nil, fmt.Errorf("data: %s: %w", path, errInUse)
	}
	return lock, nil
}

// openInbox opens what takes the payloads in.
func (a *app) openInbox(ctx context.Context) error {
	if a.cfg.Inbox == "redis" {
		redis, err := cache.ParseURL(a.cfg.RedisURL)
		if err != nil {
			return fmt.Errorf("redis_url: %w", err)
		}
		stream, err := inbox.OpenStream(ctx, inbox.StreamOptions{
			Redis: redis, Node: a.node, Position: a.store.InboxPosition, MaxPending: int64(a.cfg.MaxPending),
			Replicas: a.cfg.InboxReplicas, Log: a.log,
		})
		if err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
		a.intake = stream
		return nil
	}
	position, err := a.store.InboxPosition(ctx, a.node)
	if err != nil {
		return fmt.Errorf("read the inbox position: %w", err)
	}
	file, err := inbox.Open(ctx, filepath.Join(a.cfg.Data, "inbox"), position, inbox.Options{MaxPending: int64(a.cfg.MaxPending)})
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	a.intake = file
	return nil
}

// apply applies what the intake took in until ctx ends.
func (a *app) apply(ctx context.Context, gw *gateway.Gateway) error {
	if stream, ok := a.intake.(*inbox.Stream); ok {
		return stream.Own(ctx, func(ctx context.Context, sh *inbox.Shard) error { return gw.RunShard(ctx, sh.Name(), sh) })
	}
	return gw.Run(ctx)
}

// openCache makes the identity cache and the limits (nil: none), shared through
// Redis where one is set.
func (a *app) openCache() (gateway.Cache, gateway.Limiter, error) {
	limits := map[string]cache.Limit{
		"ip":  {PerSecond: a.cfg.LimitIP, Burst: int(10 * a.cfg.LimitIP)},
		"key": {PerSecond: a.cfg.LimitKey, Burst: int(10 * a.cfg.LimitKey)},
	}
	maps.Copy(limits, signInLimits)
	limited := a.cfg.Limits == "on"
	if a.cfg.RedisURL == "" {
		identities := a.ownCache()
		if !limited {
			return identities, nil, nil
		}
		return identities, cache.NewLimiter(limits, limitedNames, time.Now), nil
	}
	shared, err := cache.NewRedis(cache.Options{URL: a.cfg.RedisURL, Local: a.cfg.CacheSize, Log: a.log})
	if err != nil {
		return nil, nil, fmt.Errorf("redis_url: %w", err)
	}
	a.redis = shared
	var limiter gateway.Limiter
	if limited {
		limiter = shared.NewLimiter(limits, limitedNames, time.Now)
	}
	if !a.cfg.Postgres() {
		// What Redis says has to be confirmed by the database, and a database that
		// is a file of this process confirms nothing: it takes its own cache's word.
		a.log.Info("the data is in a file of this process, so identities are cached in it; Redis holds the limits")
		return a.ownCache(), limiter, nil
	}
	a.redisMetrics()
	return shared, limiter, nil
}

// The metric that says which layer of the cache knew an identity.
const (
	lookupsName = "civgate_cache_lookups_total"
	lookupsHelp = "Identities looked up, by the layer that knew them."
)

// ownCache makes the identity cache of a process that is alone on its data.
func (a *app) ownCache() *cache.Memory {
	m := cache.New(a.cfg.CacheSize)
	a.metrics.Counter(lookupsName, lookupsHelp, func() float64 { hits, _ := m.Lookups(); return float64(hits) }, "layer", "memory")
	a.metrics.Counter(lookupsName, lookupsHelp, func() float64 { _, misses := m.Lookups(); return float64(misses) }, "layer", "none")
	return m
}

// redisMetrics shows what the shared cache counts.
func (a *app) redisMetrics() {
	count := func(f func(s cache.Stats) uint64) func() float64 {
		return func() float64 { return float64(f(a.redis.Stats())) }
	}
	a.metrics.Counter(lookupsName, lookupsHelp, count(func(s cache.Stats) uint64 { return s.LocalHits }), "layer", "memory")
	a.metrics.Counter(lookupsName, lookupsHelp, count(func(s cache.Stats) uint64 { return s.RedisHits }), "layer", "redis")
	a.metrics.Counter(lookupsName, lookupsHelp, count(func(s cache.Stats) uint64 { return s.Misses }), "layer", "none")
	a.metrics.Counter("civgate_redis_errors_total", "Calls that Redis failed or answered too late.", count(func(s cache.Stats) uint64 { return s.Errors }))
	a.metrics.Counter("civgate_redis_refused_total", "Writes that Redis refused for want of memory.", count(func(s cache.Stats) uint64 { return s.Refused }))
	a.metrics.Gauge("civgate_redis_circuit_open", "1 while Redis is not asked because it failed.", func() float64 {
		if a.redis.Stats().CircuitOpen {
			return 1
		}
		return 0
	})
}

// nodeName is the name of the inbox in dir, under which a database that several
// nodes share keeps its position. It is made once and stays with the folder: a
// host name may come back with another disk.
func nodeName(dir string) (string, error) {
	path := filepath.Join(dir, "node")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		name := strings.ToLower(rand.Text()[:16])
		return name, writeDurably(path, name+"\n")
	}
	if err != nil {
		return "", fmt.Errorf("read this node's name: %w", err)
	}
	name := strings.TrimSpace(string(text))
	if name == "" || len(name) > 64 {
		return "", fmt.Errorf("%s is damaged: it holds no name; with an empty inbox folder it can be deleted", path)
	}
	return name, nil
}

// writeDurably makes a file that is there whole or not at all, whatever happens.
func writeDurably(path, text string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(text)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func newServer(h http.Handler, log *zap.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          zap.NewStdLog(log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
	}
}

func (a *app) serveOn(s *http.Server, l net.Listener) {
	a.running.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
	})
}

// handler puts all routes together.
func (a *app) handler(gw *gateway.Gateway, limiter gateway.Limiter) (http.Handler, error) {
	proxies, err := a.cfg.Proxies()
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.IPExtractor = api.IPExtractor(proxies)
	e.SchemeExtractor = api.SchemeExtractor(proxies)
	recovered := middleware.DefaultRecoverConfig
	recovered.LogErrorFunc = func(c echo.Context, err error, stack []byte) error {
		a.log.Error("panic in a handler", zap.String("route", c.Path()), zap.Error(err), zap.ByteString("stack", stack))
		return err
	}
	e.Use(middleware.RecoverWithConfig(recovered), middleware.RequestIDWithConfig(middleware.RequestIDConfig{
		// Payloads come by the thousand and are known by their message ids.
		Skipper: func(c echo.Context) bool { return c.Path() == a.cfg.IngestPath },
	}))
	server := api.New(api.Settings{Reader: gw.Read(), Editor: gw, Log: a.log, TrustedProxies: proxies})
	e.HTTPErrorHandler = server.HandleError
	server.Mount(e)
	ingest := api.Ingest{Path: a.cfg.IngestPath, Gateway: gw, Limiter: limiter, Observer: a.metrics, Inspector: gw}
	server.MountIngest(e, ingest)
	server.MountSDK(e, ingest)
	server.MountHealth(e, gw, a.stopping)
	if a.cfg.MetricsToken != "" {
		server.MountMetrics(e, a.metrics, a.cfg.MetricsToken)
	}
	widget.Mount(e, widget.Settings{ScriptPath: a.cfg.ScriptPath, IngestPath: a.cfg.IngestPath})
	signIns := limiter
	if signIns == nil { // guessing passwords is limited all the same
		signIns = cache.NewLimiter(signInLimits, limitedNames, time.Now)
	}
	web.MountPanel(e, web.Panel{Read: gw.Read(), Gateway: gw, Log: a.log, Limiter: signIns, Done: a.done, Origin: a.cfg.PublicURL, ScriptPath: a.cfg.ScriptPath})
	if a.cfg.Demo {
		web.MountDemo(e, web.Demo{
			Read: gw.Read(), Workspace: a.first.id, APIKey: a.first.apiKey, Changed: gw.Changed,
			ScriptPath: a.cfg.ScriptPath, Log: a.log, Done: a.done,
		})
		e.GET("/", func(c echo.Context) error { return c.Redirect(http.StatusFound, "/demo") })
	}
	return e, nil
}

// metricsOnly serves the metrics on an address of their own, where whoever gets
// through may read them.
func metricsOnly(m *api.Metrics) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	return mux
}

// profiler serves Go's own profiles.
func profiler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// housekeep deletes what has served its time, a little at a time.
func (a *app) housekeep(ctx context.Context, gw *gateway.Gateway) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := gw.Forget(ctx); err != nil && ctx.Err() == nil {
				a.log.Warn("housekeeping", zap.Error(err))
			}
			if err := gw.Sweep(ctx); err != nil && ctx.Err() == nil {
				a.log.Warn("housekeeping", zap.Error(err))
			}
			if err := gw.Agents().Forget(ctx); err != nil && ctx.Err() == nil {
				a.log.Warn("forget old sessions", zap.Error(err))
			}
		}
	}
}

// closeTime is by how much a stop may outlast drain_timeout: for the attempt to
// apply that was under way then, and for closing the files.
const closeTime = 3 * time.Second

// stop ends the app in order: it says that it is not ready, and goes on for delay
// as if nothing was; then there are no new requests, the inbox is applied as far
// as drain_timeout allows, and everything is closed. What the inbox still holds
// is applied at the next start.
//
// It takes closeTime more at most. What does not close by then (a database that
// somebody has locked, or that doesn't answer; a disk that hangs) is left as it is,
// for the process to end with: no file here minds, for all of them are made for an
// end at any moment, and what was acknowledged is in the inbox.
func (a *app) stop(delay time.Duration) error {
	close(a.stopping)
	var failed error
	if delay > 0 {
		t := time.NewTimer(delay)
		select {
		case <-t.C:
		case failed = <-a.failed:
			t.Stop()
		}
	}
	deadline := time.Now().Add(a.cfg.DrainTimeout)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	close(a.done)
	if err := a.server.Shutdown(ctx); err != nil {
		a.log.Warn("some requests did not end in time", zap.Error(err))
		_ = a.server.Close() // whoever is still there is cut off
	}
	if _, own := a.intake.(gateway.Inbox); own { // else other nodes go on with it
		for a.intake.Pending() > 0 && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		if n := a.intake.Pending(); n > 0 {
			a.log.Warn("payloads wait in the inbox for the next start", zap.Int64("inbox_pending", n))
		}
	}
	closed := make(chan error, 1)
	go func() { closed <- a.close() }()
	last := time.NewTimer(time.Until(deadline) + closeTime)
	defer last.Stop()
	select {
	case err := <-closed:
		return errors.Join(failed, err)
	case <-last.C:
		a.log.Warn("something under way does not end; the next start goes on from what is on disk")
		return failed
	}
}

// close releases what start took, as far as it came.
func (a *app) close() error {
	var errs []error
	for _, s := range a.others {
		errs = append(errs, s.Close())
	}
	if a.server != nil {
		errs = append(errs, a.server.Close())
	}
	if a.stopRun != nil {
		a.stopRun()
	}
	a.running.Wait()
	if a.intake != nil {
		errs = append(errs, a.intake.Close())
	}
	if a.redis != nil {
		errs = append(errs, a.redis.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if a.lock != nil {
		errs = append(errs, a.lock.Unlock())
	}
	return errors.Join(errs...)
}

// welcome is what a newcomer needs to know.
func (a *app) welcome() string {
	cfg := a.cfg
	if host, _, err := net.SplitHostPort(cfg.Addr); err == nil {
		// With port 0 the system has chosen one.
		if _, port, err := net.SplitHostPort(a.addr.String()); err == nil {
			cfg.Addr = net.JoinHostPort(host, port)
		}
	}
	origin := cfg.Origin()
	text := "\ncivgate is ready at " + origin + "\n\n"
	if cfg.Demo {
		text += "  Open the demo:   " + origin + "/demo\n"
	}
	text += "  Panel:           " + origin + "/panel (an agent for it: civgate agent add " + fmt.Sprint(int64(a.first.id)) + " you@example.com --role owner)\n"
	text += "  Health:          " + origin + "/healthz\n"
	switch {
	case a.first.fresh:
		text += "  REST token:      " + a.first.token + "\n" +
			"  Try it:          curl -H 'Authorization: Token " + a.first.token + "' " + origin + "/api/public/users/\n"
	case a.first.token != "":
		text += "  REST token:      the one of the settings\n"
	default:
		text += "  REST token:      shown when it was made; another: civgate token create " + fmt.Sprint(int64(a.first.id)) + "\n"
	}
	text += fmt.Sprintf(`
Paste this before </body> of your pages:

<script data-cfasync="false" type="text/javascript">
  window.civchat = {
    apiKey: %q
  };
</script>
<script data-cfasync="false" type="text/javascript" src="%s%s"></script>

For people who are logged in, add what you know of them:

  window.civchat = {
    apiKey: %q,
    user_id: "42",
    email: "ada@acme.example",
    name: "Ada Lovelace",
    company: { company_id: "c7", name: "Acme" }
  };

`, a.first.apiKey, origin, cfg.ScriptPath, a.first.apiKey)
	if n := a.intake.Pending(); n > 0 {
		text += beingApplied(n) + "\n\n"
	}
	return text
}

// beingApplied tells what a start finds in the inbox: its own of an earlier run,
// or, in Redis, that of all nodes.
func beingApplied(n int64) string {
	if n == 1 {
		return "1 payload that was accepted before is being applied now."
	}
	return plural(n, "payload") + " that were accepted before are being applied now."
}
