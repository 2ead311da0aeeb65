package web

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"civgate/gateway"
)

// Demo is what the demo works with. All fields but Done are required.
type Demo struct {
	Read      gateway.Reader
	Workspace gateway.WorkspaceID
	// APIKey is the workspace's public key, which the shop's snippet carries.
	APIKey string
	// Changed returns a channel that is closed after the next batch was applied.
	// It is called before each reading, so that nothing is missed between the two.
	Changed func() <-chan struct{}
	// ScriptPath is where the widget is served on this host; empty means
	// "/widget.js".
	ScriptPath string
	Log        *zap.Logger
	// Done is closed when the server shuts down: all streams end then. They also
	// end with their requests, so nil is for servers that never drain.
	Done <-chan struct{}
}

// personCookie holds the id of who is signed in at the shop, for the server to
// render the snippet that belongs to them. The page's script sets it.
const personCookie = "civgate_demo"

// product is something that the demo's shop sells. Prices are in cents of euro.
type product struct {
	ID    string
	Name  string
	Kind  string
	Notes string
	About string
	Cents int
	Tint  string // class of its bag
}

var products = []product{
	{"first-light", "First Light", "Breakfast blend", "cocoa, hazelnut, orange",
		"The pot that is always on. Round and sweet, forgiving of the machine on the third floor, and just as good with milk.", 1350, "amber"},
	{"long-meeting", "Long Meeting", "Espresso", "dark chocolate, fig, clove",
		"For the agenda with eleven points. Full-bodied and low in acid, roasted for office espresso machines.", 1450, "plum"},
	{"quiet-hours", "Quiet Hours", "Decaf", "caramel, almond, red apple",
		"Decaffeinated with sugar cane, so that what is left tastes of coffee. For the afternoon that should end in sleep.", 1500, "sky"},
	{"kochere", "Kochere", "Ethiopia, washed", "bergamot, peach, black tea",
		"One valley, one harvest. Light and floral; brew it as filter and tell nobody that it is in the kitchen.", 1850, "rose"},
	{"huila", "Huila", "Colombia, honey", "plum, brown sugar, lime",
		"From forty families above two thousand metres. Sweet enough for those who say that they take sugar.", 1700, "leaf"},
	{"cold-desk", "Cold Desk", "Cold brew", "cherry, cola, vanilla",
		"Ground coarse and packed in filters of a litre each. In the fridge by six, on the desk by nine.", 1600, "slate"},
}

// plan is a subscription of the demo's shop.
type plan struct {
	Name  string
	For   string
	Cents int // a month
	Seats int
	Gets  []string
	Best  bool
}

var plans = []plan{
	{"Desk", "Up to 10 people", 4900, 10, []string{"1 kg every other week", "Two coffees to choose from", "Skip whenever you like"}, false},
	{"Floor", "Up to 50 people", 19900, 50, []string{"5 kg every other week", "All six coffees", "Grinder on loan", "One invoice a month"}, true},
	{"Campus", "More than 50 people", 64900, 200, []string{"20 kg every week", "A roast of your own", "Machines and service", "Delivery to every floor"}, false},
}

// demoPage is one page of the shop.
type demoPage struct {
	Path, Title string
	Product     *product // of a product's own page
}

// demoPages are all pages of the shop by path.
var demoPages = func() map[string]demoPage {
	all := map[string]demoPage{
		"/demo":          {Title: "Coffee for the whole floor"},
		"/demo/coffees":  {Title: "Coffees"},
		"/demo/pricing":  {Title: "Plans"},
		"/demo/cart":     {Title: "Cart"},
		"/demo/account":  {Title: "Account"},
		demoNotFoundPath: {Title: "Page not found"},
	}
	for i := range products {
		all["/demo/coffees/"+products[i].ID] = demoPage{Title: products[i].Name, Product: &products[i]}
	}
	for path, p := range all {
		p.Path = path
		all[path] = p
	}
	return all
}()

// demoNotFoundPath is no address: it names the page that answers unknown ones.
const demoNotFoundPath = "/demo/404"

var demoAssets = loadAssets("demo.css", "demo.js", "demo.svg")

var demoTemplate = template.Must(template.New("demo.html").Funcs(template.FuncMap{
	"asset": func(name string) string { return "/demo/assets/" + name + "?v=" + demoAssets[name].version },
	"price": price,
	"whole": whole,
	"icon":  icon,
	"initials": func(name string) string {
		var s string
		for word := range strings.FieldsSeq(name) {
			s += word[:1]
		}
		return s
	},
}).ParseFS(files, "templates/demo.html"))

// MountDemo registers the demo below /demo: the shop's pages, their files, and
// the live view's stream at /demo/live.
func MountDemo(e *echo.Echo, s Demo) {
	if s.ScriptPath == "" {
		s.ScriptPath = "/widget.js"
	}
	d := &demo{Demo: s, live: newLive(s)}
	get := func(path string, h echo.HandlerFunc) {
		e.Match([]string{http.MethodGet, http.MethodHead}, path, h)
	}
	get("/demo", d.page)
	get("/demo/", d.page)
	get("/demo/*", d.page)
	get("/demo/assets/:name", serveAsset(demoAssets))
	e.GET("/demo/live", d.live.stream)
}

type demo struct {
	Demo
	live *live
}

// demoView is what the template gets.
type demoView struct {
	Page       demoPage
	Nonce      string
	Person     *person
	Snippet    template.JS // runs
	Shown      string      // the same as a reader is to paste it
	ScriptPath string
	Products   []product
	Plans      []plan
	Teams      []team
	Data       demoData
}

// demoData is what the page's script gets.
type demoData struct {
	Anonymous string                `json:"anonymous"` // snippet of a visitor
	People    map[string]demoPerson `json:"people"`
	Products  map[string]demoItem   `json:"products"`
	Cookie    string                `json:"cookie"`
}

type demoPerson struct {
	Name    string `json:"name"`
	Company string `json:"company"`
	Snippet string `json:"snippet"`
}

type demoItem struct {
	Name  string `json:"name"`
	Cents int    `json:"cents"`
	Tint  string `json:"tint"`
}

func (d *demo) page(c echo.Context) error {
	status := http.StatusOK
	path := strings.TrimRight(c.Request().URL.Path, "/")
	page, ok := demoPages[path]
	if !ok || path == demoNotFoundPath {
		status, page = http.StatusNotFound, demoPages[demoNotFoundPath]
	}
	v := demoView{
		Page:       page,
		Nonce:      rand.Text(),
		ScriptPath: d.ScriptPath,
		Products:   products,
		Plans:      plans,
		Teams:      teams,
		Data: demoData{
			Anonymous: snippet(d.APIKey, person{}),
			People:    make(map[string]demoPerson),
			Products:  make(map[string]demoItem),
			Cookie:    personCookie,
		},
	}
	text := v.Data.Anonymous
	if cookie, err := c.Cookie(personCookie); err == nil {
		if p, ok := personByID(cookie.Value); ok {
			v.Person = &p
			text = snippet(d.APIKey, p)
		}
	}
	v.Snippet = template.JS(text) // of our making: see literal
	v.Shown = `<script data-cfasync="false" type="text/javascript">` + text + "</script>\n" +
		`<script data-cfasync="false" type="text/javascript" src="` + d.ScriptPath + `"></script>`
	for _, t := range teams {
		for _, p := range t.People {
			v.Data.People[p.ID] = demoPerson{Name: p.Name, Company: p.Company, Snippet: snippet(d.APIKey, p)}
		}
	}
	for _, p := range products {
		v.Data.Products[p.ID] = demoItem{Name: p.Name, Cents: p.Cents, Tint: p.Tint}
	}
	var b bytes.Buffer
	if err := demoTemplate.Execute(&b, v); err != nil {
		return err
	}
	h := c.Response().Header()
	secure(h)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'self'; script-src 'self' 'nonce-"+v.Nonce+"'; "+
		"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	return c.HTMLBlob(status, b.Bytes())
}

// price is an amount in cents as the shop writes it, always with the cents, so
// that prices in a row and a total below them look alike.
func price(cents int) string {
	return fmt.Sprintf("€%d.%02d", cents/100, cents%100)
}

// whole is price for what costs whole euros, as all plans do.
func whole(cents int) string {
	return strings.TrimSuffix(price(cents), ".00")
}

// icon is one of the template's symbols, drawn at the size of the text.
func icon(name string) template.HTML {
	return template.HTML(`<svg class="i" aria-hidden="true"><use href="#i-` + name + `"/></svg>`)
}
