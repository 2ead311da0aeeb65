package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// serveCeiling answers every POST /ingest like civgate does, after doing no more than reading the body: what echo and
// net/http cost by themselves. It prints its address to stdout, and serves until ctx ends.
func serveCeiling(ctx context.Context, addr string, stdout io.Writer) error {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.POST("/ingest", func(c echo.Context) error {
		if _, err := io.Copy(io.Discard, c.Request().Body); err != nil {
			return err
		}
		return c.JSONBlob(http.StatusOK, okAnswer)
	})
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("ceiling: %w", err)
	}
	e.Listener = l
	if _, err := fmt.Fprintf(stdout, "http://%s\n", l.Addr()); err != nil {
		return errors.Join(fmt.Errorf("ceiling: print the address: %w", err), l.Close())
	}
	served := make(chan error, 1)
	go func() { served <- e.Start("") }()
	select {
	case err := <-served:
		return fmt.Errorf("ceiling: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = e.Shutdown(stop)
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
