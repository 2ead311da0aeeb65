package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"civgate/config"
	"civgate/gateway/inbox"
	"civgate/gateway/store"
)

type exportCommand struct {
	File string `arg:"" help:"File to write, packed if its name ends in .gz; - for the standard output."`
}

type importStoreCommand struct {
	File string `arg:"" help:"File that civgate export wrote; - for the standard input."`
}

// openStore opens the data that the settings name, which must be there already.
func openStore(ctx context.Context, cfg config.Config) (*store.Store, error) {
	source := cfg.DatabaseURL
	if !cfg.Postgres() {
		var err error
		if source, err = cfg.SQLitePath(); err != nil {
			return nil, err
		}
		if _, err := os.Stat(source); err != nil {
			return nil, fmt.Errorf("there is no data at %s yet: start civgate once, or name the folder with --data", source)
		}
	}
	return store.Open(ctx, source)
}

// run writes everything that the store holds to a file. It may run beside a
// server: it sees one moment.
func (c *exportCommand) run(ctx context.Context, cfg config.Config, stdout, stderr io.Writer) (err error) {
	st, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if c.File == "-" {
		sums, err := st.Export(ctx, stdout)
		if err != nil {
			return err
		}
		return errors.Join(writeSums(stderr, sums), warnOfPending(ctx, cfg, st, stderr))
	}
	if info, err := os.Lstat(c.File); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: name another, or - for the standard output", c.File)
	}
	// Complete or not there at all: half an export must not pass for one.
	tmp, err := os.CreateTemp(filepath.Dir(c.File), filepath.Base(c.File)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	sums, err := exportTo(ctx, st, tmp, strings.HasSuffix(c.File, ".gz"))
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), c.File); err != nil {
		return err
	}
	return errors.Join(writeSums(stdout, sums), warnOfPending(ctx, cfg, st, stderr))
}

// waiting tells how many payloads wait.
func waiting(n int64) string {
	if n == 1 {
		return "1 payload that waits"
	}
	return plural(n, "payload") + " that wait"
}

// warnOfPending tells of payloads that wait in the folder of a civgate that is
// stopped: they are in no export.
func warnOfPending(ctx context.Context, cfg config.Config, st *store.Store, stderr io.Writer) error {
	dir := filepath.Join(cfg.Data, "inbox")
	if _, err := os.Stat(dir); err != nil || cfg.Postgres() || cfg.Inbox != "file" {
		return nil
	}
	lock, err := lockData(cfg)
	if errors.Is(err, errInUse) {
		return nil // it runs, and goes on applying
	}
	if err != nil {
		_, err = fmt.Fprintf(stderr, "civgate: whether payloads wait in %s, and so are not in the export, can't be told: %v\n", dir, err)
		return err
	}
	position, err := st.InboxPosition(ctx, localNode)
	if err == nil {
		var in *inbox.File
		if in, err = inbox.Open(ctx, dir, position, inbox.Options{}); err == nil {
			if n := in.Pending(); n > 0 {
				fmt.Fprintf(stderr, "civgate: not in the export: %s in %s. Start civgate, which applies what waits; stop it, and export again\n", waiting(n), dir)
			}
			err = in.Close()
		}
	}
	return errors.Join(err, lock.Unlock())
}

func exportTo(ctx context.Context, st *store.Store, f *os.File, packed bool) ([]store.TableSum, error) {
	var w io.Writer = f
	pack := gzip.NewWriter(f)
	if packed {
		w = pack
	}
	sums, err := st.Export(ctx, w)
	if err == nil && packed {
		err = pack.Close()
	}
	if err == nil {
		err = f.Sync()
	}
	return sums, err
}

// run fills an empty store with an export. No server may work on it meanwhile.
func (c *importStoreCommand) run(ctx context.Context, cfg config.Config, stdin io.Reader, stdout io.Writer) (err error) {
	in := stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
		if strings.HasSuffix(c.File, ".gz") {
			if in, err = gzip.NewReader(f); err != nil {
				return fmt.Errorf("%s: %w", c.File, err)
			}
		}
	}
	source := cfg.DatabaseURL
	if !cfg.Postgres() {
		if source, err = cfg.SQLitePath(); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(source), 0o700); err != nil {
			return fmt.Errorf("data: make the folder: %w", err)
		}
		lock, err2 := lockData(cfg)
		if err2 != nil {
			return err2
		}
		defer func() { err = errors.Join(err, lock.Unlock()) }()
	}
	st, err := store.Open(ctx, source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	sums, err := st.Import(ctx, in)
	if err != nil {
		return err
	}
	return writeSums(stdout, sums)
}

// writeSums prints what each table holds, so that what was exported and what was
// imported can be compared by eye.
func writeSums(w io.Writer, sums []store.TableSum) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "table\trows\tchecksum") // tabwriter keeps the first error until Flush
	for _, s := range sums {
		fmt.Fprintf(t, "%s\t%d\t%s\n", s.Table, s.Rows, s.Sum)
	}
	return t.Flush()
}
