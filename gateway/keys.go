package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// This file owns how the keys of a workspace are made and revoked by people.
//
// Decisions
//
//   - A REST token is known to whom it is made for, this once: here is its hash.
//   - A revoked key is refused by this node at once where it is one of the widget, and by
//     all nodes within a second, which is how long they believe what they know.
//   - In the audit log a token has the start of its hash for a name (KeyID).

// SettingsReader is what a Reader knows for the settings.
type SettingsReader interface {
	// TagUses counts who has each of the tags, contacts and companies, up to most of each;
	// a tag that nobody has is left out.
	TagUses(ctx context.Context, w WorkspaceID, ids []TagID, most int) (map[TagID]int, error)
}

// SettingsTx is how a Tx writes keys and attributes, and finds old visitors.
type SettingsTx interface {
	// APIKeys of a workspace, oldest first.
	APIKeys(w WorkspaceID) ([]APIKey, error)
	// PutAPIKey adds a key. One that exists already, in any workspace, is a CodeConflict.
	PutAPIKey(w WorkspaceID, k APIKey) error
	// DropAPIKey deletes a key, CodeNotFound if the workspace has none such.
	DropAPIKey(w WorkspaceID, kind KeyKind, secret string) error
	// SetAttribute changes label, description and Hidden of the definition with the id.
	SetAttribute(w WorkspaceID, d AttributeDef) error
	// IdleVisitors looks at the next limit contacts by rising id from behind after and
	// returns those of them that are nothing but a browser's visits, all before a time:
	// no user_id, e-mail, phone number, name or tags, never employees, in no list, and not
	// created, changed or seen since. next is how far it has looked, 0 at the end.
	IdleVisitors(w WorkspaceID, before time.Time, after ContactID, limit int) (idle []ContactID, next ContactID, err error)
}

// MaxKeyName is how long the name of a key may be, in bytes.
const MaxKeyName = 120

// KeyID is how people name a key without knowing it: a widget key, which is public, as it
// is, of a REST token the start of its hash.
func KeyID(k APIKey) string {
	if k.Kind == KeyWidget {
		return k.Secret
	}
	return k.Secret[:min(12, len(k.Secret))]
}

// AddToken makes a REST token and returns it in clear: it is not to be had again.
func (e *Editor) AddToken(name string, scope Scope) (token string, k APIKey, err error) {
	if !scope.Includes(ScopeRead) {
		return "", k, &Error{Code: CodeInvalid, Field: "scope", Message: "Choose read, write or admin."}
	}
	if name, err = keyName(name); err != nil {
		return "", k, err
	}
	token = NewSecret()
	sum := sha256.Sum256([]byte(token))
	k = APIKey{WorkspaceID: e.set.w, Kind: KeyREST, Secret: hex.EncodeToString(sum[:]), Name: name, Scope: scope, CreatedAt: e.at}
	return token, k, e.addKey(k)
}

// NewSecret makes a secret that nobody guesses: 32 random bytes in hex.
func NewSecret() string {
	var b [32]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// AddWidgetKey makes another key for the snippet: older ones stay good until they are
// revoked, so that a website can change from one to another.
func (e *Editor) AddWidgetKey(name string) (k APIKey, err error) {
	if name, err = keyName(name); err != nil {
		return k, err
	}
	k = APIKey{WorkspaceID: e.set.w, Kind: KeyWidget, Secret: rand.Text()[:6], Name: name, CreatedAt: e.at}
	return k, e.addKey(k)
}

func keyName(name string) (string, error) {
	name = strings.Join(strings.Fields(name), " ")
	if name == "" || len(name) > MaxKeyName || !utf8.ValidString(name) || hasControl(name) {
		return "", &Error{Code: CodeInvalid, Field: "name", Message: fmt.Sprintf("Say what it is for, in up to %d bytes.", MaxKeyName)}
	}
	return name, nil
}

func (e *Editor) addKey(k APIKey) error {
	// A widget key that is taken is a conflict, and the edit runs again with another.
	if err := e.tx.PutAPIKey(k.WorkspaceID, k); err != nil {
		return err
	}
	return e.Audit("key.add", string(k.Kind)+" key", KeyID(k), keyDetail(k))
}

func keyDetail(k APIKey) map[string]any {
	d := map[string]any{"name": k.Name}
	if k.Scope != "" {
		d["scope"] = k.Scope
	}
	return d
}

// RevokeKey deletes the key of the kind that has the KeyID and returns it. It is a
// CodeNotFound if there is none, and a CodeConflict if several have it.
func (e *Editor) RevokeKey(kind KeyKind, id string) (APIKey, error) {
	all, err := e.tx.APIKeys(e.set.w)
	if err != nil {
		return APIKey{}, err
	}
	all = slices.DeleteFunc(all, func(k APIKey) bool { return k.Kind != kind || KeyID(k) != id })
	switch len(all) {
	case 0:
		return APIKey{}, Errorf(CodeNotFound, "There is no such key: it may have been revoked already.")
	case 1:
	default:
		return APIKey{}, Errorf(CodeConflict, "Several tokens have the id %s: revoke one by itself with civgate token revoke.", id)
	}
	k := all[0]
	if err := e.tx.DropAPIKey(e.set.w, k.Kind, k.Secret); err != nil {
		return APIKey{}, err
	}
	e.resettled = true
	return k, e.Audit("key.revoke", string(k.Kind)+" key", KeyID(k), keyDetail(k))
}
