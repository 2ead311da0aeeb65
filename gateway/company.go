package gateway

import "time"

// Company is an organisation.
type Company struct {
	ID          CompanyID
	WorkspaceID WorkspaceID
	CustomID    string // company_id on the wire, unique in the workspace; "" if none
	Name        string
	Attributes  Attributes
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Source says by which door a membership came.
type Source string

// The sources. Widget and domain never end what another made.
const (
	SourceWidget Source = "widget"
	SourceManual Source = "manual"
	SourceImport Source = "import"
	SourceDomain Source = "domain"
	SourceAPI    Source = "api"
)

// Membership is the link of a contact to a company, shown as "employee".
// At most one membership of a pair is current; ended ones are kept.
type Membership struct {
	WorkspaceID WorkspaceID
	ContactID   ContactID
	CompanyID   CompanyID
	Source      Source
	Primary     bool
	Since       time.Time
	Until       time.Time // zero while it holds
	By          string    // the agent, import or token behind it, if any
}

// Current reports whether the link holds now.
func (m *Membership) Current() bool { return m.Until.IsZero() }
