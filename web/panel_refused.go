package web

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"civgate/gateway"
)

// This file owns what the panel says of refused payloads: the words of a code, and what
// to do about it.

// refusalWords are what is said of a code.
type refusalWords struct {
	Short      string // in two or three words
	Todo       string // what to do about it
	Href, Link string // where, and what that is called; "" if nowhere in the panel
}

// Places in the panel where refusals can be put right.
const (
	scriptHref  = panelPath + "/settings/script"
	privacyHref = panelPath + "/settings/privacy"
)

// refusals are the codes of POST /ingest and of what is set aside after it.
var refusals = map[gateway.Code]refusalWords{
	gateway.CodeInvalidPayload:   {"not readable", "Correct what the page or server sends: one JSON object with the keys of window.civchat, or an array of such. Values that a server writes into the page have to be escaped as JSON.", scriptHref, "Custom script shows how"},
	gateway.CodeUnknownAPIKey:    {"unknown apiKey", "Copy the snippet again: its apiKey is mistyped, revoked, or another workspace's.", scriptHref, "Custom script"},
	gateway.CodeOriginNotAllowed: {"origin not allowed", "If the website is yours, an owner adds its host name to the origins.", privacyHref + "#origins", "Origins"},
	gateway.CodeAddressExcluded:  {"address excluded", "If it should count, try from another network, or an owner takes the network off the excluded addresses.", privacyHref + "#excluded", "Excluded addresses"},
	gateway.CodeNotVerified:      {"identity not verified", "Your server has to make user_hash with the identity secret, from the very user_id (without one, the e-mail) that the page sends.", privacyHref + "#identity", "Proof of identity"},
	gateway.CodeTooLarge:         {"too large", "Send less at once: at most 32 KiB a payload, and 50 payloads an array.", "", ""},
	gateway.CodeRateLimited:      {"too many at once", "Nothing, if it was a burst: the snippet sends again by itself. A server should send several payloads as one array, and slow down when it is answered 429.", "", ""},
	gateway.CodeUnavailable:      {"server not available", "Nothing, if it passes: the snippet sends again by itself. If it lasts, tell whoever runs this server; its log says why.", "", ""},
	gateway.CodeInvalid:          {"wrong request", "Correct the request as the reason says. Payloads are sent with POST: a browser that opens the address asks with GET.", scriptHref, "Custom script shows how"},
	gateway.CodeUnauthorized:     {"no apiKey", "The app's SDK has to be set up with the apiKey of the snippet.", scriptHref, "Custom script"},
	gateway.CodeInternal:         {"server error", "Tell whoever runs this server: its log says what went wrong. What was set aside can be replayed once that is mended.", "", ""},
}

// wordsOf are the words of a code, and for one that is not among them the code itself.
func wordsOf(code gateway.Code) refusalWords {
	if words, ok := refusals[code]; ok {
		return words
	}
	return refusalWords{Short: strings.ReplaceAll(string(code), "_", " ")}
}

// codeWords are codes as people say them.
func codeWords(code gateway.Code) string { return wordsOf(code).Short }

// siteOf is the website of an Origin header, "" if it is none.
func siteOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return ""
	}
	return u.Host
}

// sentence is a reason as a sentence of its own: from a capital letter to a full stop.
func sentence(reason string) string {
	if reason == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(reason)
	reason = string(unicode.ToUpper(first)) + reason[size:]
	if !strings.HasSuffix(reason, ".") {
		reason += "."
	}
	return reason
}
