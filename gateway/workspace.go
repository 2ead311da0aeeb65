package gateway

import (
	"net/netip"
	"time"
)

// The ids of stored things. They are unique within a workspace and never
// reused; a store may well make them unique overall.
type (
	WorkspaceID int64
	ContactID   int64
	CompanyID   int64
	AttributeID int64
)

// Workspace is one customer's data and settings.
type Workspace struct {
	ID        WorkspaceID
	Name      string
	CreatedAt time.Time
	Settings  Settings
}

// Settings are what a workspace can choose. The zero value is not the
// default: see DefaultSettings.
type Settings struct {
	// Origins are the host names whose pages may post payloads: "acme.com" for
	// the host itself, "*.acme.com" for the host and everything below it.
	// Empty: every origin may.
	Origins []string `json:"origins"`
	// UnifiedIdentification lets an e-mail without a user_id find an existing
	// contact (contract, section 2).
	UnifiedIdentification bool `json:"unified_identification"`
	// VerifyIdentity refuses payloads with a user_id or an e-mail that carry no
	// valid user_hash (hex HMAC-SHA256 of the user_id, else of the e-mail,
	// under IdentitySecret).
	VerifyIdentity bool   `json:"verify_identity"`
	IdentitySecret string `json:"identity_secret,omitempty"`
	// Companies are the settings of companies.
	Companies CompanySettings `json:"companies"`
	// ExcludedAddresses are networks whose browsers are not heard, such as that of the
	// own office: POST /ingest refuses what comes from them. REST is not concerned.
	ExcludedAddresses []netip.Prefix `json:"excluded_addresses,omitempty"`
	// RetentionDays is after how many days without a visit a visitor is deleted
	// (Gateway.Sweep); 0: never.
	RetentionDays int `json:"retention_days,omitempty"`
}

// CompanySettings are what a workspace can choose for its companies.
type CompanySettings struct {
	AutoAssign AutoAssign `json:"auto_assign"`
}

// DefaultSettings are those of a new workspace.
func DefaultSettings() Settings { return Settings{UnifiedIdentification: true} }

// KeyKind tells apart the secrets that name a workspace.
type KeyKind string

// The kinds: the public key of the snippet, and the token of the REST API.
const (
	KeyWidget KeyKind = "widget"
	KeyREST   KeyKind = "rest"
)

// Scope says what a REST token may do; each includes those before it.
type Scope string

// The scopes. A token that was made before there were any is ScopeAdmin.
const (
	ScopeRead  Scope = "read"
	ScopeWrite Scope = "write"
	ScopeAdmin Scope = "admin"
)

// Includes reports whether what takes the scope other may be done with s.
func (s Scope) Includes(other Scope) bool {
	rank := map[Scope]int{ScopeRead: 1, ScopeWrite: 2, ScopeAdmin: 3}
	return rank[other] > 0 && rank[s] >= rank[other]
}

// APIKey is one such secret. A widget key is public by nature and kept as it
// is; of a REST token only the SHA-256 is kept.
type APIKey struct {
	WorkspaceID WorkspaceID
	Kind        KeyKind
	Secret      string // widget key in clear; hex SHA-256 of a REST token
	Name        string // what people call it, "" if nothing
	Scope       Scope  // of a REST token; "" for a widget key
	CreatedAt   time.Time
}
