package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"civgate/config"
	"civgate/gateway"
	"civgate/gateway/store"
)

type workspaceCommand struct {
	List   struct{} `cmd:"" help:"List the workspaces with their apiKeys."`
	Create struct {
		Name string `arg:"" help:"Name of the workspace."`
	} `cmd:"" help:"Make a workspace; prints its apiKey and its REST token once."`
	Set struct {
		ID                    int64   `arg:"" help:"Id of the workspace."`
		Origins               *string `help:"Host names whose pages may send, with commas; *.acme.com takes all below it; empty: all." placeholder:"HOSTS"`
		UnifiedIdentification *bool   `help:"Whether an e-mail without a user_id finds an existing contact." negatable:""`
		VerifyIdentity        *bool   `help:"Whether payloads with a user_id or e-mail need a valid user_hash." negatable:""`
	} `cmd:"" help:"Change the settings of a workspace."`
}

// run carries out one of the workspace commands on the stored data.
func (c *workspaceCommand) run(ctx context.Context, command string, cfg config.Config, out io.Writer) (err error) {
	st, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	switch verb, _, _ := strings.Cut(strings.TrimPrefix(command, "workspace "), " "); verb {
	case "create":
		w, err := createWorkspace(ctx, st, c.Create.Name, "", "")
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "workspace %d\napiKey     %s\nREST token %s\n", w.id, w.apiKey, w.token)
		return nil
	case "set":
		return c.set(ctx, st, out)
	default:
		return listWorkspaces(ctx, st, out)
	}
}

func (c *workspaceCommand) set(ctx context.Context, st *store.Store, out io.Writer) error {
	if c.Set.Origins == nil && c.Set.UnifiedIdentification == nil && c.Set.VerifyIdentity == nil {
		return usagef("nothing to set: name a setting, such as --origins (see workspace set --help)")
	}
	var origins []string
	if c.Set.Origins != nil {
		var err error
		if origins, err = parseOrigins(*c.Set.Origins); err != nil {
			return err
		}
	}
	all, err := st.Workspaces(ctx)
	if err != nil {
		return err
	}
	for _, w := range all {
		if int64(w.ID) != c.Set.ID {
			continue
		}
		if c.Set.Origins != nil {
			w.Settings.Origins = origins
		}
		if c.Set.UnifiedIdentification != nil {
			w.Settings.UnifiedIdentification = *c.Set.UnifiedIdentification
		}
		if c.Set.VerifyIdentity != nil {
			w.Settings.VerifyIdentity = *c.Set.VerifyIdentity
			if w.Settings.VerifyIdentity && w.Settings.IdentitySecret == "" {
				w.Settings.IdentitySecret = gateway.NewSecret()
				fmt.Fprintf(out, "identity secret %s\nuser_hash is the hex HMAC-SHA256 of user_id (else of email) under it, made on your server.\n", w.Settings.IdentitySecret)
			}
		}
		if err := st.UpdateSettings(ctx, w.ID, w.Settings); err != nil {
			return err
		}
		note := map[string]any{"settings": settingsLine(w.Settings)} // which holds no secret
		if err := gateway.NewAgents(st, time.Now).Note(ctx, byCommand, w.ID, "workspace.settings", "workspace", strconv.FormatInt(int64(w.ID), 10), note); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "workspace %d: %s\n", w.ID, settingsLine(w.Settings))
		return err
	}
	return fmt.Errorf("there is no workspace %d", c.Set.ID)
}

// parseOrigins reads host names with commas between them; none is all.
func parseOrigins(text string) (origins []string, err error) {
	origins, err = gateway.CleanOrigins("origins", strings.Split(text, ","))
	var e *gateway.Error
	if errors.As(err, &e) {
		return nil, usagef("--origins: %s", strings.TrimSuffix(e.Message, "."))
	}
	return origins, err
}

func listWorkspaces(ctx context.Context, st *store.Store, out io.Writer) error {
	all, err := st.Workspaces(ctx)
	if err != nil {
		return err
	}
	for _, w := range all {
		keys, err := st.APIKeys(ctx, w.ID)
		if err != nil {
			return err
		}
		var widget []string
		for _, k := range keys {
			if k.Kind == gateway.KeyWidget {
				widget = append(widget, k.Secret)
			}
		}
		fmt.Fprintf(out, "%d\t%s\t%s\t%s\n", w.ID, strings.Join(widget, ","), w.Name, settingsLine(w.Settings))
	}
	return nil
}

// settingsLine tells what a workspace's settings are, as flags of workspace set.
func settingsLine(s gateway.Settings) string {
	flag := func(name string, on bool) string {
		if on {
			return "--" + name
		}
		return "--no-" + name
	}
	return strings.Join([]string{
		"--origins=" + strings.Join(s.Origins, ","),
		flag("unified-identification", s.UnifiedIdentification),
		flag("verify-identity", s.VerifyIdentity),
	}, " ")
}

// newWorkspace is a workspace just made, with its secrets in clear.
type newWorkspace struct {
	id            gateway.WorkspaceID
	apiKey, token string
	fresh         bool // it was made by this start
}

// createWorkspace makes a workspace; secrets that are "" are made up.
func createWorkspace(ctx context.Context, st gateway.Store, name, apiKey, token string) (newWorkspace, error) {
	made := newWorkspace{apiKey: apiKey, token: token}
	if made.token == "" {
		made.token = gateway.NewSecret()
	}
	for try := 0; ; try++ {
		if apiKey == "" {
			made.apiKey = newAPIKey()
		}
		id, err := st.CreateWorkspace(ctx,
			gateway.Workspace{Name: name, CreatedAt: time.Now().UTC(), Settings: gateway.DefaultSettings()},
			gateway.APIKey{Kind: gateway.KeyWidget, Secret: made.apiKey, CreatedAt: time.Now().UTC()},
			restKey(made.token))
		if gateway.CodeOf(err) == gateway.CodeConflict && apiKey == "" && try < 10 {
			continue // six characters may be taken
		}
		made.id = id
		return made, err
	}
}

// newAPIKey returns six letters and digits (contract, section 1.1).
func newAPIKey() string { return rand.Text()[:6] }

// restKey is how a REST token of 64 characters (contract, section 1.1) is kept.
func restKey(token string) gateway.APIKey {
	sum := sha256.Sum256([]byte(token))
	return gateway.APIKey{Kind: gateway.KeyREST, Secret: hex.EncodeToString(sum[:]), CreatedAt: time.Now().UTC()}
}

// firstWorkspace is the workspace that the settings speak of and the newcomer
// starts with: made when there is none yet. The token is "" unless it was made
// or given.
func firstWorkspace(ctx context.Context, st gateway.Store, cfg config.Config) (newWorkspace, error) {
	all, err := st.Workspaces(ctx)
	if err != nil {
		return newWorkspace{}, fmt.Errorf("list workspaces: %w", err)
	}
	if len(all) == 0 {
		w, err := createWorkspace(ctx, st, "My workspace", cfg.APIKey, cfg.RESTToken)
		if err != nil {
			return w, fmt.Errorf("make the first workspace: %w", err)
		}
		w.fresh = true
		return w, firstOwner(ctx, st, w.id, cfg)
	}
	if err := firstOwner(ctx, st, all[0].ID, cfg); err != nil {
		return newWorkspace{}, err
	}
	w := newWorkspace{id: all[0].ID, apiKey: cfg.APIKey, token: cfg.RESTToken}
	keys, err := st.APIKeys(ctx, w.id)
	if err != nil {
		return w, fmt.Errorf("list keys: %w", err)
	}
	has := func(k gateway.APIKey) bool {
		for _, h := range keys {
			if h.Kind == k.Kind && h.Secret == k.Secret {
				return true
			}
		}
		return false
	}
	// Keys that the settings name and the data doesn't know yet are added, so
	// that a script's settings hold on old data too.
	for _, k := range []struct {
		name, given string
		key         gateway.APIKey
	}{
		{"api_key", cfg.APIKey, gateway.APIKey{Kind: gateway.KeyWidget, Secret: cfg.APIKey, CreatedAt: time.Now().UTC()}},
		{"rest_token", cfg.RESTToken, restKey(cfg.RESTToken)},
	} {
		if k.given == "" || has(k.key) {
			continue
		}
		if err := st.AddAPIKey(ctx, w.id, k.key); err != nil {
			return w, fmt.Errorf("%s: %w", k.name, err)
		}
	}
	for _, k := range keys {
		if w.apiKey == "" && k.Kind == gateway.KeyWidget {
			w.apiKey = k.Secret
		}
	}
	return w, nil
}

// firstOwner makes the agent that the settings name, unless there is one with
// the e-mail: then the agent stays as it is, password included.
func firstOwner(ctx context.Context, st gateway.Store, w gateway.WorkspaceID, cfg config.Config) error {
	if cfg.AdminEmail == "" {
		return nil
	}
	_, email, ok := gateway.NormalizeEmail(cfg.AdminEmail)
	if !ok {
		return fmt.Errorf("admin_email: %q is not an e-mail address", cfg.AdminEmail)
	}
	agents, err := st.Agents(ctx, w)
	if err != nil {
		return fmt.Errorf("list agents: %w", err)
	}
	if slices.ContainsFunc(agents, func(a gateway.Agent) bool { return a.Email == email }) {
		return nil
	}
	a := gateway.Agent{WorkspaceID: w, Email: email, PasswordHash: gateway.HashPassword(cfg.AdminPassword), Role: gateway.RoleOwner}
	if _, err := gateway.NewAgents(st, time.Now).Add(ctx, "settings", a); err != nil {
		return fmt.Errorf("make the first owner: %w", err)
	}
	return nil
}

// plural counts things: 1 payload, 2 payloads.
func plural(n int64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.FormatInt(n, 10) + " " + word + "s"
}
