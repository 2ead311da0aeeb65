package gateway

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// This file owns that visitors are deleted when their time is over
// (Settings.RetentionDays).
//
// Decisions
//
//   - Only what a browser left by itself goes: whoever has a user_id, an e-mail, a phone
//     number, a name, tags, a company or a list is somebody (SettingsTx.IdleVisitors), and
//     stays until somebody deletes them.
//   - Who is idle is decided in the transaction that deletes them, so that nobody goes who
//     has just come back.
//   - A workspace is gone through from end to end in steps, one after the other, and then
//     left for sweepRest: days are what counts, not minutes. How far a node has come it
//     knows by itself; several nodes that sweep find less each, and nothing goes wrong.

const (
	// sweepStep is how many contacts a step looks at.
	sweepStep = 1000
	// sweepSteps is how many steps of each workspace a call does.
	sweepSteps = 4
	// sweepRest is the time between two passes over a workspace.
	sweepRest = time.Hour
)

// sweep is how far a workspace has been gone through.
type sweep struct {
	after ContactID
	days  int       // the setting of the pass
	next  time.Time // no pass begins before
}

// Sweep deletes visitors of all workspaces whose time is over, a bounded piece of work. It
// is meant to be called every few seconds, by one goroutine.
func (g *Gateway) Sweep(ctx context.Context) error {
	all, err := g.store.Workspaces(ctx)
	if err != nil {
		return fmt.Errorf("list workspaces: %w", err)
	}
	if g.sweeps == nil {
		g.sweeps = make(map[WorkspaceID]sweep)
	}
	for i := range all {
		w := &all[i]
		if w.Settings.RetentionDays <= 0 {
			delete(g.sweeps, w.ID)
			continue
		}
		for range sweepSteps {
			more, err := g.sweepStep(ctx, w)
			if err != nil {
				return fmt.Errorf("delete old visitors: %w", err)
			}
			if !more {
				break
			}
		}
	}
	return nil
}

// sweepStep does the next step of a workspace and reports whether there is another.
func (g *Gateway) sweepStep(ctx context.Context, w *Workspace) (more bool, err error) {
	s, now := g.sweeps[w.ID], g.clock()
	if s.days != w.Settings.RetentionDays {
		s = sweep{days: w.Settings.RetentionDays}
	}
	if now.Before(s.next) {
		return false, nil
	}
	var deleted int
	var next ContactID
	err = g.Edit(ctx, w, Author{By: "retention"}, func(e *Editor) error {
		now, err := e.Workspace()
		if err != nil {
			return err
		}
		if deleted, next = 0, 0; now.Settings.RetentionDays != s.days {
			return nil // it has just been changed: the next call begins anew
		}
		var idle []ContactID
		if idle, next, err = e.tx.IdleVisitors(w.ID, e.at.AddDate(0, 0, -s.days), s.after, sweepStep); err != nil {
			return err
		}
		if err := e.load(Refs{Contacts: idle}); err != nil {
			return err
		}
		for _, id := range idle {
			if err := e.DeleteContact(id); err != nil {
				return err
			}
		}
		deleted = len(idle)
		return nil
	})
	if err != nil {
		return false, err
	}
	if s.after = next; next == 0 {
		s.next = now.Add(sweepRest)
	}
	g.sweeps[w.ID] = s
	if deleted > 0 {
		g.log.Info("old visitors deleted", zap.Int64("workspace", int64(w.ID)), zap.Int("visitors", deleted))
	}
	return next != 0, nil
}
