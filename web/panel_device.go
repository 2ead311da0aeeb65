package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"civgate/gateway"
)

// This file owns what a browser remembers of the panel while nobody is signed in: that an
// agent has signed in with it, and the columns that were chosen.
//
// Decisions
//
//   - Attempts to sign in are bounded for each e-mail, so whoever fails with an agent's
//     e-mail on purpose would keep the agent out. A browser in which the agent signed in
//     before proves that, and its attempts are counted by themselves ("device cookies" of
//     the OWASP cheat sheets). The proof is made with the hash of the password, so nothing
//     is stored for it, and a new password ends all of them.

// The names of the cookies, with cookieName's prefix before them.
const (
	deviceCookie  = "_device"
	columnsCookie = "_columns"
)

// rememberedFor is how long a browser remembers.
const rememberedFor = 365 * 24 * time.Hour

// maxRemembered bounds the value of a cookie: browsers take 4096 bytes with its name.
const maxRemembered = 3800

// remember sets a cookie that outlasts sessions.
func (c *call) remember(name, value string) {
	c.SetCookie(&http.Cookie{
		Name: c.cookieName() + name, Value: value, Path: "/", MaxAge: int(rememberedFor / time.Second),
		Secure: c.Scheme() == "https", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// remembered is the value of such a cookie, "" if there is none.
func (c *call) remembered(name string) string {
	cookie, err := c.Cookie(c.cookieName() + name)
	if err != nil || len(cookie.Value) > maxRemembered {
		return ""
	}
	return cookie.Value
}

// deviceProof proves that the agent has signed in with the browser that was then given
// the nonce.
func deviceProof(a gateway.Agent, nonce string) string {
	mac := hmac.New(sha256.New, []byte(a.PasswordHash))
	mac.Write([]byte("device\n" + a.Email + "\n" + nonce))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// rememberDevice makes the browser one that the agent has signed in with, or keeps it one.
func (c *call) rememberDevice(a gateway.Agent) {
	nonce := c.device([]gateway.Agent{a})
	if nonce == "" {
		nonce = rand.Text()
	}
	c.remember(deviceCookie, nonce+"."+deviceProof(a, nonce))
}

// device names the browser if the agent, who has a row for each workspace, has signed in
// with it since the password is what it is; else it is "".
func (c *call) device(rows []gateway.Agent) string {
	nonce, proof, ok := strings.Cut(c.remembered(deviceCookie), ".")
	if !ok || len(rows) == 0 || rows[0].PasswordHash == "" || !hmac.Equal([]byte(proof), []byte(deviceProof(rows[0], nonce))) {
		return ""
	}
	return nonce
}

// rememberColumns has the browser remember names of columns, as many as it can; nil
// forgets them.
func (c *call) rememberColumns(names []string) (kept int) {
	if names == nil {
		c.remember(columnsCookie, "")
		return 0
	}
	for kept = len(names); ; kept-- {
		text, err := json.Marshal(names[:kept])
		if value := base64.RawURLEncoding.EncodeToString(text); err == nil && len(value) <= maxRemembered {
			c.remember(columnsCookie, value)
			return kept
		}
	}
}

// columns are the names that the browser remembers; ok is false if it remembers none.
func (c *call) columns() (names []string, ok bool) {
	text, err := base64.RawURLEncoding.DecodeString(c.remembered(columnsCookie))
	if err != nil || json.Unmarshal(text, &names) != nil || names == nil {
		return nil, false
	}
	return names[:min(len(names), maxColumns)], true
}
