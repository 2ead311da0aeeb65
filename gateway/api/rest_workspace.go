package api

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"civgate/gateway"
)

// This file owns the settings of a workspace, below settingsBase: civgate's own addition,
// so that set-ups can be scripted and checked.
//
// Decisions
//
//   - Settings take a token of the scope admin, to be read too: they say whom a company
//     keeps out, and where from it takes what.
//   - PATCH changes what it names. A member that there is not is an error, since a setting
//     that was misspelt is one that is not made. Errors name the path of a member:
//     companies.auto_assign.exclude_domains.
//   - The secret under which identities are verified is neither shown nor set here.
//   - A list of domains may be as long as a body of 16 MiB holds.

// settingsBase is the path below which the settings live.
const settingsBase = "/api"

const (
	// maxSettingsBody is how many bytes a body of settings may have.
	maxSettingsBody = 16 << 20
	// previewTimeout bounds how long a preview may read.
	previewTimeout = 2 * time.Minute
)

// settingsResources are the routes below settingsBase.
func (s *Server) settingsResources() []resource {
	admin := func(m methods) methods {
		m.scope = gateway.ScopeAdmin
		return m
	}
	return []resource{
		{"/workspace", admin(methods{get: s.showWorkspace, patch: changeWorkspace})},
		{"/workspace/auto_assign/preview", admin(methods{get: s.previewAssign})},
		{"/workspace/auto_assign/runs", admin(methods{post: startAssign})},
		{"/workspace/auto_assign/runs/:id", admin(methods{get: s.showAssignRun})},
	}
}

// workspaceShape is a workspace with its settings.
type workspaceShape struct {
	ID            gateway.WorkspaceID `json:"id"`
	Name          string              `json:"name"`
	CreatedAt     stamp               `json:"created_at"`
	Companies     companySettings     `json:"companies"`
	Identity      identitySettings    `json:"identity"`
	Origins       []string            `json:"origins"`
	Excluded      []netip.Prefix      `json:"excluded_addresses"`
	RetentionDays int                 `json:"retention_days"`
}

type companySettings struct {
	AutoAssign gateway.AutoAssign `json:"auto_assign"`
}

type identitySettings struct {
	Unified bool `json:"unified_identification"`
	Verify  bool `json:"verify_identity"`
	Secret  bool `json:"has_secret"`
}

func shapeWorkspace(w *gateway.Workspace) workspaceShape {
	s := &w.Settings
	assign := s.Companies.AutoAssign
	assign.ExcludeDomains, assign.OwnDomains = orEmpty(assign.ExcludeDomains), orEmpty(assign.OwnDomains)
	return workspaceShape{
		ID: w.ID, Name: w.Name, CreatedAt: stamp(w.CreatedAt),
		Companies:     companySettings{assign},
		Identity:      identitySettings{s.UnifiedIdentification, s.VerifyIdentity, s.IdentitySecret != ""},
		Origins:       orEmpty(s.Origins),
		Excluded:      append([]netip.Prefix{}, s.ExcludedAddresses...),
		RetentionDays: s.RetentionDays,
	}
}

// orEmpty is list, which is never null.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// readWorkspace returns the caller's workspace as it is now: what came with the token may
// be a second old.
func (s *Server) readWorkspace(r *request) (*gateway.Workspace, error) {
	all, err := s.reader.Workspaces(r.Request().Context())
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].ID == r.workspace.ID {
			return &all[i], nil
		}
	}
	return nil, errNotFound
}

// showWorkspace answers GET /api/workspace/.
func (s *Server) showWorkspace(r *request) error {
	w, err := s.readWorkspace(r)
	if err != nil {
		return err
	}
	return writeJSON(r, http.StatusOK, shapeWorkspace(w))
}

// changeWorkspace answers PATCH /api/workspace/.
func changeWorkspace(r *request) (operation, error) {
	body, err := r.readBody(maxSettingsBody)
	if err != nil {
		return nil, err
	}
	r.read, r.body = true, body
	var p settingsPatch
	if p.read(body); len(p.faults) > 0 {
		first := *p.faults[0]
		first.Also = p.faults[1:]
		return nil, &first
	}
	return func(e *gateway.Editor) (answer, error) {
		w, err := e.ChangeWorkspace(func(w *gateway.Workspace) error {
			for _, set := range p.sets {
				set(w)
			}
			return nil
		})
		if err != nil {
			return answer{}, err
		}
		return answer{status: http.StatusOK, body: shapeWorkspace(w)}, nil
	}, nil
}

// settingsPatch is what a PATCH asks for.
type settingsPatch struct {
	sets   []func(w *gateway.Workspace)
	faults []*gateway.Error
}

// maxFaults is how many faults of a request are told.
const maxFaults = 50

func (p *settingsPatch) fault(path, message string) {
	if len(p.faults) < maxFaults {
		p.faults = append(p.faults, &gateway.Error{Code: gateway.CodeInvalid, Field: path, Message: message})
	}
}

// settingReader reads the value of a member, whose path is for errors.
type settingReader func(p *settingsPatch, path string, value raw)

// read reads the body; no body asks for nothing.
func (p *settingsPatch) read(body []byte) {
	if len(bytes.TrimSpace(body)) == 0 {
		return
	}
	if !json.Valid(body) {
		p.faults = append(p.faults, &gateway.Error{Code: gateway.CodeInvalidPayload, Message: "JSON parse error."})
		return
	}
	settingsMembers(p, "", body)
}

var settingsMembers = membersOf(map[string]settingReader{
	"name":               setValue("Not a valid string.", func(w *gateway.Workspace, v string) { w.Name = v }),
	"origins":            setValue(textNoList, func(w *gateway.Workspace, v []string) { w.Settings.Origins = v }),
	"retention_days":     setValue(textNoID, func(w *gateway.Workspace, v int) { w.Settings.RetentionDays = v }),
	"excluded_addresses": setNetworks,
	"identity": membersOf(map[string]settingReader{
		"unified_identification": setValue(textNoBool, func(w *gateway.Workspace, v bool) { w.Settings.UnifiedIdentification = v }),
		"verify_identity":        setValue(textNoBool, func(w *gateway.Workspace, v bool) { w.Settings.VerifyIdentity = v }),
	}),
	"companies": membersOf(map[string]settingReader{
		"auto_assign": membersOf(map[string]settingReader{
			"enabled":         setValue(textNoBool, func(w *gateway.Workspace, v bool) { w.Settings.Companies.AutoAssign.Enabled = v }),
			"exclude_domains": setValue(textNoList, func(w *gateway.Workspace, v []string) { w.Settings.Companies.AutoAssign.ExcludeDomains = v }),
			"own_domains":     setValue(textNoList, func(w *gateway.Workspace, v []string) { w.Settings.Companies.AutoAssign.OwnDomains = v }),
		}),
	}),
})

const (
	textNoBool = "Must be a valid boolean."
	textNoList = "Expected a list of strings."
)

// membersOf reads an object of these members and no others.
func membersOf(known map[string]settingReader) settingReader {
	return func(p *settingsPatch, path string, value raw) {
		var o map[string]raw
		if err := json.Unmarshal(value, &o); err != nil || o == nil {
			p.fault(path, "Expected an object.")
			return
		}
		for _, name := range slices.Sorted(maps.Keys(o)) {
			at := name
			if path != "" {
				at = path + "." + name
			}
			read := known[name]
			if read == nil {
				p.fault(at, "There is no such setting, or it can't be set here.")
				continue
			}
			read(p, at, o[name])
		}
	}
}

// setValue reads a value that is not null and sets it.
func setValue[T any](problem string, set func(w *gateway.Workspace, v T)) settingReader {
	return func(p *settingsPatch, path string, value raw) {
		var v *T
		if err := json.Unmarshal(value, &v); err != nil {
			p.fault(path, problem)
			return
		}
		if v == nil {
			p.fault(path, "This field may not be null.")
			return
		}
		p.sets = append(p.sets, func(w *gateway.Workspace) { set(w, *v) })
	}
}

// setNetworks reads networks; see gateway.CleanNetworks.
func setNetworks(p *settingsPatch, path string, value raw) {
	var texts []string
	if err := json.Unmarshal(value, &texts); err != nil || texts == nil {
		p.fault(path, textNoList)
		return
	}
	networks, err := gateway.CleanNetworks(path, texts)
	if err != nil {
		p.fault(path, messageOf(err))
		return
	}
	p.sets = append(p.sets, func(w *gateway.Workspace) { w.Settings.ExcludedAddresses = networks })
}

// assignCounts are gateway.AssignCounts as they are shown.
type assignCounts struct {
	Linked  int64                          `json:"linked"`
	Already int64                          `json:"already_linked"`
	Left    int64                          `json:"left"`
	NoEmail int64                          `json:"without_email"`
	Refused map[gateway.AssignReason]int64 `json:"refused"`
}

func shapeCounts(n gateway.AssignCounts) assignCounts {
	if n.Refused == nil {
		n.Refused = map[gateway.AssignReason]int64{}
	}
	return assignCounts(n)
}

type assignTarget struct {
	CompanyID *gateway.CompanyID `json:"company_id,omitempty"`
	Name      string             `json:"name"`
	Domain    string             `json:"domain"`
	Contacts  int64              `json:"contacts"`
}

func shapeTargets(all []gateway.AssignTarget) []assignTarget {
	out := make([]assignTarget, len(all))
	for i, x := range all {
		out[i] = assignTarget{Name: x.Name, Domain: x.Domain, Contacts: x.Contacts}
		if x.CompanyID != 0 {
			out[i].CompanyID = &x.CompanyID
		}
	}
	return out
}

// previewAssign answers GET /api/workspace/auto_assign/preview/. One at a time is made: each
// reads all contacts.
func (s *Server) previewAssign(r *request) error {
	ctx, cancel := context.WithTimeout(r.Request().Context(), previewTimeout)
	defer cancel()
	select {
	case s.previews <- struct{}{}:
		defer func() { <-s.previews }()
	case <-ctx.Done():
		return ctx.Err()
	}
	w, err := s.readWorkspace(r)
	if err != nil {
		return err
	}
	p, err := s.editor.PreviewAssign(ctx, w)
	if err != nil {
		return err
	}
	return writeJSON(r, http.StatusOK, struct {
		Contacts int64 `json:"contacts"`
		assignCounts
		CompaniesCreated int64          `json:"companies_created"`
		Created          []assignTarget `json:"created"`
		CompaniesFound   int64          `json:"companies_found"`
		Found            []assignTarget `json:"found"`
	}{p.Contacts, shapeCounts(p.AssignCounts), p.CompaniesCreated, shapeTargets(p.Created), p.CompaniesFound, shapeTargets(p.Found)})
}

// assignRun is a run of auto-assign.
type assignRun struct {
	ID    gateway.JobID    `json:"id"`
	State gateway.JobState `json:"state"`
	Done  int64            `json:"done"`
	Total int64            `json:"total"`
	assignCounts
	CompaniesCreated int64  `json:"companies_created"`
	StartedAt        stamp  `json:"started_at"`
	UpdatedAt        stamp  `json:"updated_at"`
	StartedBy        string `json:"started_by"`
}

func shapeRun(j *gateway.Job) (assignRun, error) {
	run, err := gateway.AssignRunOf(j)
	return assignRun{
		ID: j.ID, State: j.State, Done: j.Done, Total: j.Total, assignCounts: shapeCounts(run.AssignCounts), CompaniesCreated: run.CompaniesCreated,
		StartedAt: stamp(j.StartedAt), UpdatedAt: stamp(j.UpdatedAt), StartedBy: j.By,
	}, err
}

// startAssign answers POST /api/workspace/auto_assign/runs/.
func startAssign(*request) (operation, error) {
	return func(e *gateway.Editor) (answer, error) {
		j, err := e.StartAssign()
		if err != nil {
			return answer{}, err
		}
		shape, err := shapeRun(&j)
		return answer{status: http.StatusCreated, body: shape}, err
	}, nil
}

// showAssignRun answers GET /api/workspace/auto_assign/runs/:id/.
func (s *Server) showAssignRun(r *request) error {
	id, err := parseID(r.pathID())
	if err != nil {
		return err
	}
	j, err := s.reader.Job(r.Request().Context(), r.workspace.ID, gateway.JobID(id))
	if err != nil {
		return err
	}
	if j.Kind != gateway.JobAssign {
		return errNotFound
	}
	shape, err := shapeRun(j)
	if err != nil {
		return err
	}
	return writeJSON(r, http.StatusOK, shape)
}
