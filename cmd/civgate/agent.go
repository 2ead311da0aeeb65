package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"civgate/config"
	"civgate/gateway"
)

type agentCommand struct {
	Add struct {
		Workspace     int64  `arg:"" help:"Id of the workspace."`
		Email         string `arg:"" help:"Their e-mail address."`
		Role          string `help:"What they may do: viewer, editor, or owner." enum:"viewer,editor,owner" default:"viewer"`
		Name          string `help:"What they are called." placeholder:"NAME"`
		PasswordStdin bool   `help:"Read their password from the first line of the input instead of making one up."`
	} `cmd:"" help:"Let somebody sign in to the panel; prints their password once, unless it was given or they have one from another workspace."`
	List struct {
		Workspace int64 `arg:"" help:"Id of the workspace."`
	} `cmd:"" help:"List the agents of a workspace, and its open invitations."`
	Role struct {
		Workspace int64  `arg:"" help:"Id of the workspace."`
		Email     string `arg:"" help:"Their e-mail address."`
		Role      string `arg:"" help:"viewer, editor, or owner." enum:"viewer,editor,owner"`
	} `cmd:"" help:"Change what an agent may do."`
	Remove struct {
		Workspace int64  `arg:"" help:"Id of the workspace."`
		Email     string `arg:"" help:"Their e-mail address."`
	} `cmd:"" help:"Remove an agent, or withdraw an invitation; they are out at once."`
	Password struct {
		Email         string `arg:"" help:"Their e-mail address."`
		PasswordStdin bool   `help:"Read the password from the first line of the input instead of making one up."`
	} `cmd:"" help:"Give an agent another password, in all workspaces; they are signed out everywhere."`
	Invite struct {
		Workspace int64  `arg:"" help:"Id of the workspace."`
		Email     string `arg:"" help:"Their e-mail address."`
		Role      string `help:"What they may do: viewer, editor, or owner." enum:"viewer,editor,owner" default:"viewer"`
	} `cmd:"" help:"Make an invitation and print its link once; it works for seven days, for one person."`
}

// byCommand is who the audit log says it was.
const byCommand = "command line"

// run carries out one of the agent commands on the stored data.
func (c *agentCommand) run(ctx context.Context, command string, cfg config.Config, in io.Reader, out io.Writer) (err error) {
	st, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	agents := gateway.NewAgents(st, time.Now)
	switch verb, _, _ := strings.Cut(strings.TrimPrefix(command, "agent "), " "); verb {
	case "add":
		return c.add(ctx, agents, st, in, out)
	case "role":
		if err := agents.SetRole(ctx, byCommand, gateway.WorkspaceID(c.Role.Workspace), c.Role.Email, gateway.Role(c.Role.Role)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "%s is %s now\n", c.Role.Email, c.Role.Role)
		return err
	case "remove":
		return c.remove(ctx, agents, out)
	case "password":
		return c.password(ctx, agents, in, out)
	case "invite":
		token, err := agents.Invite(ctx, byCommand, gateway.WorkspaceID(c.Invite.Workspace), c.Invite.Email, gateway.Role(c.Invite.Role))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s/panel/invitation/%s\n", cfg.Origin(), token)
		return err
	default:
		return c.list(ctx, st, out)
	}
}

func (c *agentCommand) add(ctx context.Context, agents *gateway.Agents, read gateway.Reader, in io.Reader, out io.Writer) error {
	a := gateway.Agent{WorkspaceID: gateway.WorkspaceID(c.Add.Workspace), Email: c.Add.Email, Name: c.Add.Name, Role: gateway.Role(c.Add.Role)}
	_, email, ok := gateway.NormalizeEmail(a.Email)
	if !ok {
		return fmt.Errorf("%q is not an e-mail address", a.Email)
	}
	known, err := read.AgentsByEmail(ctx, email)
	if err != nil {
		return err
	}
	password, made := "", false
	if len(known) == 0 {
		if password, made, err = choosePassword(email, c.Add.PasswordStdin, in); err != nil {
			return err
		}
		a.PasswordHash = gateway.HashPassword(password)
	} else if c.Add.PasswordStdin {
		return usagef("%s has a password already, from another workspace: civgate agent password changes it", email)
	}
	if _, err := agents.Add(ctx, byCommand, a); err != nil {
		return err
	}
	fmt.Fprintf(out, "agent    %s\nrole     %s\n", email, a.Role)
	switch {
	case made:
		fmt.Fprintf(out, "password %s\n", password)
	case len(known) > 0:
		fmt.Fprintln(out, "password the one that they have")
	}
	return nil
}

// choosePassword reads a password, or makes one up.
func choosePassword(email string, stdin bool, in io.Reader) (password string, made bool, err error) {
	if !stdin {
		return rand.Text(), true, nil
	}
	line, err := bufio.NewReader(io.LimitReader(in, 4<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", false, fmt.Errorf("read the password: %w", err)
	}
	password = strings.TrimRight(line, "\r\n")
	return password, false, gateway.PasswordProblem(email, password)
}

func (c *agentCommand) remove(ctx context.Context, agents *gateway.Agents, out io.Writer) error {
	w := gateway.WorkspaceID(c.Remove.Workspace)
	err := agents.Remove(ctx, byCommand, w, c.Remove.Email)
	if !gateway.IsNotFound(err) {
		if err == nil {
			_, err = fmt.Fprintf(out, "removed %s\n", c.Remove.Email)
		}
		return err
	}
	if revoked := agents.Revoke(ctx, byCommand, w, c.Remove.Email); gateway.IsNotFound(revoked) {
		return err
	} else if revoked != nil {
		return revoked
	}
	_, err = fmt.Fprintf(out, "withdrew the invitation of %s\n", c.Remove.Email)
	return err
}

func (c *agentCommand) password(ctx context.Context, agents *gateway.Agents, in io.Reader, out io.Writer) error {
	password, made, err := choosePassword(c.Password.Email, c.Password.PasswordStdin, in)
	if err != nil {
		return err
	}
	if err := agents.SetPassword(ctx, byCommand, c.Password.Email, gateway.HashPassword(password)); err != nil {
		return err
	}
	if made {
		_, err = fmt.Fprintf(out, "password %s\n", password)
	} else {
		_, err = fmt.Fprintf(out, "%s has another password now\n", c.Password.Email)
	}
	return err
}

func (c *agentCommand) list(ctx context.Context, read gateway.Reader, out io.Writer) error {
	id := gateway.WorkspaceID(c.List.Workspace)
	all, err := read.Workspaces(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(w gateway.Workspace) bool { return w.ID == id }) {
		return fmt.Errorf("there is no workspace %d", id)
	}
	agents, err := read.Agents(ctx, id)
	if err != nil {
		return err
	}
	open, err := read.Invitations(ctx, id)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "E-MAIL\tROLE\tSINCE\tNAME")
	for _, a := range agents {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", a.Email, a.Role, a.CreatedAt.UTC().Format(time.DateTime), a.Name)
	}
	for _, i := range open {
		if i.ExpiresAt.After(time.Now()) {
			fmt.Fprintf(w, "%s\t%s\tinvited until %s\t\n", i.Email, i.Role, i.ExpiresAt.UTC().Format(time.DateTime))
		}
	}
	return w.Flush()
}
