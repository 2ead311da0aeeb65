package gateway

import (
	_ "embed"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// This file owns which company an e-mail address stands for: the rule of
// auto-assign, without anything that is stored.
//
// Decisions
//
//   - The domain that stands for a company is the one that somebody registered: a
//     public suffix and one label before it (notice@mail.acme.co.uk: acme.co.uk). The
//     private suffixes of the list count as public ones do: who has acme.github.io or
//     acme.uk.com shares no company with the neighbours, and an address at such a suffix
//     itself (somebody@blogspot.com) is nobody's company.
//   - A name below a top level that the list does not know counts like one below com, so
//     that acme.test can be tried. Names that only mean something within one network
//     (localhost, .local, .internal and the like) stand for nobody.
//   - Domains are compared in lower case and ASCII (IDNA): bücher.example and
//     xn--bcher-kva.example are one.
//   - A domain in a list of the workspace, or of the providers below, covers all below
//     it.
//   - Senders that nobody reads are no employees: noreply and its kin in the languages
//     met most, bounces, mailer-daemon, postmaster. notifications@, alerts@, news@ or
//     notice@ are not among them, because companies do read those, unless the address
//     says so besides (notifications-noreply@). What follows a plus is a label of the
//     receiver and says nothing of the sender.
//   - Free-mail and disposable providers are two text files, gateway/data, searched as
//     they are: they take no memory but their own. free_mail_domains.txt is from the npm
//     package free-email-domains (MIT), disposable_domains.txt from
//     disposable-email-domains-js (CC0 1.0); each file says more at its top.

// AssignReason says why an e-mail address stands for no company.
type AssignReason string

// The reasons; the first that holds counts.
const (
	AssignOK           AssignReason = ""              // it stands for one
	AssignNoDomain     AssignReason = "no_domain"     // no address, or none of a public domain
	AssignPublicSuffix AssignReason = "public_suffix" // at co.uk or github.io itself
	AssignOwn          AssignReason = "own"           // the workspace's own people
	AssignExcluded     AssignReason = "excluded"      // the workspace excludes the domain
	AssignDisposable   AssignReason = "disposable"    // a provider of throw-away mailboxes
	AssignFreeMail     AssignReason = "free_mail"     // a provider of mailboxes for everybody
	AssignNoReply      AssignReason = "no_reply"      // a sender that nobody reads
)

//go:embed data/free_mail_domains.txt
var freeMailText string

//go:embed data/disposable_domains.txt
var disposableText string

var (
	freeMail   = newDomainList(freeMailText)
	disposable = newDomainList(disposableText)
)

// domainList is a sorted text with a domain in each line.
type domainList string

// newDomainList leaves out the comment at the top of a file.
func newDomainList(text string) domainList {
	for strings.HasPrefix(text, "#") {
		_, text, _ = strings.Cut(text, "\n")
	}
	return domainList(text)
}

// has reports whether a line is just this domain.
func (l domainList) has(domain string) bool {
	low, high := 0, len(l) // of the bytes in which the line would begin
	for low < high {
		middle := low + (high-low)/2
		start := strings.LastIndexByte(string(l[:middle]), '\n') + 1
		end := start + strings.IndexByte(string(l[start:]), '\n')
		switch line := string(l[start:end]); {
		case line == domain:
			return true
		case line < domain:
			low = end + 1
		default:
			high = start
		}
	}
	return false
}

// AutoAssign is the setting by which contacts become employees of the company whose
// domain their e-mail address has.
type AutoAssign struct {
	Enabled bool `json:"enabled"`
	// ExcludeDomains make no company, and OwnDomains are those of the workspace's own
	// people, who are nobody's employees here. An entry is a domain (acme.com) with all
	// below it, *.edu for all below edu, or acme.* for acme below every public suffix.
	// There may be any number of them. See CleanDomainPatterns.
	ExcludeDomains []string `json:"exclude_domains"`
	OwnDomains     []string `json:"own_domains"`
}

// AssignRule says which domain an e-mail address stands for in a workspace. It is made
// once for a state of the settings and may be used by many goroutines.
type AssignRule struct {
	exclude, own domainPatterns
}

// NewAssignRule prepares the lists of a; whether it is enabled is not asked. An entry that
// is none (CleanDomainPatterns) covers nothing.
func NewAssignRule(a AutoAssign) *AssignRule {
	return &AssignRule{exclude: newDomainPatterns(a.ExcludeDomains), own: newDomainPatterns(a.OwnDomains)}
}

// Domain returns the domain that stands for the company of an e-mail address, in
// comparable form (NormalizeDomain), or why none does.
func (r *AssignRule) Domain(email string) (domain string, why AssignReason) {
	domain, _, why = r.domains(email)
	return domain, why
}

// domains is Domain, and the domain of the address itself, which is below domain or the
// same.
func (r *AssignRule) domains(email string) (domain, full string, why AssignReason) {
	at := strings.LastIndexByte(email, '@')
	if at < 1 {
		return "", "", AssignNoDomain
	}
	// A dot at the end names the root, and means the same domain.
	full, ok := NormalizeDomain(strings.TrimSuffix(strings.TrimSpace(email[at+1:]), "."))
	if !ok {
		return "", "", AssignNoDomain
	}
	suffix, domain, why := splitDomain(full)
	if why != AssignOK {
		return "", "", why
	}
	switch name := strings.TrimSuffix(full, "."+suffix); {
	case r.own.match(full, name):
		return "", "", AssignOwn
	case r.exclude.match(full, name):
		return "", "", AssignExcluded
	}
	for d := range domainAndAbove(full) {
		switch {
		case disposable.has(d):
			return "", "", AssignDisposable
		case freeMail.has(d):
			return "", "", AssignFreeMail
		}
		if d == domain {
			break
		}
	}
	if isNoReply(email[:at]) {
		return "", "", AssignNoReply
	}
	return domain, full, AssignOK
}

// NormalizeDomain returns the form in which domains are compared: lower case, IDNA in
// ASCII. ok is false for what is no domain name that could be somebody's: it needs two
// labels, the last of which is no number.
func NormalizeDomain(s string) (domain string, ok bool) {
	if domain, ok = comparableDomain(s); !ok {
		return "", false
	}
	dot := strings.LastIndexByte(domain, '.')
	if dot < 0 || isDigits(domain[dot+1:]) {
		return "", false
	}
	if _, err := netip.ParseAddr(domain); err == nil {
		return "", false
	}
	return domain, true
}

// comparableDomain is normalizeDomain for what comes from people. IDNA can make of a
// broken letter what it would not take back.
func comparableDomain(s string) (string, bool) {
	domain, ok := normalizeDomain(s)
	if ok && domain != s {
		var again string
		again, ok = normalizeDomain(domain)
		ok = ok && again == domain
	}
	return domain, ok
}

// splitDomain returns the public suffix of a domain in comparable form, and the domain
// that is registered below it.
func splitDomain(full string) (suffix, registered string, why AssignReason) {
	for _, name := range localNames {
		if full == name || strings.HasSuffix(full, name) && full[len(full)-len(name)-1] == '.' {
			return "", "", AssignNoDomain
		}
	}
	suffix, _ = publicsuffix.PublicSuffix(full)
	if suffix == full {
		return "", "", AssignPublicSuffix
	}
	name := full[:len(full)-len(suffix)-1]
	return suffix, full[strings.LastIndexByte(name, '.')+1:], AssignOK
}

// localNames are those below which nobody registers anything (RFC 6761, 6762, 7686, 8375,
// 9476, and what networks use besides).
var localNames = []string{"localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "invalid", "onion", "alt", "arpa"}

// domainAndAbove are a domain and those that it is below, the longest first.
func domainAndAbove(domain string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for yield(domain) {
			dot := strings.IndexByte(domain, '.')
			if dot < 0 {
				return
			}
			domain = domain[dot+1:]
		}
	}
}

// maxCandidates is how many domains of an address are looked for: that of a company, and
// those below it that may be another one's.
const maxCandidates = 4

// candidates are the domains by which a company may be found, the best first: a company
// that lists dept.acme.com is nearer to somebody@mail.dept.acme.com than acme.com is.
func candidates(domain, full string) []string {
	var all []string
	for d := range domainAndAbove(full) {
		if d == domain || len(all) == maxCandidates-1 {
			break
		}
		all = append(all, d)
	}
	return append(all, domain)
}

// displayDomain is a domain as people write it.
func displayDomain(domain string) string {
	shown, err := idna.Display.ToUnicode(domain)
	if err != nil {
		return domain
	}
	if back, ok := NormalizeDomain(shown); !ok || back != domain {
		return domain
	}
	return shown
}

// domainPatterns are entries of a list of domains, ready to be asked.
type domainPatterns struct {
	below map[string]struct{} // acme.com, *.edu: that, and all below it
	any   map[string]struct{} // acme.*: without the star
}

func newDomainPatterns(entries []string) domainPatterns {
	var p domainPatterns
	for _, entry := range entries {
		clean, problem := cleanDomainPattern(entry)
		if problem != "" {
			continue
		}
		set, key := &p.below, strings.TrimPrefix(clean, "*.")
		if before, found := strings.CutSuffix(clean, ".*"); found {
			set, key = &p.any, before
		}
		if *set == nil {
			*set = make(map[string]struct{}, len(entries))
		}
		(*set)[key] = struct{}{}
	}
	return p
}

// match reports whether an entry covers the domain full, which is name before its public
// suffix.
func (p *domainPatterns) match(full, name string) bool {
	return hasAny(p.below, full) || hasAny(p.any, name)
}

func hasAny(set map[string]struct{}, domain string) bool {
	if len(set) > 0 {
		for d := range domainAndAbove(domain) {
			if _, found := set[d]; found {
				return true
			}
		}
	}
	return false
}

// maxNamedEntries is how many bad entries an error names.
const maxNamedEntries = 10

// CleanDomainPatterns returns the entries of a list of domains (AutoAssign) in the form in
// which they are kept: comparable, without a leading @ or the space around them, each
// once, in the order in which they came; empty ones are left out. Entries that are none are
// a CodeInvalid of the field, which names them.
func CleanDomainPatterns(field string, entries []string) ([]string, error) {
	clean := make([]string, 0, len(entries))
	seen := make(map[string]struct{}, len(entries))
	var bad []string
	faults := 0
	for _, entry := range entries {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		c, problem := cleanDomainPattern(entry)
		if problem != "" {
			if faults++; len(bad) < maxNamedEntries {
				bad = append(bad, fmt.Sprintf("%.80q %s", entry, problem))
			}
			continue
		}
		if _, twice := seen[c]; !twice {
			seen[c] = struct{}{}
			clean = append(clean, c)
		}
	}
	if faults > 0 {
		message := strings.Join(bad, "; ") + "."
		if more := faults - len(bad); more > 0 {
			message += fmt.Sprintf(" And %d more.", more)
		}
		return nil, &Error{Code: CodeInvalid, Field: field, Message: message}
	}
	return clean, nil
}

// cleanDomainPattern returns one entry in the form in which it is kept, or what is wrong
// with it.
func cleanDomainPattern(entry string) (clean, problem string) {
	s := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(entry), "@"), ".")
	if strings.HasPrefix(s, ".") {
		s = "*" + s
	}
	rest, below := strings.CutPrefix(s, "*.")
	rest, any := strings.CutSuffix(rest, ".*")
	switch {
	case strings.ContainsRune(rest, '@'):
		return "", "is an address: write the part behind the @"
	case below && any, strings.ContainsRune(rest, '*'):
		return "", "has a * in a place where it can't be: write *.edu, acme.* or acme.com"
	}
	domain, ok := comparableDomain(rest)
	switch {
	case !ok:
		return "", "is not a domain: write acme.com, *.edu or acme.*"
	case below:
		return "*." + domain, ""
	case any:
		return domain + ".*", ""
	case !strings.Contains(domain, "."):
		return "", fmt.Sprintf("is not a whole domain: write %s.com, %s.* or *.%s", domain, domain, domain)
	}
	return domain, ""
}

// noReplyWords are runs of words of a local part that say that nobody reads what is sent
// there. The last word may go on with digits.
var noReplyWords = [][]string{
	{"noreply"}, {"no", "reply"}, {"noreplies"}, {"no", "replies"}, {"noresponse"}, {"no", "response"},
	{"donotreply"}, {"do", "not", "reply"}, {"donot", "reply"}, {"dontreply"}, {"dont", "reply"}, {"don", "t", "reply"},
	{"donotrespond"}, {"do", "not", "respond"}, {"pleasedonotreply"}, {"notreply"}, {"not", "reply"},
	{"autoreply"}, {"auto", "reply"}, {"autoresponder"}, {"auto", "responder"}, {"unmonitored"},
	{"mailerdaemon"}, {"mailer", "daemon"}, {"maildaemon"}, {"mail", "daemon"}, {"devnull"}, {"dev", "null"},
	{"noresponder"}, {"no", "responder"}, {"norespondas"}, {"no", "respondas"}, // Spanish
	{"nepasrepondre"}, {"ne", "pas", "repondre"}, {"nereponderpas"}, // French
	{"nichtantworten"}, {"nicht", "antworten"}, {"keineantwort"}, {"keine", "antwort"}, // German
	{"nonrispondere"}, {"non", "rispondere"}, // Italian
	{"naoresponda"}, {"nao", "responda"}, {"naoresponder"}, {"nao", "responder"}, // Portuguese
	{"nietbeantwoorden"}, {"niet", "beantwoorden"}, {"geenantwoord"}, // Dutch
	{"nieodpowiadaj"}, {"nie", "odpowiadaj"}, {"nieodpowiadac"}, // Polish
}

// isNoReply reports whether the local part of an address says that it is a sender that
// nobody reads.
func isNoReply(local string) bool {
	local = strings.Trim(strings.ToLower(local), `"`)
	// Bounces carry the address that bounced: bounces+12-bob=acme.com@, and mail that is
	// passed on the one it came from: SRS0=x=y=acme.com=bob@.
	first := local
	if i := strings.IndexAny(local, "+-=_"); i > 0 {
		first = local[:i]
	}
	switch first {
	case "bounce", "bounces", "srs0", "srs1":
		return true
	case "prvs", "msprvs1":
		return strings.HasPrefix(local[len(first):], "=")
	}
	local, _, _ = strings.Cut(local, "+")
	if local == "postmaster" || local == "nobody" {
		return true
	}
	words := strings.FieldsFunc(strings.ReplaceAll(local, "'", ""), func(c rune) bool { return strings.ContainsRune("-_.= ", c) })
	for i := range words {
		for _, run := range noReplyWords {
			if len(run) > len(words)-i {
				continue
			}
			last := len(run) - 1
			if !slices.Equal(run[:last], words[i:i+last]) {
				continue
			}
			if rest, found := strings.CutPrefix(words[i+last], run[last]); found && (rest == "" || isDigits(rest)) {
				return true
			}
		}
	}
	return false
}
