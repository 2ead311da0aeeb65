package inbox

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"civgate/gateway"
)

// TestBrake measures by the bubble's clock, which moves only while all wait.
func TestBrake(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		f, err := Open(ctx, dir, 0, Options{})
		if err != nil {
			t.Fatal(err)
		}
		took := func(n int) time.Duration {
			t.Helper()
			entries := make([]*gateway.Entry, n)
			for i := range entries {
				entries[i] = &gateway.Entry{WorkspaceID: 1, Body: []byte("{}")}
			}
			f.mu.Lock()
			f.crowd.peak = 0 // it is not a group that is waited for
			f.mu.Unlock()
			start := time.Now()
			if err := f.Append(ctx, entries...); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		if d := took(brakeFrom); d != 0 {
			t.Errorf("an empty inbox took %v", d)
		}
		if d := took((brakeFull - brakeFrom) / 2); d != 0 {
			t.Errorf("with %d pending it took %v", brakeFrom, d)
		}
		if d := took(brakeFull); d != maxBrake/2 {
			t.Errorf("half-way it took %v", d)
		}
		if d := took(1); d != maxBrake {
			t.Errorf("with %d pending it took %v", f.Pending(), d)
		}
		last := f.Pending()
		f.Applied(last)
		if d := took(brakeFull); d != 0 {
			t.Errorf("with all applied it took %v", d)
		}

		// Closing waits for nobody: who is being delayed is stored at once.
		start := time.Now()
		stored := make(chan error)
		go func() { stored <- f.Append(ctx, &gateway.Entry{WorkspaceID: 1, Body: []byte("{}")}) }()
		synctest.Wait()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := <-stored; err != nil {
			t.Error("append:", err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("Close took %v", d)
		}
	})
}
