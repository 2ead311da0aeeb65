package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"civgate/gateway"
)

// This file owns the snippets that the settings show for copying, the check that they
// arrive, and the first steps of a new workspace.
//
// Decisions
//
//   - Each system is shown the way it writes values into a script safely: as JSON whose <,
//     > and & are escaped, never by quotes around a value.
//   - What tells that a payload came is the newest page view of the website: whoever was
//     last seen since the check began, and the address of what they saw. That one was
//     refused is what the inspector knows of the website.
//   - The check looks again and again, and is answered nothing while it would say the
//     same: what is being read, or has the focus, stays.

// system is one that a website is made with.
type system struct {
	ID, Label string
	// Before says where the snippets go. Anonymous and Known are the snippets, with
	// {{key}} for the widget key and {{src}} for the address of the script; Known is ""
	// where Anonymous is for everybody.
	Before, Anonymous, Known string
}

const scriptTag = `<script data-cfasync="false" type="text/javascript" src="{{src}}"></script>`

const anonymousTag = `<script data-cfasync="false" type="text/javascript">
  window.civchat = { apiKey: "{{key}}" };
</script>
` + scriptTag

var systems = []system{
	{"html", "HTML", "Before </body> of every page. Where somebody is signed in, your server writes their values instead of these.", anonymousTag,
		`<script data-cfasync="false" type="text/javascript">
  window.civchat = {
    apiKey: "{{key}}",
    user_id: "42",
    email: "ada@acme.com",
    name: "Ada Lovelace",
    company: {
      company_id: "7",
      name: "Acme",
      plan: "pro"
    }
  };
</script>
` + scriptTag},
	{"gtm", "Google Tag Manager", "A tag of the kind Custom HTML, on All Pages. The second takes its values from the dataLayer of your site: make a data layer variable for each, all with a default value.",
		anonymousTag,
		`<script data-cfasync="false" type="text/javascript">
  window.civchat = {
    apiKey: "{{key}}",
    user_id: {{DLV - user_id}},
    email: {{DLV - email}},
    name: {{DLV - name}},
    company: {
      company_id: {{DLV - company_id}},
      name: {{DLV - company_name}}
    }
  };
</script>
` + scriptTag},
	{"react", "React / Next", "A component for the layout. In Next.js it begins with \"use client\".",
		`"use client";
import { useEffect } from "react";

export function Civgate() {
  useEffect(() => {
    window.civchat = { apiKey: "{{key}}" };
    const script = document.createElement("script");
    script.src = "{{src}}";
    script.async = true;
    document.body.append(script);
    return () => script.remove();
  }, []);
  return null;
}`,
		`"use client";
import { useEffect } from "react";

export function Civgate({ user }) {
  useEffect(() => {
    window.civchat = {
      apiKey: "{{key}}",
      user_id: String(user.id),
      email: user.email,
      name: user.name,
      company: { company_id: String(user.company.id), name: user.company.name },
    };
    const script = document.createElement("script");
    script.src = "{{src}}";
    script.async = true;
    document.body.append(script);
    return () => script.remove();
  }, [user.id]);
  return null;
}`},
	{"vue", "Vue", "In the outermost component (App.vue).",
		`<script setup>
import { onMounted } from "vue";

onMounted(() => {
  window.civchat = { apiKey: "{{key}}" };
  const script = document.createElement("script");
  script.src = "{{src}}";
  script.async = true;
  document.body.append(script);
});
</script>`,
		`<script setup>
import { onMounted } from "vue";

const props = defineProps({ user: Object });
onMounted(() => {
  window.civchat = {
    apiKey: "{{key}}",
    user_id: String(props.user.id),
    email: props.user.email,
    name: props.user.name,
    company: { company_id: String(props.user.company.id), name: props.user.company.name },
  };
  const script = document.createElement("script");
  script.src = "{{src}}";
  script.async = true;
  document.body.append(script);
});
</script>`},
	{"django", "Django", "In the base template. The view, or a context processor, puts a dict into the context as civchat; json_script escapes it.", anonymousTag,
		`{% comment %} In the view or a context processor:
civchat = {"apiKey": "{{key}}", "user_id": str(user.pk), "email": user.email,
           "name": user.get_full_name(),
           "company": {"company_id": str(user.company.pk), "name": user.company.name}}
{% endcomment %}
{{ civchat|json_script:"civchat-data" }}
<script data-cfasync="false" type="text/javascript">
  window.civchat = JSON.parse(document.getElementById("civchat-data").textContent);
</script>
` + scriptTag},
	{"rails", "Rails", "In the layout. Rails escapes <, > and & in to_json, so that html_safe is safe here.", anonymousTag,
		`<script data-cfasync="false" type="text/javascript">
  window.civchat = <%= {
    apiKey: "{{key}}",
    user_id: current_user.id.to_s,
    email: current_user.email,
    name: current_user.name,
    company: { company_id: current_user.company.id.to_s, name: current_user.company.name }
  }.to_json.html_safe %>;
</script>
` + scriptTag},
	{"laravel", "Laravel", "In the Blade layout. Js::from escapes the values.", anonymousTag,
		`@auth
<script data-cfasync="false" type="text/javascript">
  window.civchat = {{ Illuminate\Support\Js::from([
    'apiKey' => '{{key}}',
    'user_id' => (string) auth()->id(),
    'email' => auth()->user()->email,
    'name' => auth()->user()->name,
    'company' => [
      'company_id' => (string) auth()->user()->company->id,
      'name' => auth()->user()->company->name,
    ],
  ]) }};
</script>
` + scriptTag + `
@endauth`},
	{"php", "PHP / WordPress", "In WordPress in functions.php of the theme; elsewhere use json_encode with JSON_HEX_TAG | JSON_HEX_AMP in the same way.",
		`add_action('wp_footer', function () {
  $civchat = array('apiKey' => '{{key}}');
  ?>
  <script data-cfasync="false" type="text/javascript">
    window.civchat = <?php echo wp_json_encode($civchat, JSON_HEX_TAG | JSON_HEX_AMP); ?>;
  </script>
  ` + scriptTag + `
  <?php
});`,
		`add_action('wp_footer', function () {
  $civchat = array('apiKey' => '{{key}}');
  if (is_user_logged_in()) {
    $user = wp_get_current_user();
    $civchat += array(
      'user_id' => (string) $user->ID,
      'email' => $user->user_email,
      'name' => $user->display_name,
      'company' => array(
        'company_id' => (string) get_user_meta($user->ID, 'company_id', true),
        'name' => (string) get_user_meta($user->ID, 'company_name', true),
      ),
    );
  }
  ?>
  <script data-cfasync="false" type="text/javascript">
    window.civchat = <?php echo wp_json_encode($civchat, JSON_HEX_TAG | JSON_HEX_AMP); ?>;
  </script>
  ` + scriptTag + `
  <?php
});`},
	{"shopify", "Shopify", "In layout/theme.liquid, before </body>: Online Store, Themes, Edit code. The filter json quotes and escapes.", anonymousTag,
		`<script data-cfasync="false" type="text/javascript">
  window.civchat = {
    apiKey: "{{key}}"{% if customer %},
    user_id: {{ customer.id | append: "" | json }},
    email: {{ customer.email | json }},
    name: {{ customer.name | json }}{% if customer.current_company %},
    company: {
      company_id: {{ customer.current_company.id | append: "" | json }},
      name: {{ customer.current_company.name | json }}
    }{% endif %}{% endif %}
  };
</script>
` + scriptTag},
}

// scriptPage shows the snippets.
type scriptPage struct {
	Key, Src         string
	Tabs             []chip
	System           system
	Anonymous, Known string
	Check            scriptCheck
}

// scriptCheck is a check of a website, from a moment on.
type scriptCheck struct {
	URL, Host string
	Since     int64 // microseconds; 0: none was asked for
	Problem   string
	Refused   bool // the origin is none of the workspace's, so that it will be refused
	Seen      *gateway.PageView
	Contact   gateway.ContactID
	Late      bool           // it has been waited for long
	Refusal   *checkRefusal  // the newest of the website
	Partly    *checkWarnings // of what was seen
	Strange   string         // why something was refused that may be the website's
	Waiting   string         // what the database doesn't take
	Open      bool           // there is more to come
}

// checkRefusal is a payload of the website that was refused.
type checkRefusal struct {
	refusalWords
	ID     int64
	At     time.Time
	Reason string
	Line   string // where the inspector shows it
}

// checkWarnings are what was left out of a payload that was seen.
type checkWarnings struct {
	All  []gateway.Warning
	Line string
}

// Poll is where the next look is to be asked for.
func (s scriptCheck) Poll() string {
	return panelPath + "/settings/script/seen?" + url.Values{"url": {s.URL}, "since": {strconv.FormatInt(s.Since, 10)}, "shown": {s.state()}}.Encode()
}

// state tells apart what the check can say.
func (s scriptCheck) state() string {
	var refused int64
	if s.Refusal != nil {
		refused = s.Refusal.ID
	}
	return fmt.Sprintf("%t-%t-%t-%t-%t-%t-%t-%d", s.Open, s.Seen != nil, s.Late, s.Refused, s.Partly != nil, s.Strange != "", s.Waiting != "", refused)
}

const (
	// checkLate is after what time the check says what may be wrong.
	checkLate = 20 * time.Second
	// checkLinger is for how long the check goes on after a page view: the inspector
	// knows of a payload a little later than it can be seen.
	checkLinger = 3 * time.Second
	// checkedLines is how many of the inspector's lines are looked through.
	checkedLines = 50
)

// origin is the address under which browsers reach civgate.
func (c *call) origin() string {
	return cmp.Or(strings.TrimSuffix(c.p.Origin, "/"), c.Scheme()+"://"+c.Request().Host)
}

func (p *panel) settingsScript(c *call) error {
	ctx := c.Request().Context()
	keys, err := p.Read.APIKeys(ctx, c.Workspace.ID)
	if err != nil {
		return err
	}
	v := scriptPage{Src: c.origin() + cmp.Or(p.ScriptPath, "/widget.js")}
	if i := slices.IndexFunc(keys, func(k gateway.APIKey) bool { return k.Kind == gateway.KeyWidget }); i >= 0 {
		v.Key = keys[i].Secret
	}
	v.System = systems[0]
	for _, s := range systems {
		href := panelPath + "/settings/script"
		if s.ID != systems[0].ID {
			href += "?for=" + s.ID
		}
		if s.ID == c.QueryParam("for") {
			v.System = s
		}
		v.Tabs = append(v.Tabs, chip{Label: s.Label, Href: href})
	}
	for i := range v.Tabs {
		v.Tabs[i].Active = v.Tabs[i].Label == v.System.Label
	}
	fill := strings.NewReplacer("{{key}}", v.Key, "{{src}}", v.Src)
	v.Anonymous, v.Known = fill.Replace(v.System.Anonymous), fill.Replace(v.System.Known)
	if c.QueryParam("url") != "" {
		if v.Check, err = p.check(c, c.QueryParam("url"), time.Now().UnixMicro()); err != nil {
			return err
		}
	}
	return c.render(http.StatusOK, "settings_script", "Custom script", v)
}

// scriptSeen looks once more whether a payload of the website came.
func (p *panel) scriptSeen(c *call) error {
	since, err := strconv.ParseInt(c.QueryParam("since"), 10, 64)
	if err != nil || since <= 0 {
		return gateway.Errorf(gateway.CodeInvalid, "Begin the check anew.")
	}
	s, err := p.check(c, c.QueryParam("url"), since)
	if err != nil {
		return err
	}
	if s.state() == c.QueryParam("shown") {
		return c.NoContent(http.StatusNoContent)
	}
	return c.fragment(http.StatusOK, "settings_script", "check", s)
}

// check looks for what came of a website since a moment, in microseconds.
func (p *panel) check(c *call, text string, since int64) (s scriptCheck, err error) {
	ctx, w := c.Request().Context(), c.Workspace
	s = scriptCheck{URL: strings.TrimSpace(text)}
	if !strings.Contains(s.URL, "://") {
		s.URL = "https://" + s.URL
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || len(s.URL) > 2000 {
		s.Problem = "This is no address of a website: write https://www.acme.com."
		return s, nil
	}
	s.Host, s.Since = strings.ToLower(u.Host), since
	s.Refused = !gateway.OriginAllowed(w.Settings.Origins, u.Scheme+"://"+u.Host)
	from := time.UnixMicro(since).UTC()
	s.Late = time.Since(from) > checkLate
	s.Waiting = waitingWords(p.Gateway.InspectionsWaiting(w.ID))
	if err := p.checkSeen(ctx, w.ID, &s, from); err != nil {
		return s, err
	}
	if err := p.checkRefused(c, &s, from); err != nil {
		return s, err
	}
	s.Open = s.Seen == nil || time.Since(s.Seen.At) < checkLinger
	return s, nil
}

// checkSeen looks for a page view of the website.
func (p *panel) checkSeen(ctx context.Context, w gateway.WorkspaceID, s *scriptCheck, from time.Time) error {
	seen, err := p.Read.FindContacts(ctx, w, gateway.Query{Limit: 50, Where: []gateway.Condition{
		{Field: "last_seen", Op: gateway.OpAtLeast, Value: gateway.TextValue(from.Format(time.RFC3339Nano))}, {Field: "page_views", Op: gateway.OpAtLeast, Value: gateway.IntValue(1)},
	}})
	if err != nil {
		return err
	}
	for _, contact := range seen {
		views, err := p.Read.PageViews(ctx, w, contact.ID, gateway.HistoryQuery{Limit: 5})
		if err != nil {
			return err
		}
		for i := range views {
			v := &views[i]
			if at, err := url.Parse(v.URL); err == nil && !v.At.Before(from) && sameSite(at.Host, s.Host) {
				s.Seen, s.Contact = v, contact.ID
				return p.checkPartly(ctx, w, s, from)
			}
		}
	}
	return nil
}

// checkPartly looks for what was left out of what was seen.
func (p *panel) checkPartly(ctx context.Context, w gateway.WorkspaceID, s *scriptCheck, from time.Time) error {
	all, err := p.Read.Inspections(ctx, w, gateway.InspectionQuery{Contact: s.Contact, Limit: checkedLines})
	if err != nil {
		return err
	}
	for i := range all {
		if v := &all[i]; !v.At.Before(from) && len(v.Detail.Warnings) > 0 {
			s.Partly = &checkWarnings{v.Detail.Warnings, newInspectorLine(v).Href}
			return nil
		}
	}
	return nil
}

// checkRefused looks for what was refused of the website, and for owners for what may
// be the website's.
func (p *panel) checkRefused(c *call, s *scriptCheck, from time.Time) error {
	ctx := c.Request().Context()
	all, err := p.Read.Inspections(ctx, c.Workspace.ID, gateway.InspectionQuery{Verdict: gateway.VerdictRefused, Limit: checkedLines})
	if err != nil {
		return err
	}
	for i := range all {
		if v := &all[i]; !v.At.Before(from) && sameSite(siteOf(v.Detail.Origin), s.Host) {
			if s.Seen != nil && v.At.Before(s.Seen.At) {
				return nil // it works since
			}
			words := wordsOf(v.Code)
			if words.Href == scriptHref {
				words.Link = "" // it is this page
			}
			s.Refusal = &checkRefusal{words, v.ID, v.At, v.Detail.Reason, newInspectorLine(v).Href}
			return nil
		}
	}
	if s.Seen != nil || !c.can(gateway.RoleOwner) {
		return nil
	}
	strange, err := p.Read.Inspections(ctx, 0, gateway.InspectionQuery{Limit: 1})
	if err != nil {
		return err
	}
	if len(strange) > 0 && strange[0].Verdict == gateway.VerdictRefused && !strange[0].At.Before(from) {
		s.Strange = codeWords(strange[0].Code)
	}
	return nil
}

// sameSite reports whether two hosts are one, www. or not.
func sameSite(a, b string) bool {
	return strings.EqualFold(strings.TrimPrefix(strings.ToLower(a), "www."), strings.TrimPrefix(strings.ToLower(b), "www."))
}

// firstRun is what a new workspace has still to do.
type firstRun struct {
	Pasted, Seen, Domains bool
	First                 *gateway.ContactView // who was seen
}

// Done reports whether all is done.
func (f firstRun) Done() bool { return f.Pasted && f.Seen && f.Domains }

const (
	// firstRunAge is for how long a workspace that gets payloads is reminded of the rest.
	firstRunAge = 14 * 24 * time.Hour
	// firstRunPatience bounds the search for a first page view.
	firstRunPatience = 500 * time.Millisecond
)

// firstSteps finds out what is done of the first steps.
func (p *panel) firstSteps(c *call) (f firstRun, err error) {
	ctx, cancel := context.WithTimeout(c.Request().Context(), firstRunPatience)
	defer cancel()
	f.Domains = c.Workspace.Settings.Companies.AutoAssign.Enabled
	seen, err := p.Read.FindContacts(ctx, c.Workspace.ID, gateway.Query{Limit: 5, Where: []gateway.Condition{
		{Field: "page_views", Op: gateway.OpAtLeast, Value: gateway.IntValue(1)},
	}})
	if errors.Is(err, context.DeadlineExceeded) {
		return f, nil // among very many contacts there is none that is easy to find
	}
	if err != nil {
		return f, err
	}
	own := ""
	if u, err := url.Parse(c.origin()); err == nil {
		own = u.Host
	}
	for _, contact := range seen {
		if f.First == nil {
			f.First = contact
		}
		f.Seen = true
		views, err := p.Read.PageViews(ctx, c.Workspace.ID, contact.ID, gateway.HistoryQuery{Limit: 5})
		if err != nil {
			return f, err
		}
		for i := range views {
			// civgate's own demo is no website of theirs.
			if u, err := url.Parse(views[i].URL); err == nil && !(u.Host == own && strings.HasPrefix(u.Path, "/demo")) {
				f.Pasted = true
			}
		}
	}
	return f, nil
}

// home leads to the contacts, or to the first steps while there are some to do.
func (p *panel) home(c *call) error {
	f, err := p.firstSteps(c)
	if err != nil {
		return err
	}
	if f.Done() || f.Seen && time.Since(c.Workspace.CreatedAt) > firstRunAge {
		return c.Redirect(http.StatusSeeOther, panelPath+"/contacts")
	}
	return c.render(http.StatusOK, "first_run", "First steps", f)
}

func (p *panel) firstRunFragment(c *call) error {
	f, err := p.firstSteps(c)
	if err != nil {
		return err
	}
	return c.fragment(http.StatusOK, "first_run", "steps", f)
}
