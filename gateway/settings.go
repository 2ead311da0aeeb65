package gateway

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// This file owns how the settings of a workspace change.
//
// Decisions
//
//   - Settings are read, changed and written in one transaction: two who change different
//     ones at once both succeed.
//   - This node knows of a change at once, every other one within directoryAge.

// The bounds of settings.
const (
	MaxWorkspaceName = 255 // bytes
	MaxOrigins       = 1000
	MaxRetentionDays = 3650
	maxHost          = 253 + len("*.")
)

// Workspace returns the workspace as it is within the edit. What it holds must not be
// changed: see ChangeWorkspace.
func (e *Editor) Workspace() (*Workspace, error) { return e.tx.Workspace(e.set.w) }

// ChangeWorkspace lets fn change the name and the settings of the workspace and returns it
// as it is then. It is a CodeInvalid, with the field's path as in the JSON of
// Settings, if they can't be so. fn must not change lists in place.
func (e *Editor) ChangeWorkspace(fn func(w *Workspace) error) (*Workspace, error) {
	w, err := e.tx.Workspace(e.set.w)
	if err != nil {
		return nil, err
	}
	was := *w
	if err := fn(w); err != nil {
		return nil, err
	}
	if err := checkWorkspace(w); err != nil {
		return nil, err
	}
	if err := e.tx.SetWorkspace(w.ID, w.Name, w.Settings); err != nil {
		return nil, fmt.Errorf("change settings: %w", err)
	}
	if changed := changedSettings(&was, w); len(changed) > 0 {
		detail := map[string]any{"changed": changed, "auto_assign": w.Settings.Companies.AutoAssign.Enabled}
		if err := e.Audit("workspace.settings", "workspace", strconv.FormatInt(int64(w.ID), 10), detail); err != nil {
			return nil, fmt.Errorf("note a change of settings: %w", err)
		}
	}
	e.resettled = true
	return w, nil
}

// ChangeWorkspace is that of an Editor, in an edit of its own.
func (g *Gateway) ChangeWorkspace(ctx context.Context, w *Workspace, author Author, fn func(w *Workspace) error) (changed *Workspace, err error) {
	err = g.Edit(ctx, w, author, func(e *Editor) (err error) {
		changed, err = e.ChangeWorkspace(fn)
		return err
	})
	return changed, err
}

// changedSettings are the paths of what differs; what is in it is not told, since lists may
// be long and a secret is one.
func changedSettings(a, b *Workspace) (paths []string) {
	x, y := &a.Settings, &b.Settings
	for _, f := range []struct {
		path string
		same bool
	}{
		{"name", a.Name == b.Name},
		{"origins", slices.Equal(x.Origins, y.Origins)},
		{"identity.unified_identification", x.UnifiedIdentification == y.UnifiedIdentification},
		{"identity.verify_identity", x.VerifyIdentity == y.VerifyIdentity},
		{"identity.secret", x.IdentitySecret == y.IdentitySecret},
		{"companies.auto_assign.enabled", x.Companies.AutoAssign.Enabled == y.Companies.AutoAssign.Enabled},
		{"companies.auto_assign.exclude_domains", slices.Equal(x.Companies.AutoAssign.ExcludeDomains, y.Companies.AutoAssign.ExcludeDomains)},
		{"companies.auto_assign.own_domains", slices.Equal(x.Companies.AutoAssign.OwnDomains, y.Companies.AutoAssign.OwnDomains)},
		{"retention_days", x.RetentionDays == y.RetentionDays},
	} {
		if !f.same {
			paths = append(paths, f.path)
		}
	}
	return paths
}

// checkWorkspace brings name and settings into the form in which they are kept, or says
// all that is wrong with them.
func checkWorkspace(w *Workspace) error {
	var faults []*Error
	fault := func(field, message string) {
		faults = append(faults, &Error{Code: CodeInvalid, Field: field, Message: message})
	}
	w.Name = strings.TrimSpace(w.Name)
	switch {
	case w.Name == "":
		fault("name", "This field may not be blank.")
	case len(w.Name) > MaxWorkspaceName || !utf8.ValidString(w.Name) || hasControl(w.Name):
		fault("name", fmt.Sprintf("A name has up to %d bytes and no control characters.", MaxWorkspaceName))
	}
	s := &w.Settings
	var err error
	if s.Origins, err = CleanOrigins("origins", s.Origins); err != nil {
		faults = append(faults, asError(err))
	}
	if s.VerifyIdentity && s.IdentitySecret == "" {
		fault("identity.verify_identity", "There is no secret yet by which an identity could be verified.")
	}
	a := &s.Companies.AutoAssign
	if a.ExcludeDomains, err = CleanDomainPatterns("companies.auto_assign.exclude_domains", a.ExcludeDomains); err != nil {
		faults = append(faults, asError(err))
	}
	if a.OwnDomains, err = CleanDomainPatterns("companies.auto_assign.own_domains", a.OwnDomains); err != nil {
		faults = append(faults, asError(err))
	}
	if s.RetentionDays < 0 || s.RetentionDays > MaxRetentionDays {
		fault("retention_days", fmt.Sprintf("A whole number from 0 (for ever) to %d is required.", MaxRetentionDays))
	}
	if len(faults) == 0 {
		return nil
	}
	first := *faults[0]
	first.Also = faults[1:]
	return &first
}

// CleanOrigins returns host names of Settings.Origins in lower case, each once; empty ones
// are left out. What is none is a CodeInvalid of the field, which names it.
func CleanOrigins(field string, hosts []string) ([]string, error) {
	clean := make([]string, 0, len(hosts))
	for _, h := range hosts {
		h = strings.ToLower(strings.TrimSpace(h))
		switch {
		case h == "" || slices.Contains(clean, h):
			continue
		case len(clean) == MaxOrigins:
			return nil, &Error{Code: CodeInvalid, Field: field, Message: fmt.Sprintf("There can be no more than %d origins.", MaxOrigins)}
		case len(h) > maxHost || !isOriginName(h):
			return nil, &Error{Code: CodeInvalid, Field: field, Message: fmt.Sprintf(
				"%.80q is not a host name such as acme.com or *.acme.com: leave out https://, ports and paths, and write an international name as browsers send it (xn--…).", h)}
		}
		clean = append(clean, h)
	}
	return clean, nil
}

// isOriginName reports whether browsers may send h as the host of an Origin: a name or an
// IPv4 address, or all names below one.
func isOriginName(h string) bool {
	for label := range strings.SplitSeq(strings.TrimPrefix(h, "*."), ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return false
		}
	}
	return true
}
