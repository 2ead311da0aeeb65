package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// This file owns jobs: long work on stored data that is done in steps.
//
// Decisions
//
//   - A step and how far the job has come are one transaction: a job that breaks off goes
//     on where it was, and two nodes that do the same job do each step once.
//   - The node that starts a job does it. Another one takes it over when nothing has been
//     heard of it for a while (jobSilence), so nobody has to know who is gone.
//   - Between two steps a job rests as long as a step took: payloads have the store at
//     least half of the time.

// JobID is the id of a job within its workspace.
type JobID int64

// JobKind says what a job does.
type JobKind string

// JobAssign makes stored contacts employees by the domain of their e-mail.
const JobAssign JobKind = "auto_assign"

// JobState says how far a job is.
type JobState string

// The states. A job that is stopped found that it may not go on.
const (
	JobRunning JobState = "running"
	JobDone    JobState = "done"
	JobStopped JobState = "stopped"
	JobFailed  JobState = "failed"
)

// Job is long work on a workspace's data.
type Job struct {
	WorkspaceID WorkspaceID
	ID          JobID // the store's
	Kind        JobKind
	State       JobState
	Done, Total int64  // of what is gone through; Total is what was there at the start
	Detail      string // JSON, of the kind: see AssignRun
	StartedAt   time.Time
	UpdatedAt   time.Time
	By          string // who started it
}

const (
	// jobPoll is how often a node looks for jobs that were left.
	jobPoll = 2 * time.Second
	// jobSilence is after what time a job counts as left.
	jobSilence = 10 * time.Second
	// maxJobRest bounds the rest between two steps.
	maxJobRest = 200 * time.Millisecond
	// maxJobs is how many jobs are looked at at a time.
	maxJobs = 100
)

// jobRunner is what a gateway knows of the jobs that it does.
type jobRunner struct {
	wake chan struct{} // holds one: there is something to do
	mu   sync.Mutex
	own  map[jobRef]struct{}
}

type jobRef struct {
	w  WorkspaceID
	id JobID
}

// start makes jobs this node's.
func (r *jobRunner) start(jobs []Job) {
	r.mu.Lock()
	if r.own == nil {
		r.own = make(map[jobRef]struct{})
	}
	for i := range jobs {
		r.own[jobRef{jobs[i].WorkspaceID, jobs[i].ID}] = struct{}{}
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it knows already
	}
}

func (r *jobRunner) has(j *Job) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, own := r.own[jobRef{j.WorkspaceID, j.ID}]
	return own
}

func (r *jobRunner) end(j *Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.own, jobRef{j.WorkspaceID, j.ID})
}

// RunJobs does the jobs that were started here, and those that nobody does any more, until
// ctx ends; a step that is under way is finished first. It returns ctx.Err() and nothing
// else: while the store can't, it waits. It is called once.
func (g *Gateway) RunJobs(ctx context.Context) error {
	tick := time.NewTicker(jobPoll)
	defer tick.Stop()
	for {
		more := g.stepJobs(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-g.jobs.wake:
		case <-tick.C:
		}
	}
}

// stepJobs does one step of each job that is this node's to do, and reports whether any has
// more.
func (g *Gateway) stepJobs(ctx context.Context) (more bool) {
	jobs, err := g.store.UnfinishedJobs(ctx, maxJobs)
	if err != nil {
		if ctx.Err() == nil {
			g.log.Warn("looking for jobs", zap.Error(err))
		}
		return false
	}
	now := g.clock()
	for i := range jobs {
		j := &jobs[i]
		if !g.jobs.has(j) && now.Sub(j.UpdatedAt) < jobSilence {
			continue
		}
		g.jobs.start(jobs[i : i+1])
		start := time.Now()
		done, err := g.stepJob(context.WithoutCancel(ctx), j)
		switch {
		case err != nil && (CodeOf(err) == CodeUnavailable || CodeOf(err) == CodeConflict):
			g.log.Warn("a job waits for the store", zap.Int64("workspace", int64(j.WorkspaceID)), zap.String("kind", string(j.Kind)), zap.Error(err))
			if !sleep(ctx, maxPause) {
				return false
			}
			more = true
			continue
		case err != nil:
			g.log.Error("a job failed", zap.Int64("workspace", int64(j.WorkspaceID)), zap.String("kind", string(j.Kind)), zap.Int64("job", int64(j.ID)), zap.Error(err))
			if err := g.failJob(context.WithoutCancel(ctx), j); err != nil {
				g.log.Error("noting that a job failed", zap.Error(err))
				continue // it is looked at again when the next poll comes
			}
			done = true
		}
		if done {
			g.jobs.end(j)
			continue
		}
		more = true
		if !sleep(ctx, min(time.Since(start), maxJobRest)) {
			return false
		}
	}
	return more
}

// stepJob does the next step of a job and reports whether it was the last.
func (g *Gateway) stepJob(ctx context.Context, j *Job) (done bool, err error) {
	switch j.Kind {
	case JobAssign:
		return g.stepAssign(ctx, j.WorkspaceID, j.ID)
	}
	return false, fmt.Errorf("nobody knows jobs of the kind %q", j.Kind)
}

func (g *Gateway) failJob(ctx context.Context, j *Job) error {
	return g.store.Update(ctx, func(tx Tx) error {
		now, err := tx.Job(j.WorkspaceID, j.ID)
		if err != nil || now.State != JobRunning {
			return err
		}
		now.State, now.UpdatedAt = JobFailed, g.clock()
		return tx.SetJob(*now)
	})
}
