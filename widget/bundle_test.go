package widget_test

import (
	"bytes"
	"compress/gzip"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/evanw/esbuild/pkg/api"
)

// maxGzip is the budget of the script on the way to a visitor.
const maxGzip = 4096

var update = flag.Bool("update", false, "rewrite the committed bundle in dist")

// TestBundle builds the script and compares it with the committed one; with -update it rewrites it.
func TestBundle(t *testing.T) {
	t.Parallel()
	script := build(t, api.BuildOptions{EntryPoints: []string{"src/main.ts"}})
	built := map[string][]byte{
		"dist/widget.js":    script,
		"dist/widget.js.gz": gzipped(t, script),
		"dist/widget.js.br": brotlied(t, script),
	}
	for name, content := range built {
		t.Logf("%s: %d bytes", name, len(content))
		if *update {
			if err := os.WriteFile(name, content, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		committed, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(committed, content) {
			t.Errorf("%s is not what src makes: run go generate ./widget", name)
		}
	}
	if size := len(built["dist/widget.js.gz"]); size > maxGzip {
		t.Errorf("the script is %d bytes gzip, budget %d", size, maxGzip)
	}
	// What the gateway replaces when its settings say so must be there, once.
	for _, text := range []string{`"./ingest"`, `"/widget.js"`} {
		if n := strings.Count(string(script), text); n != 1 {
			t.Errorf("%s is in the bundle %d times, want once", text, n)
		}
	}
	// A page with a strict content policy allows neither.
	for _, text := range []string{"eval(", "Function(", "innerHTML", ".style"} {
		if strings.Contains(string(script), text) {
			t.Errorf("the bundle uses %s", text)
		}
	}
}

// build bundles TypeScript the way the committed bundle is made.
func build(t *testing.T, options api.BuildOptions) []byte {
	t.Helper()
	options.Bundle = true
	options.Format = api.FormatIIFE
	options.Target = api.ES2019
	options.MinifyWhitespace, options.MinifyIdentifiers, options.MinifySyntax = true, true, true
	options.Charset = api.CharsetASCII
	options.LegalComments = api.LegalCommentsNone
	options.Tsconfig = "tsconfig.json"
	result := api.Build(options)
	for _, message := range append(result.Errors, result.Warnings...) {
		t.Errorf("esbuild: %s", message.Text)
	}
	if len(result.OutputFiles) != 1 {
		t.Fatalf("esbuild made %d files", len(result.OutputFiles))
	}
	return result.OutputFiles[0].Contents
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func brotlied(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := brotli.NewWriterLevel(&out, brotli.BestCompression)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
