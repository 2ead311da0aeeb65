package gateway

import (
	"context"
	"fmt"
	"net/netip"
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
//   - Every change is in the audit log (workspace.settings) with what was and what is, of
//     long lists what came and what went. That a secret is another one is said, not
//     which.

// The bounds of settings.
const (
	MaxWorkspaceName = 255 // bytes
	MaxOrigins       = 1000
	MaxNetworks      = 1000
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
	if changes := settingsChanges(&was, w); len(changes) > 0 {
		if err := e.Audit("workspace.settings", "workspace", strconv.FormatInt(int64(w.ID), 10), changes); err != nil {
			return nil, err
		}
	}
	if err := e.tx.SetWorkspace(w.ID, w.Name, w.Settings); err != nil {
		return nil, fmt.Errorf("change settings: %w", err)
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
	if len(s.ExcludedAddresses) > MaxNetworks {
		fault("excluded_addresses", fmt.Sprintf("There can be no more than %d networks.", MaxNetworks))
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

// CleanNetworks reads networks and single addresses (203.0.113.7, 10.0.0.0/8,
// 2001:db8::/32) for Settings.ExcludedAddresses, each once; empty texts are left out. What
// is none is a CodeInvalid of the field, which names it.
func CleanNetworks(field string, texts []string) ([]netip.Prefix, error) {
	var clean []netip.Prefix
	for _, text := range texts {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		n, err := netip.ParsePrefix(text)
		if err != nil {
			var ip netip.Addr
			if ip, err = netip.ParseAddr(text); err == nil {
				ip = ip.Unmap().WithZone("")
				n = netip.PrefixFrom(ip, ip.BitLen())
			}
		}
		if err != nil || n.Addr().Is4In6() {
			return nil, &Error{Code: CodeInvalid, Field: field, Message: fmt.Sprintf("%.80q is not an address or a network: write 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32.", text)}
		}
		if n = n.Masked(); !slices.Contains(clean, n) {
			clean = append(clean, n)
		}
	}
	return clean, nil
}

// fromTo is what a setting was and what it is, in the audit log.
type fromTo struct {
	From any `json:"from"`
	To   any `json:"to"`
}

// cameWent is how a list has changed. What is more than maxAuditedItems is counted only.
type cameWent struct {
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	More    int      `json:"more,omitempty"`
}

// maxAuditedItems is how many items of a list are named in the audit log.
const maxAuditedItems = 20

// settingsChanges are what is different, by the paths of the JSON of REST.
func settingsChanges(was, is *Workspace) map[string]any {
	all := map[string]any{}
	changed(all, "name", was.Name, is.Name)
	a, b := &was.Settings, &is.Settings
	changed(all, "identity.unified_identification", a.UnifiedIdentification, b.UnifiedIdentification)
	changed(all, "identity.verify_identity", a.VerifyIdentity, b.VerifyIdentity)
	if a.IdentitySecret != b.IdentitySecret {
		all["identity.secret"] = "changed"
	}
	changed(all, "retention_days", a.RetentionDays, b.RetentionDays)
	changed(all, "companies.auto_assign.enabled", a.Companies.AutoAssign.Enabled, b.Companies.AutoAssign.Enabled)
	changedList(all, "companies.auto_assign.exclude_domains", a.Companies.AutoAssign.ExcludeDomains, b.Companies.AutoAssign.ExcludeDomains)
	changedList(all, "companies.auto_assign.own_domains", a.Companies.AutoAssign.OwnDomains, b.Companies.AutoAssign.OwnDomains)
	changedList(all, "origins", a.Origins, b.Origins)
	changedList(all, "excluded_addresses", networkTexts(a.ExcludedAddresses), networkTexts(b.ExcludedAddresses))
	return all
}

func changed[T comparable](all map[string]any, path string, was, is T) {
	if was != is {
		all[path] = fromTo{was, is}
	}
}

func changedList(all map[string]any, path string, was, is []string) {
	if slices.Equal(was, is) {
		return
	}
	var c cameWent
	note := func(to *[]string, from, other []string) {
		known := make(map[string]struct{}, len(other))
		for _, one := range other {
			known[one] = struct{}{}
		}
		for _, one := range from {
			if _, ok := known[one]; ok {
				continue
			}
			if len(*to) == maxAuditedItems {
				c.More++
				continue
			}
			*to = append(*to, one)
		}
	}
	note(&c.Added, is, was)
	note(&c.Removed, was, is)
	all[path] = c
}

// networkTexts are networks as they are written.
func networkTexts(all []netip.Prefix) []string {
	texts := make([]string, len(all))
	for i, n := range all {
		texts[i] = n.String()
	}
	return texts
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
