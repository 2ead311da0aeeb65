package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"civgate/gateway"
)

// hashesAtOnce is how many passwords are hashed at a time: each takes 19 MiB and
// tens of milliseconds of a core. Who comes meanwhile waits their turn, up to
// hashPatience.
const (
	hashesAtOnce = 2
	hashPatience = 5 * time.Second
)

// dummyHash is what the password of an unknown e-mail is compared with, so that an
// answer doesn't tell by its time whether the e-mail is known.
var dummyHash = sync.OnceValue(func() string { return gateway.HashPassword(rand.Text()) })

// hash runs fn, which hashes a password, when it is its turn.
func (p *panel) hash(ctx context.Context, fn func()) error {
	ctx, cancel := context.WithTimeout(ctx, hashPatience)
	defer cancel()
	select {
	case p.hashing <- struct{}{}:
		defer func() { <-p.hashing }()
		fn()
		return nil
	case <-ctx.Done():
		return &gateway.Error{Code: gateway.CodeUnavailable, Message: "Too many people sign in right now.", RetryAfter: hashPatience, Err: ctx.Err()}
	}
}

// checkPassword says whether the password is that of the e-mail, and who that is.
// Attempts are throttled for the address that they come from, and for the e-mail, or for the
// browser if it is known to be the agent's: then it is a CodeRateLimited that says how long
// to wait.
func (p *panel) checkPassword(c *call, email, password string) (agents []gateway.Agent, ok bool, err error) {
	ctx := c.Request().Context()
	_, key, valid := gateway.NormalizeEmail(email)
	if !valid {
		key = email
	}
	wait := p.throttle(ctx, c.RealIP(), LimitSignInAddress, LimitSignInAddressLong)
	if valid && wait == 0 {
		if agents, err = p.Read.AgentsByEmail(ctx, key); err != nil {
			return nil, false, err
		}
	}
	hidden := gateway.HashToken(key) // of a bounded length, and nobody's to read
	who := fmt.Sprintf("%x", hidden[:12])
	if device := c.device(agents); device != "" {
		wait = max(wait, p.throttle(ctx, who+"-"+device, LimitSignInDevice, LimitSignInDeviceLong))
	} else {
		wait = max(wait, p.throttle(ctx, who, LimitSignInEmail, LimitSignInEmailLong))
	}
	if wait > 0 {
		return nil, false, &gateway.Error{Code: gateway.CodeRateLimited, RetryAfter: wait, Message: "Too many attempts. Try again in " + inWords(wait) + "."}
	}
	if len(password) > gateway.MaxPassword {
		password = ""
	}
	err = p.hash(ctx, func() {
		hash := dummyHash()
		if len(agents) > 0 {
			hash = agents[0].PasswordHash
		}
		ok = gateway.CheckPassword(hash, password)
	})
	return agents, ok && len(agents) > 0, err
}

// The classes of names that attempts to sign in are counted under: an e-mail, or a browser
// that is known to be its agent's, and an address, behind which a whole office may be. Who
// goes on for longer has to wait for longer.
const (
	LimitSignInEmail       = "signin-email"
	LimitSignInEmailLong   = "signin-email-long"
	LimitSignInDevice      = "signin-device"
	LimitSignInDeviceLong  = "signin-device-long"
	LimitSignInAddress     = "signin-address"
	LimitSignInAddressLong = "signin-address-long"
)

// throttle counts an attempt to sign in under a name of each of the classes, and returns
// for how long to wait.
func (p *panel) throttle(ctx context.Context, name string, classes ...string) (wait time.Duration) {
	if p.Limiter == nil {
		return 0
	}
	for _, class := range classes {
		if ok, after := p.Limiter.Allow(ctx, class+":"+name, 1); !ok {
			wait = max(wait, after)
		}
	}
	return wait
}

// inWords is a time to wait, rounded up.
func inWords(d time.Duration) string {
	if s := int(math.Ceil(d.Seconds())); s < 60 {
		return count(int64(max(s, 1)), "second", "seconds")
	}
	return count(int64(math.Ceil(d.Minutes())), "minute", "minutes")
}

type signInPage struct {
	*form
	Next string
}

func (p *panel) signIn(c *call) error {
	if c.Agent.Email != "" {
		return c.Redirect(http.StatusSeeOther, nextPage(c.QueryParam("next")))
	}
	return c.render(http.StatusOK, "signin", "Sign in", signInPage{&form{}, c.QueryParam("next")})
}

func (p *panel) postSignIn(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	agents, ok, err := p.checkPassword(c, f.Get("email"), f.Values.Get("password"))
	status := http.StatusUnprocessableEntity
	switch {
	case gateway.CodeOf(err) == gateway.CodeRateLimited:
		status = c.tooMany(f, err)
	case err != nil:
		return err
	case !ok:
		f.fail("", "E-mail and password don't go together. Check both.")
	}
	if f.Failed() {
		f.Values.Del("password")
		return c.render(status, "signin", "Sign in", signInPage{f, f.Get("next")})
	}
	if err := c.begin(agents[0], agents[0].WorkspaceID); err != nil {
		return err
	}
	return c.redirect(nextPage(f.Get("next")))
}

// tooMany puts a CodeRateLimited into a form and says when to try again; it returns
// the status.
func (c *call) tooMany(f *form, err error) int {
	_ = f.take(err) // it takes these
	var e *gateway.Error
	if asError(err, &e) {
		c.Response().Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	return http.StatusTooManyRequests
}

// begin signs an agent in, under a new token.
func (c *call) begin(a gateway.Agent, w gateway.WorkspaceID) error {
	ctx := c.Request().Context()
	s := c.p.sessions
	if err := errors.Join(s.RenewToken(ctx), s.Clear(ctx)); err != nil {
		return err
	}
	c.rememberDevice(a)
	s.Put(ctx, sessionEmail, a.Email)
	s.Put(ctx, sessionStamp, passwordStamp(a.PasswordHash))
	s.Put(ctx, sessionWorkspace, strconv.FormatInt(int64(w), 10))
	return c.keepSession()
}

func (p *panel) postSignOut(c *call) error {
	if err := p.sessions.Destroy(c.Request().Context()); err != nil {
		return err
	}
	return c.redirect(panelPath + "/sign-in")
}

func (p *panel) postSwitch(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	for _, w := range c.Workspaces {
		if id := strconv.FormatInt(int64(w.ID), 10); id == f.Get("workspace") {
			p.sessions.Put(c.Request().Context(), sessionWorkspace, id)
			if err := c.keepSession(); err != nil {
				return err
			}
			return c.redirect(panelPath)
		}
	}
	return gateway.Errorf(gateway.CodeNotFound, "You are no agent of that workspace.")
}
