package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strings"

	"github.com/labstack/echo/v4"
)

//go:embed static templates
var files embed.FS

// asset is one file that pages load, held in memory.
type asset struct {
	content []byte
	kind    string // Content-Type
	version string // of the content, for the address and the ETag
}

// loadAssets reads the files of package folder static. They are part of the
// program, so a missing one is a fault of the build.
func loadAssets(names ...string) map[string]asset {
	all := make(map[string]asset, len(names))
	for _, name := range names {
		content, err := files.ReadFile(path.Join("static", name))
		if err != nil {
			panic("web: " + err.Error())
		}
		sum := sha256.Sum256(content)
		all[name] = asset{
			content: content,
			kind:    assetKinds[path.Ext(name)],
			version: hex.EncodeToString(sum[:8]),
		}
	}
	return all
}

// assetKinds are the types of the files, which must not depend on the machine's
// own table.
var assetKinds = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// serveAsset answers with one of all. Under the address that names its version
// it may be kept for a year, under any other it is asked for again each time.
func serveAsset(all map[string]asset) echo.HandlerFunc {
	return func(c echo.Context) error {
		a, ok := all[c.Param("name")]
		if !ok {
			return echo.ErrNotFound
		}
		h := c.Response().Header()
		secure(h)
		tag := `"` + a.version + `"`
		h.Set("ETag", tag)
		if c.QueryParam("v") == a.version {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			h.Set("Cache-Control", "no-cache")
		}
		for one := range strings.SplitSeq(c.Request().Header.Get("If-None-Match"), ",") {
			one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
			if one == tag || one == "*" {
				return c.NoContent(http.StatusNotModified)
			}
		}
		return c.Blob(http.StatusOK, a.kind, a.content)
	}
}

// secure sets the headers that every answer of the package carries.
func secure(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}
