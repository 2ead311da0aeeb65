package gateway

import (
	"slices"
	"strings"
	"time"
)

// Type is the type of an attribute value.
type Type uint8

// The attribute types. TypeNull is the type of no attribute: it is the value
// that clears one.
const (
	TypeNull Type = iota
	TypeText
	TypeNumber
	TypeBool
	TypeDate     // calendar day, "2006-01-02"
	TypeDatetime // instant in UTC, "2006-01-02T15:04:05.999999Z"
	TypeList     // list of texts, numbers and booleans
	TypeJSON     // any other JSON
)

var typeNames = [...]string{"null", "text", "number", "bool", "date", "datetime", "list", "json"}

// String returns the name under which the type is stored.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown"
}

// ParseType returns the type that String names, and whether there is one.
func ParseType(s string) (Type, bool) {
	i := slices.Index(typeNames[:], s)
	return Type(max(i, 0)), i >= 0
}

// Value is one attribute value: its type and its canonical JSON text (compact;
// a date or datetime is a quoted string in the form given at its Type).
// The zero Value is null.
type Value struct {
	Type Type
	Raw  string
}

// Null is the value that clears an attribute.
var Null = Value{Type: TypeNull, Raw: "null"}

// IsNull reports whether v clears.
func (v Value) IsNull() bool { return v.Type == TypeNull }

// Attribute is a named value. Name is the attribute's standard form (see
// StandardName), unique in a bag.
type Attribute struct {
	Name  string
	Value Value
}

// Attributes is a bag of attributes, sorted by name, without nulls.
type Attributes []Attribute

// Get returns the value of name; ok is false when the bag has none.
func (a Attributes) Get(name string) (v Value, ok bool) {
	i, ok := a.search(name)
	if !ok {
		return Value{}, false
	}
	return a[i].Value, true
}

func (a Attributes) search(name string) (int, bool) {
	return slices.BinarySearchFunc(a, name, func(x Attribute, name string) int { return strings.Compare(x.Name, name) })
}

// Set puts v under name (null removes it) and reports whether that changed
// anything. Two values are equal when their canonical texts are.
func (a *Attributes) Set(name string, v Value) bool {
	i, ok := a.search(name)
	switch {
	case !ok && v.IsNull():
		return false
	case !ok:
		*a = slices.Insert(*a, i, Attribute{Name: name, Value: v})
		return true
	case v.IsNull():
		*a = slices.Delete(*a, i, i+1)
		return true
	case (*a)[i].Value.Raw == v.Raw:
		return false
	}
	(*a)[i].Value = v
	return true
}

// Clone returns a copy that can be changed on its own.
func (a Attributes) Clone() Attributes { return slices.Clone(a) }

// Entity is what an attribute definition belongs to.
type Entity string

// The entities that have attributes. Their names are separate name spaces
// (contract, section 7).
const (
	EntityContact Entity = "contact"
	EntityCompany Entity = "company"
	EntityProduct Entity = "product"
	EntityDeal    Entity = "deal"
	// Of these only attributes can be defined: nothing here has them.
	EntityActivity Entity = "activity"
	EntityTicket   Entity = "ticket"
)

// AttributeDef is the definition of a custom attribute: made at the first
// sight of its name, with the type of the value seen.
type AttributeDef struct {
	ID          AttributeID
	WorkspaceID WorkspaceID
	Entity      Entity
	Name        string // standard form, the key in a bag
	Label       string // the name as it was first sent
	Type        Type
	// Integer says of a number that only whole ones fit.
	Integer bool
	// Choices are what a list was defined to be chosen from, and Multiple whether
	// several may be. Values need not be among them.
	Choices     []string
	Multiple    bool
	Description string
	// Hidden leaves it out of profiles; it is kept and can be asked for as any other.
	Hidden    bool
	CreatedAt time.Time
}

// Convert returns v as a value of the attribute; see Convert. Null stays null.
func (d *AttributeDef) Convert(v Value) (Value, bool) {
	v, ok := Convert(v, d.Type)
	if !ok || !d.Integer || v.IsNull() {
		return v, ok
	}
	v, p := convertInteger(v)
	return v, p == ""
}

// fits reports whether v is one of its values as it is.
func (d *AttributeDef) fits(v Value) bool { return v.IsNull() || v.Type == d.Type && !d.Integer }

// DefKey names an attribute definition inside a workspace.
type DefKey struct {
	Entity Entity
	Name   string
}
