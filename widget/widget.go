// Package widget owns the browser script of civgate: its TypeScript source (src), the committed bundle made from it (dist)
// and the route that delivers it. It does not own what the script posts to: the ingest endpoint lives in gateway/api.
//
// The script's map is at the top of src/main.ts. Rebuild the bundle with go generate after a change there; a test compares
// the committed files with what the source makes. Type checks need Node: npm ci && npm run check.
//
// Decisions:
//   - esbuild and brotli run in the tests only, so that the server carries neither: the bundle and both of its compressed
//     forms are committed. A setting that changes the script's text costs the brotli form; gzip is made again at start.
//   - The script finds the gateway relative to its own address ("./ingest"), so a proxy that publishes the gateway under a
//     prefix needs no setting. Mount replaces that one text when the settings place script and endpoint differently.
//   - Messages are stored one by one in localStorage and sent under a Web Lock, or a lease in storage on pages without
//     https, where browsers have no locks. A shared array would need a lock for every write, which a closing page can't
//     wait for. Duplicates are cheap, because the gateway knows message ids; losses are not.
//   - A route change is counted 50 ms late, so that redirects count once and the new title is there. The first page view
//     leaves at once.
//   - Fragments count as pages only when they are routes ("#/x", "#!/x"); others aren't even sent, they may hold secrets.
//   - A call that names a person (user_id or email) is written into window.civchat, so that later page views speak of the
//     same person; when it names another person, the attributes of the one before are dropped first. Of other calls only
//     what civchat has too is written there, or the next message would bring back the old value; the rest is said once.
//   - Libraries that sites still have (Prototype, MooTools) replace Array.from and give arrays a toJSON: the script relies
//     on neither. A library that is called UE keeps its own members beside the calls.
//   - Included again, the script calls the onLoad of a civchat that replaced the first one, as a fresh start would: parts of
//     single-page applications wait for it.
//   - Browsers from 2018 on (ES2019 syntax): those before have no keepalive either.
//   - The budget is 4 KiB gzip. Features compete for it; the test says when they lose.
package widget

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/rs/cors"
)

//go:generate go test . -run TestBundle -update

// Paths that hold when the settings name none.
const (
	DefaultScriptPath = "/widget.js"
	DefaultIngestPath = "/ingest"
)

// A visitor asks again after five minutes; until a day has passed a browser or CDN may answer from its copy meanwhile.
const cacheControl = "public, max-age=300, stale-while-revalidate=86400"

var (
	//go:embed dist/widget.js
	bundle []byte
	//go:embed dist/widget.js.gz
	bundleGzip []byte
	//go:embed dist/widget.js.br
	bundleBrotli []byte
)

// Settings say where the script and the endpoint that it posts to are. Both are absolute paths as the gateway routes them,
// without a prefix that a proxy in front may add; empty means the default.
type Settings struct {
	ScriptPath string
	IngestPath string
}

// Mount adds the route of the script (GET and HEAD) to e. Any site may load it.
func Mount(e *echo.Echo, s Settings) {
	if s.ScriptPath == "" {
		s.ScriptPath = DefaultScriptPath
	}
	if s.IngestPath == "" {
		s.IngestPath = DefaultIngestPath
	}
	anySite := cors.New(cors.Options{
		AllowedOrigins: []string{"*"},
		AllowedMethods: []string{http.MethodGet, http.MethodHead},
		MaxAge:         86400,
	})
	methods := []string{http.MethodGet, http.MethodHead, http.MethodOptions}
	e.Match(methods, s.ScriptPath, echo.WrapHandler(newScript(s)), echo.WrapMiddleware(anySite.Handler))
}

// script answers with the bundle from memory.
type script struct {
	plain, gzip, brotli variant
}

// variant is the bundle in one content coding. Each has its own tag, as a strong tag names exact bytes (RFC 9110, 8.8.1).
type variant struct {
	coding  string
	content []byte
	tag     string
}

func newVariant(coding string, content []byte) variant {
	sum := sha256.Sum256(content)
	return variant{coding: coding, content: content, tag: `"` + hex.EncodeToString(sum[:12]) + `"`}
}

func newScript(s Settings) *script {
	text := adapt(bundle, s)
	if bytes.Equal(text, bundle) {
		return &script{newVariant("", bundle), newVariant("gzip", bundleGzip), newVariant("br", bundleBrotli)}
	}
	return &script{plain: newVariant("", text), gzip: newVariant("gzip", compress(text))}
}

// adapt writes the settings into the script: where it posts to, relative to its own address, and the name by which it finds
// its tag where the browser doesn't tell (module scripts).
func adapt(text []byte, s Settings) []byte {
	file := strings.ReplaceAll((&url.URL{Path: "/" + path.Base(s.ScriptPath)}).EscapedPath(), "'", "%27")
	target, _ := json.Marshal(relative(path.Dir(s.ScriptPath), s.IngestPath)) // a string always marshals
	text = bytes.Replace(text, []byte(`"./ingest"`), target, 1)
	return bytes.Replace(text, []byte(`"/widget.js"`), []byte(`"`+file+`"`), 1)
}

// relative is the reference (RFC 3986, 4.2) that leads from a folder of this host to a path of it.
func relative(folder, target string) string {
	from := strings.FieldsFunc(folder, isSlash)
	to := strings.Split(strings.TrimPrefix(target, "/"), "/")
	for len(from) > 0 && len(to) > 1 && from[0] == to[0] {
		from, to = from[1:], to[1:]
	}
	up := strings.Repeat("../", len(from))
	if up == "" {
		up = "./"
	}
	return up + (&url.URL{Path: strings.Join(to, "/")}).EscapedPath()
}

func isSlash(r rune) bool { return r == '/' }

func compress(content []byte) []byte {
	var out bytes.Buffer
	// Neither the level nor a write to memory can fail.
	w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	_, _ = w.Write(content)
	_ = w.Close()
	return out.Bytes()
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	// rs/cors says so only to requests with an Origin; a copy in a shared cache may be asked for with one later.
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Cross-Origin-Resource-Policy", "cross-origin")
	header.Set("Timing-Allow-Origin", "*")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodOptions {
		header.Set("Allow", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	v := s.pick(r.Header.Values("Accept-Encoding"))
	header.Add("Vary", "Accept-Encoding")
	header.Set("Cache-Control", cacheControl)
	header.Set("ETag", v.tag)
	if matches(r.Header.Values("If-None-Match"), v.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", "application/javascript; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(v.content)))
	if v.coding != "" {
		header.Set("Content-Encoding", v.coding)
	}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(v.content) // the visitor may be gone
	}
}

// pick chooses the variant that the client likes best (RFC 9110, 12.5.3), the smallest among equals. Plain text is the
// answer to a client that refuses everything.
func (s *script) pick(accept []string) *variant {
	likes := map[string]float64{}
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		coding, params, _ := strings.Cut(part, ";")
		quality := 1.0
		if name, value, ok := strings.Cut(params, "="); ok && strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || !(q >= 0 && q <= 1) {
				q = 0
			}
			quality = q
		}
		likes[strings.ToLower(strings.TrimSpace(coding))] = quality
	}
	best, bestQuality := &s.plain, 0.0
	for _, v := range []*variant{&s.brotli, &s.gzip, &s.plain} {
		quality, named := likes[v.coding]
		switch {
		case v.coding == "":
			quality, named = likes["identity"]
			if !named {
				continue // acceptable, and never better than a coding that was asked for
			}
		case !named:
			quality = likes["*"]
		}
		if v.content != nil && quality > bestQuality {
			best, bestQuality = v, quality
		}
	}
	return best
}

// matches reports whether an If-None-Match header holds the tag; proxies may have made it weak (RFC 9110, 13.1.2).
func matches(header []string, tag string) bool {
	for _, one := range strings.Split(strings.Join(header, ","), ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}
