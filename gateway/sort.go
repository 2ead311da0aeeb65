package gateway

// MaxSorted is how many contacts or companies are sorted by what no index goes by. Looking
// at each takes 10 to 20 µs, up to twice that for page views, and people wait for the page.
const MaxSorted = 2000

// SortQuery asks for a page of contacts or companies that meet all conditions, in an
// order of its own. Those with equal values go by their id; who has no value to be
// sorted by comes last, whichever way the order goes.
type SortQuery struct {
	Where []Condition
	// Company asks for the current employees of a company alone; 0 for all contacts.
	// An order that an index gives (HasOrder) has no such thing.
	Company CompanyID
	// By is a field of a Condition, but not key, list or tags; of contacts also
	// company, the name of the first of their companies, and of companies employees.
	// Contacts without a name go by their e-mail, else by their custom id.
	By    string
	Down  bool      // the highest value, or the latest, first
	After SortPlace // where the page starts; zero: at the start
	Limit int
}

// SortPlace is a place in an order. Behind it are those with a higher Key (in an order
// that goes down: a lower one), and those with that Key and a higher (lower) ID. It need
// not be that of anybody, so that a page stays where it is while others come and go.
type SortPlace struct {
	// Key is what an order goes by, byte by byte: texts in lower case (of ASCII letters)
	// and up to MaxSortKey characters, anything else in a form that is for comparing alone.
	Key  string
	ID   int64
	None bool // among those without a value; there is no Key then
}

// MaxSortKey is how many characters of a text are compared.
const MaxSortKey = 100

// SortPage is a page of an order.
type SortPage[T any] struct {
	Rows []T
	SortEnd
}

// ContactPage and CompanyPage are those of contacts, and of companies without their
// Employees.
type (
	ContactPage = SortPage[*ContactView]
	CompanyPage = SortPage[*CompanyView]
)

// SortEnd is where a page of an order ends.
type SortEnd struct {
	Next SortPlace // where the next page starts; zero if there is nothing more
	// Partial says that the page was left before it was full, because so many had to be
	// looked at who don't meet the conditions. Next is as far as it came.
	Partial bool
}

// HasOrder reports whether an index gives the order, so that any number can be listed
// in it: those who have the value that it goes by, the others are not in it at all.
//
// Who was last seen when has one for the latest first alone: looking for those who have
// not been seen for the longest time would find the oldest page views of all the others.
func HasOrder(entity Entity, by string, down bool) bool {
	switch {
	case by == "id":
		return true
	case entity == EntityCompany:
		return by == "name"
	case entity == EntityContact:
		return by == "email" || by == "custom_id" || by == "phone_number" || by == "last_seen" && down
	}
	return false
}
