package cache

import (
	"crypto/tls"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"civgate/gateway"
)

// ParseURL reads the forms that Options.URL describes, also for whoever else uses
// the same Redis. Its errors are CodeInvalid, say what is wrong, and never show the
// URL, which may hold a password.
func ParseURL(raw string) (*redis.UniversalOptions, error) {
	bad := func(message string) error {
		return &gateway.Error{Code: gateway.CodeInvalid, Field: "redis_url", Message: message}
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || scheme != "redis" && scheme != "rediss" {
		return nil, bad("a Redis URL begins with redis:// or, for TLS, rediss://")
	}
	// net/url takes one host only, so the list of them is cut out before.
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, tail := rest[:end], rest[end:]
	hosts := authority[strings.LastIndexByte(authority, '@')+1:]
	user := authority[:len(authority)-len(hosts)]

	o := &redis.UniversalOptions{}
	var u *url.URL
	for host := range strings.SplitSeq(hosts, ",") {
		var err error
		if u, err = url.Parse(scheme + "://" + user + host + tail); err != nil {
			return nil, bad("the Redis URL can't be read; write special characters of the password as %XX")
		}
		if u.Hostname() == "" {
			return nil, bad("the Redis URL names no host, or an empty one between commas")
		}
		port := u.Port()
		if port == "" {
			port = "6379"
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, bad("the Redis URL has a port that is not between 1 and 65535")
		}
		o.Addrs = append(o.Addrs, net.JoinHostPort(u.Hostname(), port))
	}
	if u.Fragment != "" {
		return nil, bad("the Redis URL has a #; write it as %23")
	}
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	if db := strings.Trim(u.Path, "/"); db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || n < 0 {
			return nil, bad("the path of the Redis URL is the number of a database, such as /0")
		}
		o.DB = n
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, bad("the part of the Redis URL behind the ? can't be read")
	}
	for name, values := range query {
		value := values[len(values)-1]
		switch name {
		case "master":
			o.MasterName = value
		case "sentinel_username":
			o.SentinelUsername = value
		case "sentinel_password":
			o.SentinelPassword = value
		case "cluster":
			if o.IsClusterMode, err = strconv.ParseBool(value); err != nil {
				return nil, bad("cluster in the Redis URL is true or false")
			}
		default:
			return nil, bad("the Redis URL may have master, sentinel_username, sentinel_password and cluster behind the ?, but not " + strconv.Quote(name))
		}
	}
	_, named := query["cluster"]
	switch {
	case query.Has("master") && o.MasterName == "":
		return nil, bad("master in the Redis URL is the name under which the Sentinels know the master")
	case o.MasterName != "" && o.IsClusterMode:
		return nil, bad("the Redis URL has master, for Sentinel, and cluster: it can be one of them only")
	case o.MasterName == "" && (o.SentinelUsername != "" || o.SentinelPassword != ""):
		return nil, bad("the Redis URL has a Sentinel's name or password and no master")
	case len(o.Addrs) > 1 && o.MasterName == "" && named && !o.IsClusterMode:
		return nil, bad("the Redis URL has several hosts, which is a Cluster, and cluster=false")
	case len(o.Addrs) > 1 && o.MasterName == "":
		o.IsClusterMode = true
	}
	if o.IsClusterMode && o.DB != 0 {
		return nil, bad("a Redis Cluster has database 0 only")
	}
	if scheme == "rediss" {
		// No server name: the one in the address that is dialled counts, which
		// differs from node to node.
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return o, nil
}
