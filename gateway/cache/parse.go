package cache

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// ParseURL reads a redis_url, see Options.URL, for whoever else uses the same
// Redis. The error is a CodeInvalid that says what is wrong with it.
func ParseURL(raw string) (*redis.UniversalOptions, error) { return parseURL(raw) }

// The library writes to the standard error by itself, a line for each dial that
// fails. All that it has to say comes back as errors as well, which are counted,
// and told once when the circuit opens.
func init() { redis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}
