package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Includes reports whether what takes the role other may be done with r.
func (r Role) Includes(other Role) bool {
	rank := map[Role]int{RoleViewer: 1, RoleEditor: 2, RoleOwner: 3}
	return rank[other] > 0 && rank[r] >= rank[other]
}

// Bounds of what people choose.
const (
	MinPassword  = 10  // bytes
	MaxPassword  = 256 // bytes: more would only make hashing dearer
	MaxAgentName = 120 // bytes
)

// InvitationAge is for how long an invitation can be accepted.
const InvitationAge = 7 * 24 * time.Hour

// TokenHash is the SHA-256 of a token that only its holder knows.
type TokenHash [sha256.Size]byte

// HashToken returns what is kept of a token.
func HashToken(token string) TokenHash { return sha256.Sum256([]byte(token)) }

// Invitation lets whoever holds its token become an agent, once.
type Invitation struct {
	WorkspaceID WorkspaceID
	Email       string // comparable form; one open invitation an e-mail
	Token       TokenHash
	Role        Role
	By          string
	CreatedAt   time.Time
	ExpiresAt   time.Time
}

// Session is what is kept of somebody who is signed in. Data is the panel's.
type Session struct {
	Token     TokenHash
	Data      []byte
	ExpiresAt time.Time
}

// AuditEntry is a line of the audit log: who changed what. It holds no secret.
type AuditEntry struct {
	ID      int64 // the store's: counted in the workspace, the newest is the highest
	At      time.Time
	By      string // an agent's e-mail, a token's name, or the door
	Action  string // what was done, as subject.verb: agent.remove
	Subject string // the kind of thing that it was done to: agent
	// SubjectID names the thing: an id or an e-mail.
	SubjectID string
	Detail    []byte // JSON object with what else there is to tell
}

// maxAuditDetail is how many bytes the detail of an AuditEntry may have. One that is
// larger is left out, for the entry itself must not be lost.
const maxAuditDetail = 8 << 10

// NewAuditEntry makes an entry of the moment at; detail is what json.Marshal makes an
// object of, nil for none.
func NewAuditEntry(at time.Time, by, action, subject, id string, detail any) AuditEntry {
	e := AuditEntry{At: at, By: by, Action: action, Subject: subject, SubjectID: id, Detail: []byte("{}")}
	if detail == nil {
		return e
	}
	switch text, err := json.Marshal(detail); {
	case err != nil || len(text) == 0 || text[0] != '{':
		e.Detail = []byte(`{"detail":"could not be written"}`)
	case len(text) > maxAuditDetail:
		e.Detail = []byte(`{"detail":"too large to be kept"}`)
	default:
		e.Detail = text
	}
	return e
}

// Audit notes in the audit log what the edit does: action is subject.verb, such as
// contact.merge, id names the subject, and detail is an object of what else there
// is to tell, without secrets; nil for nothing. It is kept if the edit is.
func (e *Editor) Audit(action, subject, id string, detail any) error {
	return e.tx.AddAudit(e.w.ID, NewAuditEntry(e.at, e.by(), action, subject, id, detail))
}

// AuditQuery asks for a page of the audit log, newest first.
type AuditQuery struct {
	Before int64  // the id behind which the page starts; 0: from the start
	By     string // whose entries; "" for all
	Action string // which; "" for all
	Limit  int
}

// AgentReader is what a Reader knows about agents.
type AgentReader interface {
	// Agents of a workspace, by e-mail.
	Agents(ctx context.Context, w WorkspaceID) ([]Agent, error)
	// AgentsByEmail is who the e-mail is in each workspace, by workspace.
	AgentsByEmail(ctx context.Context, email string) ([]Agent, error)
	// Invitations of a workspace, newest first, expired ones too.
	Invitations(ctx context.Context, w WorkspaceID) ([]Invitation, error)
	// Invitation finds one by its token, CodeNotFound if there is none.
	Invitation(ctx context.Context, token TokenHash) (Invitation, error)
	// Session finds one by its token, CodeNotFound if there is none. It may have
	// expired.
	Session(ctx context.Context, token TokenHash) (Session, error)
	// AuditLog lists entries of a workspace.
	AuditLog(ctx context.Context, w WorkspaceID, q AuditQuery) ([]AuditEntry, error)
}

// AgentTx is how a Tx writes agents and what belongs to them.
type AgentTx interface {
	// Agents of a workspace, by e-mail; no other transaction changes them until this
	// one ends.
	Agents(w WorkspaceID) ([]Agent, error)
	// AgentsByEmail is as the Reader's.
	AgentsByEmail(email string) ([]Agent, error)
	// PutAgent makes an agent, or replaces the one with the e-mail (CreatedAt stays).
	PutAgent(a Agent) error
	// DropAgent deletes an agent and says whether there was one.
	DropAgent(w WorkspaceID, email string) (bool, error)
	// SetPasswordHash replaces that of an e-mail in every workspace.
	SetPasswordHash(email, hash string) error
	// PutInvitation makes an invitation, instead of an older one for the e-mail.
	PutInvitation(i Invitation) error
	// Invitation finds one by its token, CodeNotFound if there is none.
	Invitation(token TokenHash) (Invitation, error)
	// DropInvitation deletes one and says whether there was one.
	DropInvitation(w WorkspaceID, email string) (bool, error)
	// AddAudit adds to the audit log; the id is set by the store.
	AddAudit(w WorkspaceID, e AuditEntry) error
	// PutSession makes or replaces a session.
	PutSession(s Session) error
	// DropSession deletes a session, if there is one.
	DropSession(token TokenHash) error
	// ForgetExpired deletes sessions and invitations that expired before the given
	// time, at most limit of each.
	ForgetExpired(before time.Time, limit int) error
}

// Agents is the one place where agents, invitations and sessions change. Each
// method that changes agents notes it in the audit log of the workspace.
type Agents struct {
	store Store
	now   func() time.Time
}

// NewAgents returns an Agents over a store.
func NewAgents(s Store, now func() time.Time) *Agents { return &Agents{store: s, now: now} }

// Agents returns the place where the gateway's agents change.
func (g *Gateway) Agents() *Agents { return NewAgents(g.store, g.now) }

func (a *Agents) clock() time.Time { return a.now().UTC().Truncate(time.Microsecond) }

// PasswordProblem says what is wrong with a new password of an e-mail: nil, or a
// CodeInvalid of the field password.
func PasswordProblem(email, password string) error {
	problem := func(text string) error {
		return &Error{Code: CodeInvalid, Field: "password", Message: text}
	}
	switch {
	case len(password) < MinPassword:
		return problem(fmt.Sprintf("Use %d characters or more.", MinPassword))
	case len(password) > MaxPassword:
		return problem(fmt.Sprintf("Use no more than %d characters.", MaxPassword))
	case strings.EqualFold(strings.TrimSpace(password), email):
		return problem("Your e-mail address is no password.")
	case strings.Count(password, password[:1]) == len(password):
		return problem("One character over and over is no password.")
	}
	return nil
}

// agentName is a name as it is kept.
func agentName(name string) (string, error) {
	name = strings.Join(strings.Fields(name), " ")
	switch {
	case len(name) > MaxAgentName:
		return "", &Error{Code: CodeInvalid, Field: "name", Message: fmt.Sprintf("Use no more than %d bytes.", MaxAgentName)}
	case !utf8.ValidString(name) || hasControl(name):
		return "", &Error{Code: CodeInvalid, Field: "name", Message: "A name can't have control characters."}
	}
	return name, nil
}

func agentEmail(email string) (string, error) {
	_, key, ok := NormalizeEmail(email)
	if !ok {
		return "", &Error{Code: CodeInvalid, Field: "email", Message: "Enter an e-mail address, such as ada@acme.com."}
	}
	return key, nil
}

func checkRole(r Role) error {
	if !r.Includes(RoleViewer) {
		return &Error{Code: CodeInvalid, Field: "role", Message: "Choose owner, editor or viewer."}
	}
	return nil
}

// update is one transaction of a workspace that must exist.
func (a *Agents) update(ctx context.Context, fn func(tx Tx, at time.Time) error) error {
	return a.store.Update(ctx, func(tx Tx) error { return fn(tx, a.clock()) })
}

// Add makes an agent. Where the e-mail is an agent of another workspace already, it
// keeps its password and name, hash is not used, and had is true; elsewhere hash is
// the password's, and "" is a CodeInvalid. An e-mail that is an agent here is a
// CodeConflict.
func (a *Agents) Add(ctx context.Context, by string, agent Agent) (had bool, err error) {
	if agent.Email, err = agentEmail(agent.Email); err != nil {
		return false, err
	}
	if agent.Name, err = agentName(agent.Name); err != nil {
		return false, err
	}
	if err := checkRole(agent.Role); err != nil {
		return false, err
	}
	if _, err := a.workspace(ctx, agent.WorkspaceID); err != nil {
		return false, err
	}
	err = a.update(ctx, func(tx Tx, at time.Time) error {
		agent := agent
		agent.CreatedAt = at
		var err error
		if had, err = join(tx, &agent); err != nil {
			return err
		}
		return tx.AddAudit(agent.WorkspaceID, NewAuditEntry(at, by, "agent.add", "agent", agent.Email, map[string]any{"role": agent.Role}))
	})
	return had, err
}

// join makes an agent within a transaction. An e-mail has one password: that of its
// first workspace counts.
func join(tx Tx, agent *Agent) (had bool, err error) {
	here, err := tx.Agents(agent.WorkspaceID)
	if err != nil {
		return false, err
	}
	if agentIn(here, agent.Email) != nil {
		return false, Errorf(CodeConflict, "%s is an agent of this workspace already.", agent.Email)
	}
	elsewhere, err := tx.AgentsByEmail(agent.Email)
	if err != nil {
		return false, err
	}
	if had = len(elsewhere) > 0; had {
		agent.PasswordHash = elsewhere[0].PasswordHash
		if agent.Name == "" {
			agent.Name = elsewhere[0].Name
		}
	}
	if agent.PasswordHash == "" {
		return false, &Error{Code: CodeInvalid, Field: "password", Message: "Give a password."}
	}
	if _, err := tx.DropInvitation(agent.WorkspaceID, agent.Email); err != nil {
		return false, err
	}
	return had, tx.PutAgent(*agent)
}

func agentIn(all []Agent, email string) *Agent {
	i := slices.IndexFunc(all, func(a Agent) bool { return a.Email == email })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// workspace finds one, CodeNotFound if there is none.
func (a *Agents) workspace(ctx context.Context, id WorkspaceID) (*Workspace, error) {
	all, err := a.store.Workspaces(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].ID == id {
			return &all[i], nil
		}
	}
	return nil, Errorf(CodeNotFound, "there is no workspace %d", id)
}

// SetRole gives an agent another role. The last owner can't get a lower one
// (CodeConflict).
func (a *Agents) SetRole(ctx context.Context, by string, w WorkspaceID, email string, role Role) error {
	if err := checkRole(role); err != nil {
		return err
	}
	return a.change(ctx, w, email, role != RoleOwner, func(tx Tx, at time.Time, agent Agent) error {
		if agent.Role == role {
			return nil
		}
		was := agent.Role
		agent.Role = role
		if err := tx.PutAgent(agent); err != nil {
			return err
		}
		return tx.AddAudit(w, NewAuditEntry(at, by, "agent.role", "agent", agent.Email, map[string]any{"from": was, "to": role}))
	})
}

// Remove takes an agent out of a workspace, with effect at their next request. The
// last owner can't be removed (CodeConflict).
func (a *Agents) Remove(ctx context.Context, by string, w WorkspaceID, email string) error {
	return a.change(ctx, w, email, true, func(tx Tx, at time.Time, agent Agent) error {
		if _, err := tx.DropAgent(w, agent.Email); err != nil {
			return err
		}
		return tx.AddAudit(w, NewAuditEntry(at, by, "agent.remove", "agent", agent.Email, map[string]any{"role": agent.Role, "name": agent.Name}))
	})
}

// change runs fn for an agent, unless losesOwner says that they are no owner
// afterwards and there is no other.
func (a *Agents) change(ctx context.Context, w WorkspaceID, email string, losesOwner bool, fn func(tx Tx, at time.Time, agent Agent) error) error {
	email, err := agentEmail(email)
	if err != nil {
		return err
	}
	return a.update(ctx, func(tx Tx, at time.Time) error {
		all, err := tx.Agents(w)
		if err != nil {
			return err
		}
		agent := agentIn(all, email)
		if agent == nil {
			return Errorf(CodeNotFound, "%s is no agent of this workspace.", email)
		}
		another := slices.ContainsFunc(all, func(a Agent) bool { return a.Role == RoleOwner && a.Email != email })
		if agent.Role == RoleOwner && losesOwner && !another {
			return &Error{Code: CodeConflict, Field: "role", Message: "A workspace needs an owner: make somebody else one first."}
		}
		return fn(tx, at, *agent)
	})
}

// SetPassword replaces the password of an e-mail in all its workspaces. Sessions that
// began with the old one are the panel's to end. CodeNotFound if it is no agent.
func (a *Agents) SetPassword(ctx context.Context, by, email, hash string) error {
	email, err := agentEmail(email)
	if err != nil {
		return err
	}
	return a.update(ctx, func(tx Tx, at time.Time) error {
		all, err := tx.AgentsByEmail(email)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return Errorf(CodeNotFound, "%s is no agent.", email)
		}
		if err := tx.SetPasswordHash(email, hash); err != nil {
			return err
		}
		for _, one := range all {
			if err := tx.AddAudit(one.WorkspaceID, NewAuditEntry(at, by, "agent.password", "agent", email, nil)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Invite makes an invitation and returns its token, which is kept nowhere. An older
// one for the e-mail is void then. Who is an agent already is a CodeConflict.
func (a *Agents) Invite(ctx context.Context, by string, w WorkspaceID, email string, role Role) (token string, err error) {
	if email, err = agentEmail(email); err != nil {
		return "", err
	}
	if err := checkRole(role); err != nil {
		return "", err
	}
	if _, err := a.workspace(ctx, w); err != nil {
		return "", err
	}
	token = rand.Text()
	err = a.update(ctx, func(tx Tx, at time.Time) error {
		all, err := tx.Agents(w)
		if err != nil {
			return err
		}
		if agentIn(all, email) != nil {
			return &Error{Code: CodeConflict, Field: "email", Message: email + " is an agent of this workspace already."}
		}
		i := Invitation{WorkspaceID: w, Email: email, Token: HashToken(token), Role: role, By: by, CreatedAt: at, ExpiresAt: at.Add(InvitationAge)}
		if err := tx.PutInvitation(i); err != nil {
			return err
		}
		return tx.AddAudit(w, NewAuditEntry(at, by, "agent.invite", "agent", email, map[string]any{"role": role}))
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// Revoke makes an invitation void, CodeNotFound if there is none for the e-mail.
func (a *Agents) Revoke(ctx context.Context, by string, w WorkspaceID, email string) error {
	email, err := agentEmail(email)
	if err != nil {
		return err
	}
	return a.update(ctx, func(tx Tx, at time.Time) error {
		dropped, err := tx.DropInvitation(w, email)
		if err != nil {
			return err
		}
		if !dropped {
			return Errorf(CodeNotFound, "There is no open invitation for %s.", email)
		}
		return tx.AddAudit(w, NewAuditEntry(at, by, "agent.uninvite", "agent", email, nil))
	})
}

// Invitation finds the open invitation of a token, CodeNotFound if there is none.
func (a *Agents) Invitation(ctx context.Context, token string) (Invitation, error) {
	i, err := a.store.Invitation(ctx, HashToken(token))
	if err == nil && !i.ExpiresAt.After(a.clock()) {
		err = errNoInvitation
	}
	if IsNotFound(err) {
		err = errNoInvitation
	}
	return i, err
}

var errNoInvitation = &Error{Code: CodeNotFound, Message: "This invitation has been used, withdrawn or is older than a week. Ask for a new one."}

// Accept turns an invitation into an agent. hash is that of the password that they
// chose, or "" when they have one already, which the caller has checked; that it is
// the other way round by now is a CodeConflict.
func (a *Agents) Accept(ctx context.Context, token, name, hash string) (agent Agent, err error) {
	if name, err = agentName(name); err != nil {
		return agent, err
	}
	err = a.update(ctx, func(tx Tx, at time.Time) error {
		i, err := tx.Invitation(HashToken(token))
		if IsNotFound(err) || err == nil && !i.ExpiresAt.After(at) {
			return errNoInvitation
		}
		if err != nil {
			return err
		}
		agent = Agent{WorkspaceID: i.WorkspaceID, Email: i.Email, Name: name, PasswordHash: hash, Role: i.Role, CreatedAt: at}
		had, err := join(tx, &agent)
		if err != nil {
			return err
		}
		if had != (hash == "") {
			return Errorf(CodeConflict, "%s got a password in the meantime. Open the link again.", i.Email)
		}
		return tx.AddAudit(i.WorkspaceID, NewAuditEntry(at, i.Email, "agent.join", "agent", i.Email, map[string]any{"role": i.Role, "invited_by": i.By}))
	})
	return agent, err
}

// Note adds to the audit log of a workspace what was done outside of an edit.
func (a *Agents) Note(ctx context.Context, by string, w WorkspaceID, action, subject, id string, detail any) error {
	return a.update(ctx, func(tx Tx, at time.Time) error {
		return tx.AddAudit(w, NewAuditEntry(at, by, action, subject, id, detail))
	})
}

// PutSession makes or replaces a session.
func (a *Agents) PutSession(ctx context.Context, s Session) error {
	return a.store.Update(ctx, func(tx Tx) error { return tx.PutSession(s) })
}

// DropSession ends a session on every node.
func (a *Agents) DropSession(ctx context.Context, token TokenHash) error {
	return a.store.Update(ctx, func(tx Tx) error { return tx.DropSession(token) })
}

// Forget deletes sessions and invitations that have expired, a bounded number.
func (a *Agents) Forget(ctx context.Context) error {
	return a.update(ctx, func(tx Tx, at time.Time) error { return tx.ForgetExpired(at, 1000) })
}
