package gateway

import (
	"context"
	"time"
)

// Entry is one accepted payload in the inbox.
type Entry struct {
	// Seq is the entry's place in its inbox or shard, above 0 and rising; there may
	// be gaps. Append sets it.
	Seq         int64
	At          time.Time // when it was accepted
	WorkspaceID WorkspaceID
	IP          string // masked
	Body        []byte // the payload's JSON text
	// Payload is the parsed body when it is at hand; nil after it was read back
	// from disk.
	Payload *Payload
	// Warnings are what was said of the payload when it was accepted; nil if that is
	// not at hand, as after it was read back.
	Warnings []Warning
}

// setWarnings says that the warnings are known.
func (e *Entry) setWarnings(warnings []Warning) {
	if e.Warnings = warnings; warnings == nil {
		e.Warnings = []Warning{}
	}
}

// Intake takes accepted payloads in, durably. Its methods may be called from
// several goroutines.
type Intake interface {
	// Append returns nil when all entries are durable, in the order given as far
	// as they belong to one browser or person. After an error the next call tries
	// afresh; what was stored all the same may be handed out, and its message id
	// keeps a repeat without effect. It refuses with CodeUnavailable while more waits than may. The
	// entries belong to the intake afterwards.
	Append(ctx context.Context, entries ...*Entry) error
	// Pending is how many entries are durable and not applied.
	Pending() int64
	// Check returns nil if Append would take an entry now, as far as can be told
	// without one.
	Check(ctx context.Context) error
}

// Inbox keeps accepted payloads, durable and in order, until they are applied:
// all of them, or those of one shard. All methods may be called from several
// goroutines, but one at a time reads.
type Inbox interface {
	Intake
	// Next waits until there is an entry behind the last one it returned and
	// returns up to limit of them, in order. It returns ctx.Err() when ctx ends
	// first.
	Next(ctx context.Context, limit int) ([]*Entry, error)
	// Applied tells that all entries up to seq are applied for good: they no
	// longer count as pending and may be deleted.
	Applied(seq int64)
	// Close stops the inbox's goroutines. What is durable stays.
	Close() error
}

// Store keeps the truth: what the inbox's payloads, the REST API and the panel
// made of it. Every method is one transaction. Errors are *Error with
// CodeNotFound, CodeConflict or CodeUnavailable where these fit.
type Store interface {
	Reader

	// CreateWorkspace makes a workspace with its keys and returns its id.
	// A key that exists already is a CodeConflict.
	CreateWorkspace(ctx context.Context, w Workspace, keys ...APIKey) (WorkspaceID, error)
	// AddAPIKey gives a workspace another key. A key that exists already, in any
	// workspace, is a CodeConflict.
	AddAPIKey(ctx context.Context, w WorkspaceID, k APIKey) error
	// DeleteAPIKey revokes a key of a workspace, CodeNotFound if it has none such.
	DeleteAPIKey(ctx context.Context, w WorkspaceID, kind KeyKind, secret string) error
	// AddAgent gives a workspace another agent. One with the same e-mail is a
	// CodeConflict.
	AddAgent(ctx context.Context, a Agent) error
	// UpdateSettings replaces the settings of a workspace.
	UpdateSettings(ctx context.Context, id WorkspaceID, s Settings) error

	// Update runs fn in one write transaction and commits it durably when fn
	// returns nil. A store on which writers can collide runs fn again from the
	// start after a collision, so fn must build all that it does from what tx
	// tells it. No two fns run at once where the store has a single writer.
	Update(ctx context.Context, fn func(tx Tx) error) error
	// DropQuarantined deletes an entry that was set aside, CodeNotFound if there is
	// none with the id.
	DropQuarantined(ctx context.Context, w WorkspaceID, id int64) error
	// ForgetMessages deletes message ids claimed before the given time, at most
	// limit rows looked at, from where the last call stopped; it returns how many
	// it deleted.
	ForgetMessages(ctx context.Context, before time.Time, limit int) (int, error)
	// InboxPosition is the Seq up to which the node's inbox is applied, 0 if it
	// never was.
	InboxPosition(ctx context.Context, node string) (int64, error)
	// Ping says whether the store can be read.
	Ping(ctx context.Context) error
	Close() error
}

// Tx is a write transaction of a Store. Whoever uses several workspaces in one
// must take them by rising id: where writers can meet, the first use of a
// workspace locks it against other transactions.
type Tx interface {
	AgentTx
	ListTx
	SegmentTx
	SettingsTx

	// InboxPosition is the Seq up to which the node's inbox is applied, 0 if it
	// never was. It is what stays true until the transaction ends.
	InboxPosition(node string) (int64, error)
	// ClaimMessages records the ids of messages (none zero, no two equal) as
	// taken at the given time and returns those that had been recorded before.
	ClaimMessages(w WorkspaceID, ids []MessageID, at time.Time) (repeats map[MessageID]bool, err error)
	// Confirm replaces each ids[i] that is not zero by what refs[i] names now,
	// zero if that is nobody. Where no other process writes to the store, the
	// caller knows as well as the store, and ids stay as they are.
	Confirm(w WorkspaceID, refs []Ref, ids []Identity) error
	// Load finds what refs names.
	Load(w WorkspaceID, refs Refs) (*Loaded, error)
	// ContactKeys returns all visitor keys of a contact, oldest first.
	ContactKeys(w WorkspaceID, id ContactID) ([]VisitorKey, error)
	// AddEvent records one event and returns its id, and whether it is the first of
	// its kind and name in the workspace, by whatever door those came.
	AddEvent(w WorkspaceID, e Event) (id int64, first bool, err error)
	// AddTag returns the id of the tag with the name (IsTagName), and whether it was
	// made at the given time because there was none.
	AddTag(w WorkspaceID, name string, at time.Time) (id TagID, created bool, err error)
	// Tag finds a tag by its id.
	Tag(w WorkspaceID, id TagID) (Tag, error)
	// Untag forgets up to limit of the contacts, or companies, that have the tag and
	// returns their ids, merged ones too. Their bags are left to the caller.
	Untag(w WorkspaceID, id TagID, entity Entity, limit int) (subjects []int64, err error)
	// DeleteTag deletes a tag that nobody has any more (Untag).
	DeleteTag(w WorkspaceID, id TagID) error
	// KeptAnswer returns what is kept under the key, nil if that is nothing. No other
	// transaction keeps anything under it until this one ends.
	KeptAnswer(w WorkspaceID, key string) (*KeptAnswer, error)
	// KeepAnswer keeps an answer, instead of an older one of the same key, and forgets
	// some of those that were kept before forget.
	KeepAnswer(w WorkspaceID, a KeptAnswer, forget time.Time) error
	// KeepBody sets the body of a kept answer; if there is none, nothing.
	KeepBody(w WorkspaceID, key, body string) error
	// Merge returns an entry of the journal, CodeNotFound if there is none with the id.
	// Nobody else changes it until the transaction ends.
	Merge(w WorkspaceID, id int64) (*Merge, error)
	// SetMergeUndone notes in the journal that a merge was undone.
	SetMergeUndone(w WorkspaceID, id int64, at time.Time, by string) error
	// MoveHistory makes page views and events of one contact those of another, as far as
	// one of the visitor keys brought them and they happened at since or later.
	MoveHistory(w WorkspaceID, from, to ContactID, keys []string, since time.Time) error
	// AddInspections adds to what the inspector shows of the workspace, in this order,
	// gives each the next id, and keeps the newest of all. Of a contact that is not
	// there (any more) it keeps only that there was one (InspectionDetail.Deleted).
	AddInspections(w WorkspaceID, all []*Inspection, keep int) error
	// DropEndedMemberships deletes ended memberships: of the pair of each with its
	// Since the one that ended last. What is not there is left out.
	DropEndedMemberships(w WorkspaceID, all []Membership) error
	// ContactEmails returns contacts that are not merged away, by rising id from behind
	// after, with all that the run of auto-assign has to know of them.
	ContactEmails(w WorkspaceID, after ContactID, limit int) ([]ContactEmail, error)
	// Workspace returns the workspace as it is. Nobody else changes it until the
	// transaction ends.
	Workspace(id WorkspaceID) (*Workspace, error)
	// SetWorkspace changes the name and the settings of a workspace.
	SetWorkspace(id WorkspaceID, name string, s Settings) error
	// AddJob adds a job and returns its id, CodeConflict while there is an unfinished
	// one of its kind. Of finished ones the last few are kept.
	AddJob(j Job) (JobID, error)
	// Job returns a job, CodeNotFound if there is none. Nobody else changes it until
	// the transaction ends.
	Job(w WorkspaceID, id JobID) (*Job, error)
	// SetJob replaces a job.
	SetJob(j Job) error
	// NextIDs sets aside n ids of the kind and returns the first.
	NextIDs(kind IDKind, n int) (int64, error)
	// DropAttribute deletes a definition, CodeNotFound if it is not there, and its
	// values from all that have them, contacts that were merged included. Their
	// fingerprints become 0. It reads all of the workspace's contacts, companies or
	// records, and writes to those that have a value, in portions.
	DropAttribute(w WorkspaceID, d AttributeDef) error
	// IndexNames puts the words of the names of up to limit contacts into the index by which
	// Reader.FindNames finds them, those of changed names first, and reports whether there
	// are more.
	IndexNames(w WorkspaceID, limit int) (more bool, err error)
	// Save writes the changes of one workspace.
	Save(w WorkspaceID, c *Changes) error
	// SetInboxPosition records that the node's inbox is applied up to seq.
	SetInboxPosition(node string, seq int64) error
}

// IDKind says what an id is for.
type IDKind string

// The kinds of ids that a transaction hands out.
const (
	IDContact   IDKind = "contact"
	IDCompany   IDKind = "company"
	IDAttribute IDKind = "attribute"
	IDList      IDKind = "list"
	IDSegment   IDKind = "segment"
	IDRecord    IDKind = "record"
)

// Refs names stored things by what a payload knows of them. Duplicates are
// allowed.
type Refs struct {
	Keys      []string    // visitor keys
	CustomIDs []string    // of contacts
	EmailKeys []string    // of contacts; all contacts with the e-mail are found
	Contacts  []ContactID // by id, merged ones too
	// Companies by custom id, by id, and those without a custom id by name.
	CompanyCustomIDs []string
	CompanyIDs       []CompanyID
	CompanyNames     []string
	// Records by id, or by what names them.
	RecordIDs  []RecordID
	RecordKeys []RecordKey
	// CompanyDomains are domains by which companies are found (CompanyDomains).
	CompanyDomains []string
	// Defs asks for all attribute definitions of the workspace.
	Defs bool
}

// Loaded is what Load found. Contacts that are only reached through a key are
// there as well.
type Loaded struct {
	Keys      map[string]ContactID
	Contacts  []*Contact
	Companies []*Company
	// Memberships holds the current memberships of Contacts.
	Memberships []Membership
	// CompanyDomains are the best companies of each domain that was asked for, with the
	// company in Companies: those that list it first, then by id; a few of each.
	CompanyDomains []CompanyDomain
	Records        []*Record
	Defs           []AttributeDef
	// Dropped is how many attributes have been dropped in the workspace so far:
	// definitions that were read when there were fewer are not all there any more.
	Dropped int64
}

// Changes is the difference that a batch makes to one workspace. All ids are
// set (NextIDs). Slices are in the order in which things came to be; a store
// may sort them.
type Changes struct {
	NewDefs      []AttributeDef
	NewCompanies []*Company
	Companies    []*Company // changed
	NewRecords   []*Record
	Records      []*Record // changed
	// FreedRecords are those among Records whose custom id was another, which may be
	// what one of the others has now.
	FreedRecords []RecordID
	NewContacts  []*Contact
	Contacts     []*Contact // changed, or merged
	NewKeys      []VisitorKey
	MovedKeys    []VisitorKey // the same keys, of other contacts; CreatedAt stays
	// NewMemberships are current, or carry the Until at which they ended within
	// the batch; EndedMemberships were current before and carry theirs;
	// ChangedMemberships are current and differ in Primary only.
	NewMemberships     []Membership
	EndedMemberships   []Membership
	ChangedMemberships []Membership
	PageViews          []PageView
	Events             []Event
	Merges             []Merge
	// Tagged holds a tag of a contact or company once at most. Tags that there are
	// not yet are made; who has the tag already gains nothing, who has not loses
	// nothing.
	Tagged []TagChange
	// CompanyDomains are what stored companies are found by from now on, and new ones
	// too (CompanyDomains). DomainsGone are the stored companies that are found by
	// nothing else than that.
	CompanyDomains []CompanyDomain
	DomainsGone    []CompanyID
	// DeletedContacts go with all that is theirs: keys, identifiers, memberships,
	// tags, places in lists, history, journal, and the contacts that were merged into them. DeletedCompanies
	// go with their memberships, ended ones too. Nothing else here names any of them,
	// but what was theirs alone may be others' here: MovedKeys leave them first, then
	// they go, and then their custom ids are free for what else is written.
	DeletedContacts  []ContactID
	DeletedCompanies []CompanyID
	// DeletedRecords go by themselves: what happened to a product stays with the
	// contacts.
	DeletedRecords []RecordID
	// Visits counts page views that belong to nobody: no key, no identifier.
	Visits int64
	// VisitsAt is the day under which Visits are counted.
	VisitsAt time.Time
	// Quarantine holds entries that could not be applied and must not stop the
	// others.
	Quarantine []Quarantined
}

// Quarantined is an accepted entry that could not be applied, kept to be
// looked at and replayed.
type Quarantined struct {
	ID     int64 // the store's
	At     time.Time
	Body   []byte
	Reason string
}

// Reader is the read side of a Store. A contact id that was merged away finds
// the survivor.
type Reader interface {
	AgentReader
	ListReader
	SegmentReader
	SettingsReader

	// View calls fn with a context under which all reads of this Reader see one state of
	// the data, which costs less than each by itself. They are for one goroutine, and fn
	// must not wait for anything else meanwhile.
	View(ctx context.Context, fn func(ctx context.Context) error) error

	// WorkspaceByKey finds the workspace that a secret names (see APIKey).
	WorkspaceByKey(ctx context.Context, kind KeyKind, secret string) (*Workspace, error)
	Workspaces(ctx context.Context) ([]Workspace, error)
	// APIKey finds a key by its secret, CodeNotFound if there is none.
	APIKey(ctx context.Context, kind KeyKind, secret string) (APIKey, error)
	APIKeys(ctx context.Context, w WorkspaceID) ([]APIKey, error)
	AttributeDefs(ctx context.Context, w WorkspaceID) ([]AttributeDef, error)
	// DroppedAttributes is how many attributes have been dropped in the workspace.
	DroppedAttributes(ctx context.Context, w WorkspaceID) (int64, error)

	Contact(ctx context.Context, w WorkspaceID, id ContactID) (*ContactView, error)
	ContactByCustomID(ctx context.Context, w WorkspaceID, customID string) (*ContactView, error)
	ContactByKey(ctx context.Context, w WorkspaceID, key string) (*ContactView, error)
	// ContactsByEmail returns the contacts with the e-mail key, those with a
	// custom id first, then by id.
	ContactsByEmail(ctx context.Context, w WorkspaceID, emailKey string, limit int) ([]*ContactView, error)
	// ContactsByPhone returns the contacts with just this phone number, by id.
	ContactsByPhone(ctx context.Context, w WorkspaceID, phone string, limit int) ([]*ContactView, error)
	// Contacts lists contacts that are not merged away, newest first; before is
	// the id behind which the page starts (0: from the start).
	Contacts(ctx context.Context, w WorkspaceID, before ContactID, limit int) ([]*ContactView, error)
	// FindContacts is Contacts for those that a query finds. It searches in the
	// order of the list, so a query that few contacts meet reads many; ctx bounds it.
	FindContacts(ctx context.Context, w WorkspaceID, q Query) ([]*ContactView, error)
	// SearchContacts is FindContacts for somebody who waits for it: it stops looking
	// when patience is over, which it may exceed by about a quarter. down is the id down to which it has
	// looked then: there may be more before it. Else it is 0.
	SearchContacts(ctx context.Context, w WorkspaceID, q Query, patience time.Duration) (found []*ContactView, down ContactID, err error)
	// ContactsAmong returns those of the contacts that meet all conditions, each once, in the
	// order of ids. What was merged away is not among them.
	ContactsAmong(ctx context.Context, w WorkspaceID, ids []ContactID, where []Condition) ([]*ContactView, error)
	CountContacts(ctx context.Context, w WorkspaceID) (int64, error)
	// CountFound is how many contacts or companies a query finds, up to a limit, at which
	// it stops; CodeTooLarge if patience is over before. It searches as SearchContacts does.
	CountFound(ctx context.Context, w WorkspaceID, entity Entity, where []Condition, limit int, patience time.Duration) (int, error)
	// ContactsInOrder lists contacts in an order that an index gives (HasOrder),
	// CodeInvalid for another. How much it looks at in one call is bounded: see SortEnd.
	ContactsInOrder(ctx context.Context, w WorkspaceID, q SortQuery) (*ContactPage, error)
	// SortContacts lists contacts in any order, CodeTooLarge if the query finds more
	// than MaxSorted, or patience is over before all have been looked at, as SearchContacts
	// does.
	SortContacts(ctx context.Context, w WorkspaceID, q SortQuery, patience time.Duration) (*ContactPage, error)
	// VisitorKeys of a contact, newest first.
	VisitorKeys(ctx context.Context, w WorkspaceID, id ContactID, limit int) ([]VisitorKey, error)
	// PageViews and Events of a contact and of those merged into it, newest first.
	// Each names the contact that it was written with.
	PageViews(ctx context.Context, w WorkspaceID, id ContactID, q HistoryQuery) ([]PageView, error)
	Events(ctx context.Context, w WorkspaceID, id ContactID, q HistoryQuery) ([]Event, error)
	// Merges in which a contact, or one merged into it, took part, newest first.
	Merges(ctx context.Context, w WorkspaceID, id ContactID, q HistoryQuery) ([]Merge, error)
	// Event finds an event by its id.
	Event(ctx context.Context, w WorkspaceID, id int64) (Event, error)
	// WorkspaceEvents lists the events of all contacts, the last one to be stored
	// first; before is the id behind which the page starts (0: from the start).
	WorkspaceEvents(ctx context.Context, w WorkspaceID, before int64, limit int) ([]Event, error)

	Company(ctx context.Context, w WorkspaceID, id CompanyID) (*CompanyView, error)
	CompanyByCustomID(ctx context.Context, w WorkspaceID, customID string) (*CompanyView, error)
	Companies(ctx context.Context, w WorkspaceID, before CompanyID, limit int) ([]*CompanyView, error)
	// FindCompanies is Companies for those that a query finds, as FindContacts.
	FindCompanies(ctx context.Context, w WorkspaceID, q Query) ([]*CompanyView, error)
	// SearchCompanies is FindCompanies as SearchContacts is FindContacts.
	SearchCompanies(ctx context.Context, w WorkspaceID, q Query, patience time.Duration) (found []*CompanyView, down CompanyID, err error)
	CountCompanies(ctx context.Context, w WorkspaceID) (int64, error)
	// CompaniesInOrder and SortCompanies are to companies what ContactsInOrder and
	// SortContacts are to contacts.
	CompaniesInOrder(ctx context.Context, w WorkspaceID, q SortQuery) (*CompanyPage, error)
	SortCompanies(ctx context.Context, w WorkspaceID, q SortQuery, patience time.Duration) (*CompanyPage, error)
	// LastActive is when the people of companies were last active: the MaxLastActive
	// employees of each who came last. Companies without employees are not in it.
	LastActive(ctx context.Context, w WorkspaceID, companies []CompanyID) (map[CompanyID]LastActive, error)
	// Members lists the memberships of a company, the newest Since first, then the
	// highest contact id; the current ones, or those that have ended.
	Members(ctx context.Context, w WorkspaceID, id CompanyID, q MemberQuery) ([]MemberView, error)
	// Account is what the people of a company did, newest first. How much it looks at in
	// one call is bounded, whatever company it is: see AccountPage.
	Account(ctx context.Context, w WorkspaceID, id CompanyID, q AccountQuery) (*AccountPage, error)
	// ContactsByEmailPrefix returns contacts whose e-mail key begins with the prefix, by
	// that key; none for an empty one. Where other identifiers stand between them it looks at
	// a bounded number: a longer prefix finds more.
	ContactsByEmailPrefix(ctx context.Context, w WorkspaceID, prefix string, limit int) ([]*ContactView, error)

	// FindNames returns contacts each of whose names has words that begin with the words of
	// the text (NameWords); none for a text without any. How much it looks at is bounded,
	// whatever it is asked for.
	FindNames(ctx context.Context, w WorkspaceID, text string, limit int) (*NamesFound, error)
	// FindCompanyNames is FindNames for companies, newest first; cut tells that only the
	// newest were looked at.
	FindCompanyNames(ctx context.Context, w WorkspaceID, text string, limit int) (found []*CompanyView, cut bool, err error)
	// UnindexedNames returns the workspaces for which Tx.IndexNames has something to do.
	UnindexedNames(ctx context.Context) ([]WorkspaceID, error)

	// Inspections of a workspace, newest first; CodeNotFound for a contact that is not
	// there. Those of workspace 0 are nobody's.
	Inspections(ctx context.Context, w WorkspaceID, q InspectionQuery) ([]InspectionView, error)
	// Inspection returns one of them.
	Inspection(ctx context.Context, w WorkspaceID, id int64) (*InspectionView, error)
	// Tags lists the tags of a workspace, newest first; before is as for Contacts.
	Tags(ctx context.Context, w WorkspaceID, before TagID, limit int) ([]Tag, error)
	Tag(ctx context.Context, w WorkspaceID, id TagID) (Tag, error)
	CountTags(ctx context.Context, w WorkspaceID) (int64, error)
	// TagIDs finds tags by their names. What is the name of none is left out.
	TagIDs(ctx context.Context, w WorkspaceID, names []string) (map[string]TagID, error)
	Record(ctx context.Context, w WorkspaceID, entity Entity, id RecordID) (*Record, error)
	RecordByCustomID(ctx context.Context, w WorkspaceID, k RecordKey) (*Record, error)
	// Records lists the records of one entity, newest first; before is the id behind
	// which the page starts (0: from the start).
	Records(ctx context.Context, w WorkspaceID, entity Entity, before RecordID, limit int) ([]*Record, error)
	// CountRecords counts those of one entity, one by one.
	CountRecords(ctx context.Context, w WorkspaceID, entity Entity) (int64, error)

	// ContactEmails is that of a Tx, outside of one.
	ContactEmails(ctx context.Context, w WorkspaceID, after ContactID, limit int) ([]ContactEmail, error)
	// CompaniesByDomain finds companies as Tx.Load does, with their names.
	CompaniesByDomain(ctx context.Context, w WorkspaceID, domains []string) ([]DomainCompany, error)
	// Job returns a job, CodeNotFound if there is none.
	Job(ctx context.Context, w WorkspaceID, id JobID) (*Job, error)
	// Jobs of a workspace, newest first.
	Jobs(ctx context.Context, w WorkspaceID, limit int) ([]Job, error)
	// UnfinishedJobs of all workspaces, oldest first.
	UnfinishedJobs(ctx context.Context, limit int) ([]Job, error)

	// Visits is the number of page views that belong to nobody.
	Visits(ctx context.Context, w WorkspaceID) (int64, error)
	Quarantine(ctx context.Context, w WorkspaceID, limit int) ([]Quarantined, error)
}

// ContactEmail is a contact as auto-assign looks at it.
type ContactEmail struct {
	ID       ContactID
	EmailKey string // "" if there is none
	// Memberships are current and ended ones, with CompanyID, Primary and Until alone.
	Memberships []Membership
}

// DomainCompany is a company that a domain finds.
type DomainCompany struct {
	CompanyDomain
	Name string
}

// MaxEmployees is how many employees a CompanyView names: the newest.
const MaxEmployees = 1000

// ContactView is a contact as it is shown: with its activity, the companies of its
// current memberships (primary first, then oldest first) and its lists.
type ContactView struct {
	Contact
	Activity
	Companies []ContactCompany
	Lists     []List // by id
}

// ContactCompany is a company as shown at one of its contacts.
type ContactCompany struct {
	Membership
	CustomID string
	Name     string
}

// CompanyView is a company as it is shown.
type CompanyView struct {
	Company
	EmployeesCount int64
	Employees      []ContactID // the newest MaxEmployees, newest first
}

// MaxLastActive is of how many employees of a company a list of companies tells when they
// were last active.
const MaxLastActive = 10

// LastActive is when employees of a company, or contacts who became part of them, last
// viewed a page or had an event.
type LastActive struct {
	At        time.Time // zero: they never did
	Employees int       // of so many, MaxLastActive at most
}

// HistoryQuery asks for a page of what a contact did: by At and then by ID, the
// highest first, so that a page stays where it is while more is written.
type HistoryQuery struct {
	Kind EventKind // of events: of this kind only; "" for both
	// BeforeAt and BeforeID are those of the last entry of the page before; zero for
	// the first page.
	BeforeAt time.Time
	BeforeID int64
	Limit    int
}

// MemberQuery asks for a page of a company's members.
type MemberQuery struct {
	Former bool // those that have ended, else the current ones
	// BeforeSince and BeforeContact are those of the last membership of the page
	// before; zero for the first page.
	BeforeSince   time.Time
	BeforeContact ContactID
	Limit         int
}

// MemberView is a membership with what tells whose it is.
type MemberView struct {
	Membership
	CustomID string
	Email    string
	Name     string
}

// AccountQuery asks for a page of what the people of a company did: its employees all
// that is known of them, also from before they were, and former ones what they did until
// they left. Who became part of another contact counts as that one.
type AccountQuery struct {
	Before AccountPlace // where the page starts; zero: with the newest
	Limit  int
}

// AccountPlace is a place in what the people of a company did, which goes by time; at
// one time the events come first, then the page views, the highest id first. Behind the
// place are the earlier ones, and those of the time At with ids below Event and PageView.
type AccountPlace struct {
	At              time.Time
	Event, PageView int64
}

// AccountEntry is a page view or an event; the other one is nil.
type AccountEntry struct {
	PageView *PageView
	Event    *Event
	Contact  *Contact // whose it is now, shared by the entries of the page
	Former   bool     // they are no employee any more
}

// AccountPage is a page of what the people of a company did.
type AccountPage struct {
	Entries []AccountEntry
	// Next is where the next page starts; zero if there is nothing more.
	Next AccountPlace
	// Partial says that the page was left before it was full, because so much of others
	// had to be looked at. Next is as far as it came.
	Partial bool
}

// Query asks for the contacts or companies that meet all its conditions, newest
// first.
type Query struct {
	Where  []Condition
	Before int64 // the id behind which the page starts; 0: from the start
	Limit  int
	// Brief leaves the Employees of companies out, but not their count.
	Brief bool
}

// Condition compares one field of a contact or company with a value.
type Condition struct {
	// Field is the name of an attribute, standard or custom (StandardName), or one of
	// id, custom_id, email, name, created_at, updated_at; of contacts also key (any
	// of their visitor keys), list (the id of a list that they are in, with OpEqual), and
	// first_seen, last_seen and page_views of their Activity. Whoever builds a condition need not know whether there
	// is such an attribute: who lacks it, or has a value of another type, doesn't meet
	// the condition. Contacts that lack gender or status are of that which they are
	// shown with (GenderUnknown, StatusUser).
	Field string
	Op    Op
	// Value is what to compare with: a text for the operators of texts; of the
	// type of the attribute for the others.
	Value Value
}

// Op compares.
type Op string

// The operators (contract, section 4). Those that begin with i don't tell upper
// from lower case (of ASCII letters at least). Of a list an operator looks at
// every item: one that meets it is enough.
const (
	OpEqual       Op = ""
	OpContains    Op = "contains"
	OpIContains   Op = "icontains"
	OpStartsWith  Op = "startswith"
	OpIStartsWith Op = "istartswith"
	OpEndsWith    Op = "endswith"
	OpIEndsWith   Op = "iendswith"
	OpGreater     Op = "gt"
	OpAtLeast     Op = "gte"
	OpLess        Op = "lt"
	OpAtMost      Op = "lte"
)

// Ref names a contact by one of its identifiers, for the identity cache.
type Ref struct {
	WorkspaceID WorkspaceID
	Kind        RefKind
	Value       string
}

// RefKind is the kind of identifier in a Ref.
type RefKind uint8

// The kinds of identifiers. There is none for e-mail: which contact an e-mail
// finds depends on all contacts that have it, so it is always asked of the
// store.
const (
	RefKey RefKind = iota
	RefCustomID
)

// Identity is what the cache knows under a Ref: the contact, and the
// fingerprint of the last payload applied to it.
type Identity struct {
	ContactID   ContactID
	Fingerprint uint64
}

// Limiter bounds how often something may happen, by a token bucket a name.
type Limiter interface {
	// Allow takes n tokens from the bucket of name. When there are too few it
	// takes none and says after how long there will be enough.
	Allow(ctx context.Context, name string, n int) (ok bool, retryAfter time.Duration)
}

// Cache remembers identities. It may forget anything at any time and must
// never return what a later Remember or Forget replaced.
type Cache interface {
	// Identities looks up refs and sets out[i] to what refs[i] names, zero if it
	// is not known.
	Identities(ctx context.Context, refs []Ref, out []Identity)
	// Remember replaces what is known under refs[i] by ids[i], and the
	// fingerprint of that contact under all its refs.
	Remember(ctx context.Context, refs []Ref, ids []Identity)
	// Forget drops all that is known of the contacts.
	Forget(ctx context.Context, w WorkspaceID, ids []ContactID)
}

// Observer is told what happens, so that it can be counted. Its methods are
// called on hot paths from many goroutines and must not wait.
type Observer interface {
	// Answered tells that n payloads were answered alike: accepted (""), or
	// refused with a code.
	Answered(code Code, n int)
	// Applied tells that a batch of n payloads became visible. took is what the
	// transaction took, lag the time since the first of them was accepted.
	Applied(n int, took, lag time.Duration)
	// Retried tells that a batch could not be applied and waits for another try.
	Retried(code Code)
}
