//go:build race

package store_test

import "flag"

// Under the race detector everything takes ten times as long, and what it looks
// for shows in a few rounds of the properties.
func init() { rapidChecks = func() error { return flag.Set("rapid.checks", "10") } }
