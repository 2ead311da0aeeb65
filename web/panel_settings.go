package web

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"civgate/gateway"
)

// This file owns the settings of a workspace: companies and auto-assign, and identity and
// privacy. Keys are in panel_settings_keys.go, attributes and tags in
// panel_settings_data.go, the snippets in panel_script.go.

// settings leads to the first of the settings' pages that is there for who asks.
func (p *panel) settings(c *call) error {
	pages := c.frame("", nil).Settings()
	if len(pages) == 0 {
		return gateway.Errorf(gateway.CodeNotFound, "There is no page at this address.")
	}
	return c.Redirect(http.StatusSeeOther, pages[0].Path)
}

const (
	// longForm is how many bytes a form with a list that has no cap may have.
	longForm = 16 << 20
	// assignPatience bounds a preview of auto-assign, which reads all contacts.
	assignPatience = 2 * time.Minute
	// shownJobs is among how many jobs the last run of auto-assign is looked for.
	shownJobs = 100
)

// shortForm reads a form of a route that bounds nothing by itself.
func (c *call) shortForm() (*form, error) {
	c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, panelBody)
	return c.form()
}

// longForm reads a form that may be larger than others.
func (c *call) longForm() (*form, error) {
	c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, longForm)
	return c.form()
}

// change changes settings of the workspace, as the agent.
func (c *call) change(fn func(w *gateway.Workspace) error) error {
	_, err := c.p.Gateway.ChangeWorkspace(c.Request().Context(), c.Workspace, c.author(), fn)
	return err
}

// lines are the lines of a text that are not empty.
func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
}

// assignPage is the page of auto-assign.
type assignPage struct {
	*form
	Assign  gateway.AutoAssign
	Preview *assignPreview
	Run     *assignRun
}

// assignPreview is what a run would do, with why others are not linked.
type assignPreview struct {
	*gateway.AssignPreview
	Others []reasonCount
	Form   *form // what is wrong instead
}

// reasonCount is how many contacts are not linked for a reason.
type reasonCount struct {
	Words string
	N     int64
}

// assignRun is the last run.
type assignRun struct {
	gateway.Job
	gateway.AssignRun
	Percent int
	Others  []reasonCount
}

// Going reports whether the run goes on.
func (r *assignRun) Going() bool { return r.State == gateway.JobRunning }

var reasonWords = []struct {
	why   gateway.AssignReason
	words string
}{
	{gateway.AssignFreeMail, "at a free-mail provider"},
	{gateway.AssignDisposable, "at a disposable provider"},
	{gateway.AssignExcluded, "at an excluded domain"},
	{gateway.AssignOwn, "at one of your own domains"},
	{gateway.AssignNoReply, "a sender that nobody reads"},
	{gateway.AssignPublicSuffix, "at a public suffix"},
	{gateway.AssignNoDomain, "without a public domain"},
}

func reasons(n gateway.AssignCounts) (all []reasonCount) {
	add := func(words string, n int64) {
		if n > 0 {
			all = append(all, reasonCount{words, n})
		}
	}
	add("in their company already", n.Already)
	add("without an e-mail", n.NoEmail)
	add("left the company before", n.Left)
	for _, r := range reasonWords {
		add(r.words, n.Refused[r.why])
	}
	return all
}

func (p *panel) settingsCompanies(c *call) error {
	return p.renderAssign(c, http.StatusOK, &form{}, c.Workspace.Settings.Companies.AutoAssign, nil)
}

func (p *panel) renderAssign(c *call, status int, f *form, a gateway.AutoAssign, preview *assignPreview) error {
	run, err := p.lastRun(c.Request().Context(), c.Workspace.ID)
	if err != nil {
		return err
	}
	return c.render(status, "settings_companies", "Companies", assignPage{f, a, preview, run})
}

// lastRun is the newest run of auto-assign, nil if there was none.
func (p *panel) lastRun(ctx context.Context, w gateway.WorkspaceID) (*assignRun, error) {
	jobs, err := p.Read.Jobs(ctx, w, shownJobs)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(jobs, func(j gateway.Job) bool { return j.Kind == gateway.JobAssign })
	if i < 0 {
		return nil, nil
	}
	r := &assignRun{Job: jobs[i]}
	if r.AssignRun, err = gateway.AssignRunOf(&jobs[i]); err != nil {
		return nil, err
	}
	r.Others = reasons(r.AssignCounts)
	if r.Percent = 100; r.Going() && r.Total > 0 {
		r.Percent = int(min(99, 100*r.Done/r.Total))
	}
	return r, nil
}

// assignOf reads the form of auto-assign. What is wrong is noted in it.
func (c *call) assignOf(f *form) (a gateway.AutoAssign, err error) {
	a = gateway.AutoAssign{Enabled: f.Get("enabled") != ""}
	for _, list := range []struct {
		field string
		to    *[]string
	}{{"exclude_domains", &a.ExcludeDomains}, {"own_domains", &a.OwnDomains}} {
		*list.to = lines(f.Values.Get(list.field))
		clean, err := gateway.CleanDomainPatterns(list.field, *list.to)
		if err == nil {
			*list.to = clean
		} else if err := f.take(err, list.field); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (p *panel) postCompanies(c *call) error {
	f, err := c.longForm()
	if err != nil {
		return err
	}
	a, err := c.assignOf(f)
	if err != nil {
		return err
	}
	if f.Failed() {
		return p.renderAssign(c, http.StatusUnprocessableEntity, f, a, nil)
	}
	if err := c.change(func(w *gateway.Workspace) error { w.Settings.Companies.AutoAssign = a; return nil }); err != nil {
		return err
	}
	c.toast("Saved. Contacts that come from now on meet the rule.")
	return c.redirect(panelPath + "/settings/companies")
}

// postAssignPreview says what a run would do with what is in the form, saved or not. It
// writes nothing.
func (p *panel) postAssignPreview(c *call) error {
	f, err := c.longForm()
	if err != nil {
		return err
	}
	a, err := c.assignOf(f)
	if err != nil {
		return err
	}
	v := &assignPreview{Form: f}
	if !f.Failed() {
		ctx, cancel := context.WithTimeout(c.Request().Context(), assignPatience)
		defer cancel()
		select {
		case p.previews <- struct{}{}:
			defer func() { <-p.previews }()
		case <-ctx.Done():
			return ctx.Err()
		}
		w := *c.Workspace
		w.Settings.Companies.AutoAssign = a
		if v.AssignPreview, err = p.Gateway.PreviewAssign(ctx, &w); err != nil {
			return err
		}
		v.Others = reasons(v.AssignCounts)
	}
	if c.isHTMX() {
		return c.fragment(http.StatusOK, "settings_companies", "preview", v)
	}
	if f.Failed() {
		return p.renderAssign(c, http.StatusUnprocessableEntity, f, a, nil)
	}
	return p.renderAssign(c, http.StatusOK, &form{}, a, v)
}

func (p *panel) postAssignRun(c *call) error {
	_, err := p.Gateway.StartAssign(c.Request().Context(), c.Workspace, c.author())
	f := &form{}
	if err := f.take(err); err != nil {
		return err
	}
	if f.Failed() {
		return p.renderAssign(c, http.StatusConflict, f, c.Workspace.Settings.Companies.AutoAssign, nil)
	}
	return c.redirect(panelPath + "/settings/companies#run")
}

// assignProgress is the card of the last run, for htmx.
func (p *panel) assignProgress(c *call) error {
	run, err := p.lastRun(c.Request().Context(), c.Workspace.ID)
	if err != nil {
		return err
	}
	return c.fragment(http.StatusOK, "settings_companies", "run", run)
}

// privacyPage is the page of identity and privacy.
type privacyPage struct {
	*form
	Settings gateway.Settings
	Origins  string
	Excluded string
	IP       string // from where who looks comes
	// Secret is the identity secret that was just made: it is shown this once.
	Secret  string
	Replace confirm // of the secret that there is
}

func (p *panel) settingsPrivacy(c *call) error {
	return p.renderPrivacy(c, http.StatusOK, privacyPage{form: &form{}})
}

// replaceWord is what has to be typed to make a new identity secret.
const replaceWord = "replace"

func (p *panel) renderPrivacy(c *call, status int, v privacyPage) error {
	s := c.Workspace.Settings
	v.Settings, v.Origins, v.IP = s, strings.Join(s.Origins, "\n"), c.RealIP()
	v.Replace = confirm{
		ID: "replace-secret", Title: "Replace the identity secret?",
		Text: "What your servers sign with the present one is refused within a second, if identities are verified. Be ready to give them the new one.",
		Post: panelPath + "/settings/privacy/secret", Yes: "Make a new secret", Typed: replaceWord, Danger: true,
	}
	for _, n := range s.ExcludedAddresses {
		text := n.String()
		if n.IsSingleIP() {
			text = n.Addr().String()
		}
		v.Excluded += text + "\n"
	}
	return c.render(status, "settings_privacy", "Identity & privacy", v)
}

// privacyForm changes what one of the page's forms is about.
func (p *panel) privacyForm(c *call, done string, fn func(f *form, w *gateway.Workspace) error, fields ...string) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	if err := f.take(c.change(func(w *gateway.Workspace) error { return fn(f, w) }), fields...); err != nil {
		return err
	}
	if f.Failed() {
		return p.renderPrivacy(c, http.StatusUnprocessableEntity, privacyPage{form: f})
	}
	c.toast(done)
	return c.redirect(panelPath + "/settings/privacy")
}

func (p *panel) postIdentity(c *call) error {
	return p.privacyForm(c, "Saved.", func(f *form, w *gateway.Workspace) error {
		w.Settings.UnifiedIdentification = f.Get("unified") != ""
		if w.Settings.IdentitySecret != "" {
			w.Settings.VerifyIdentity = f.Get("verify") != ""
		}
		return nil
	})
}

// postSecret makes the secret under which servers sign identities, and shows it once.
func (p *panel) postSecret(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	secret := gateway.NewSecret()
	w, err := p.Gateway.ChangeWorkspace(c.Request().Context(), c.Workspace, c.author(), func(w *gateway.Workspace) error {
		if w.Settings.IdentitySecret != "" && f.Get("confirm") != replaceWord {
			return &gateway.Error{Code: gateway.CodeInvalid, Field: "confirm", Message: "Nothing was changed: type " + replaceWord + " to make a new secret."}
		}
		w.Settings.IdentitySecret = secret
		return nil
	})
	if err := f.take(err); err != nil {
		return err
	}
	if f.Failed() {
		f.Values = nil // of another form than those that are shown again
		return p.renderPrivacy(c, http.StatusConflict, privacyPage{form: f})
	}
	c.Workspace = w
	return p.renderPrivacy(c, http.StatusOK, privacyPage{form: &form{}, Secret: secret})
}

func (p *panel) postOrigins(c *call) error {
	return p.privacyForm(c, "Saved. It counts within a second.", func(f *form, w *gateway.Workspace) error {
		w.Settings.Origins = lines(f.Values.Get("origins"))
		return nil
	}, "origins")
}

func (p *panel) postExcluded(c *call) error {
	return p.privacyForm(c, "Saved. It counts within a second.", func(f *form, w *gateway.Workspace) (err error) {
		w.Settings.ExcludedAddresses, err = gateway.CleanNetworks("excluded_addresses", lines(f.Values.Get("excluded_addresses")))
		return err
	}, "excluded_addresses")
}

func (p *panel) postRetention(c *call) error {
	return p.privacyForm(c, "Saved.", func(f *form, w *gateway.Workspace) error {
		days := 0
		if text := f.Get("retention_days"); text != "" {
			var err error
			if days, err = strconv.Atoi(text); err != nil {
				return &gateway.Error{Code: gateway.CodeInvalid, Field: "retention_days", Message: "Write a whole number of days, or nothing to keep visitors."}
			}
		}
		// What can delete is confirmed by what it deletes.
		if days != 0 && days != w.Settings.RetentionDays && f.Get("confirm") != w.Name {
			return &gateway.Error{Code: gateway.CodeInvalid, Field: "confirm", Message: "Nothing was changed: type the name of the workspace, " + w.Name + "."}
		}
		w.Settings.RetentionDays = days
		return nil
	}, "retention_days", "confirm")
}
