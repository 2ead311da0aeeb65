package cache

import "github.com/redis/go-redis/v9"

// ParseURL reads a redis_url, see Options.URL, for whoever else uses the same
// Redis. The error is a CodeInvalid that says what is wrong with it.
func ParseURL(raw string) (*redis.UniversalOptions, error) { return parseURL(raw) }
