package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"civgate/config"
	"civgate/gateway"
	"civgate/gateway/store"
)

type tokenCommand struct {
	Create struct {
		Workspace int64  `arg:"" help:"Id of the workspace."`
		Scope     string `help:"What it may do: read, write, or admin." enum:"read,write,admin" default:"write"`
		Name      string `help:"What you call it, such as the program that will have it." placeholder:"NAME"`
	} `cmd:"" help:"Make a REST token and print it once."`
	List struct {
		Workspace int64 `arg:"" help:"Id of the workspace."`
	} `cmd:"" help:"List the REST tokens of a workspace: what they are called and may do, not what they are."`
	Revoke struct {
		Workspace int64  `arg:"" help:"Id of the workspace."`
		Token     string `arg:"" help:"The token's id, as list shows it, or the token itself."`
	} `cmd:"" help:"Revoke a REST token; every node refuses it within a second."`
}

// run carries out one of the token commands on the stored data.
func (c *tokenCommand) run(ctx context.Context, command string, cfg config.Config, out io.Writer) (err error) {
	st, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	switch verb, _, _ := strings.Cut(strings.TrimPrefix(command, "token "), " "); verb {
	case "create":
		token := gateway.NewSecret()
		key := restKey(token)
		key.Name, key.Scope = strings.TrimSpace(c.Create.Name), gateway.Scope(c.Create.Scope)
		if err := st.AddAPIKey(ctx, gateway.WorkspaceID(c.Create.Workspace), key); err != nil {
			return err
		}
		note := map[string]any{"kind": key.Kind, "scope": key.Scope, "name": key.Name}
		if err := gateway.NewAgents(st, time.Now).Note(ctx, byCommand, gateway.WorkspaceID(c.Create.Workspace), "key.add", "key", tokenID(key), note); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "REST token %s\nid         %s\nscope      %s\n", token, tokenID(key), key.Scope)
		return err
	case "revoke":
		return c.revoke(ctx, st, out)
	default:
		return c.list(ctx, st, out)
	}
}

// tokenID is how people name a token without knowing it: the start of its hash.
func tokenID(k gateway.APIKey) string { return k.Secret[:min(12, len(k.Secret))] }

// tokens of a workspace; an error if there is no such workspace.
func (c *tokenCommand) tokens(ctx context.Context, st *store.Store, id int64) ([]gateway.APIKey, error) {
	all, err := st.Workspaces(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		if int64(w.ID) != id {
			continue
		}
		keys, err := st.APIKeys(ctx, w.ID)
		if err != nil {
			return nil, err
		}
		var tokens []gateway.APIKey
		for _, k := range keys {
			if k.Kind == gateway.KeyREST {
				tokens = append(tokens, k)
			}
		}
		return tokens, nil
	}
	return nil, fmt.Errorf("there is no workspace %d", id)
}

func (c *tokenCommand) list(ctx context.Context, st *store.Store, out io.Writer) error {
	tokens, err := c.tokens(ctx, st, c.List.Workspace)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSCOPE\tMADE\tNAME")
	for _, k := range tokens {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", tokenID(k), k.Scope, k.CreatedAt.UTC().Format(time.DateTime), k.Name)
	}
	return w.Flush()
}

func (c *tokenCommand) revoke(ctx context.Context, st *store.Store, out io.Writer) error {
	tokens, err := c.tokens(ctx, st, c.Revoke.Workspace)
	if err != nil {
		return err
	}
	var found []gateway.APIKey
	for _, k := range tokens {
		if tokenID(k) == c.Revoke.Token || k.Secret == c.Revoke.Token || k.Secret == restKey(c.Revoke.Token).Secret {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 0:
		return fmt.Errorf("workspace %d has no such token (civgate token list %d shows them)", c.Revoke.Workspace, c.Revoke.Workspace)
	case 1:
	default:
		return fmt.Errorf("%d tokens of workspace %d have this id: give the token itself", len(found), c.Revoke.Workspace)
	}
	if err := st.DeleteAPIKey(ctx, gateway.WorkspaceID(c.Revoke.Workspace), gateway.KeyREST, found[0].Secret); err != nil {
		return err
	}
	note := map[string]any{"kind": found[0].Kind, "scope": found[0].Scope, "name": found[0].Name}
	if err := gateway.NewAgents(st, time.Now).Note(ctx, byCommand, gateway.WorkspaceID(c.Revoke.Workspace), "key.revoke", "key", tokenID(found[0]), note); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "revoked %s %s\n", tokenID(found[0]), found[0].Name)
	return err
}
