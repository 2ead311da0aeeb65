package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"civgate/gateway"
)

// This file owns the table jobs, and how a transaction reads and changes a workspace.

// keptJobs is how many jobs of a workspace are kept.
const keptJobs = 100

const jobFields = `SELECT workspace_id, id, kind, state, done, total, detail, started_at, updated_at, made_by FROM jobs`

func scanJob(row scanner) (j gateway.Job, err error) {
	var w, id, started, updated int64
	err = row.Scan(&w, &id, (*string)(&j.Kind), (*string)(&j.State), &j.Done, &j.Total, &j.Detail, &started, &updated, &j.By)
	j.WorkspaceID, j.ID, j.StartedAt, j.UpdatedAt = gateway.WorkspaceID(w), gateway.JobID(id), moment(started), moment(updated)
	return j, err
}

// AddJob implements gateway.Tx.
func (p plain) AddJob(j gateway.Job) (gateway.JobID, error) {
	if err := p.on.lock(j.WorkspaceID); err != nil {
		return 0, err
	}
	var last, running int64
	err := p.on.rows(func(row scanner) error { return row.Scan(&last) },
		`SELECT id FROM jobs WHERE workspace_id = $1 ORDER BY id DESC LIMIT 1`, int64(j.WorkspaceID))
	if err == nil {
		err = p.on.rows(func(row scanner) error { return row.Scan(&running) },
			`SELECT id FROM jobs WHERE workspace_id = $1 AND kind = $2 AND state = 'running'`, int64(j.WorkspaceID), string(j.Kind))
	}
	if err != nil {
		return 0, err
	}
	if running != 0 {
		return 0, gateway.Errorf(gateway.CodeConflict, "A job of this kind is running already.")
	}
	if _, err := p.on.exec(`DELETE FROM jobs WHERE workspace_id = $1 AND id <= $2 AND state <> 'running'`, int64(j.WorkspaceID), last+1-keptJobs); err != nil {
		return 0, err
	}
	_, err = p.on.exec(`INSERT INTO jobs (workspace_id, id, kind, state, done, total, detail, started_at, updated_at, made_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		int64(j.WorkspaceID), last+1, string(j.Kind), string(j.State), j.Done, j.Total, j.Detail, micros(j.StartedAt), micros(j.UpdatedAt), j.By)
	return gateway.JobID(last + 1), err
}

// Job implements gateway.Tx.
func (p plain) Job(w gateway.WorkspaceID, id gateway.JobID) (*gateway.Job, error) {
	if err := p.on.lock(w); err != nil {
		return nil, err
	}
	var found *gateway.Job
	err := p.on.rows(func(row scanner) error {
		j, err := scanJob(row)
		found = &j
		return err
	}, jobFields+` WHERE workspace_id = $1 AND id = $2`, int64(w), int64(id))
	if err == nil && found == nil {
		err = notFound("job")
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

// SetJob implements gateway.Tx.
func (p plain) SetJob(j gateway.Job) error {
	changed, err := p.on.exec(`UPDATE jobs SET state = $3, done = $4, total = $5, detail = $6, updated_at = $7 WHERE workspace_id = $1 AND id = $2`,
		int64(j.WorkspaceID), int64(j.ID), string(j.State), j.Done, j.Total, j.Detail, micros(j.UpdatedAt))
	if err == nil && changed == 0 {
		err = notFound("job")
	}
	return err
}

// jobs reads the jobs that a query finds.
func (r *reader) jobs(ctx context.Context, op, text string, args ...any) (all []gateway.Job, err error) {
	err = r.view(ctx, op, func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			j, err := scanJob(rows)
			all = append(all, j)
			return err
		}, jobFields+text, args...)
	})
	return all, err
}

// Job implements gateway.Reader.
func (r *reader) Job(ctx context.Context, w gateway.WorkspaceID, id gateway.JobID) (*gateway.Job, error) {
	all, err := r.jobs(ctx, "job", ` WHERE workspace_id = $1 AND id = $2`, int64(w), int64(id))
	if err == nil && len(all) == 0 {
		err = notFound("job")
	}
	if err != nil {
		return nil, err
	}
	return &all[0], nil
}

// Jobs implements gateway.Reader.
func (r *reader) Jobs(ctx context.Context, w gateway.WorkspaceID, limit int) ([]gateway.Job, error) {
	return r.jobs(ctx, "jobs", ` WHERE workspace_id = $1 ORDER BY id DESC LIMIT $2`, int64(w), bounded(limit))
}

// UnfinishedJobs implements gateway.Reader.
func (r *reader) UnfinishedJobs(ctx context.Context, limit int) ([]gateway.Job, error) {
	return r.jobs(ctx, "unfinished jobs", ` WHERE state = 'running' ORDER BY started_at, workspace_id, id LIMIT $1`, bounded(limit))
}

// Workspace implements gateway.Tx.
func (p plain) Workspace(id gateway.WorkspaceID) (*gateway.Workspace, error) {
	if err := p.on.lock(id); err != nil {
		return nil, err
	}
	var found *gateway.Workspace
	err := p.on.rows(func(row scanner) (err error) {
		found, err = scanWorkspace(row)
		return err
	}, `SELECT workspace_id, name, settings, created_at FROM workspaces WHERE workspace_id = $1`, int64(id))
	if err == nil && found == nil {
		err = notFound("workspace")
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

// SetWorkspace implements gateway.Tx.
func (p plain) SetWorkspace(id gateway.WorkspaceID, name string, s gateway.Settings) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("settings of workspace %d: %w", id, err)
	}
	changed, err := p.on.exec(`UPDATE workspaces SET name = $2, settings = $3 WHERE workspace_id = $1`, int64(id), name, string(text))
	if err == nil && changed == 0 {
		err = notFound("workspace")
	}
	return err
}
