package gateway_test

import (
	"strings"
	"testing"

	"civgate/gateway"
)

func TestPassword(t *testing.T) {
	t.Parallel()
	hash := gateway.HashPassword("correct horse")
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") || hash == gateway.HashPassword("correct horse") {
		t.Errorf("hash %q", hash)
	}
	// The reference implementation's test vector for m=256 KiB, t=2, p=1
	// ("password", salt "somesalt").
	reference := "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	for _, tt := range []struct {
		name, hash, password string
		want                 bool
	}{
		{"right", hash, "correct horse", true},
		{"wrong", hash, "correct horse ", false},
		{"empty", hash, "", false},
		{"reference", reference, "password", true},
		{"reference, wrong", reference, "Password", false},
		{"no hash", "", "", false},
		{"another scheme", "$2a$10$abcdefghijklmnopqrstuv", "x", false},
		{"no salt", "$argon2id$v=19$m=256,t=2,p=1$!$nf65", "password", false},
		{"too much memory", "$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$nf65", "password", false},
		{"no sum", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$", "password", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := gateway.CheckPassword(tt.hash, tt.password); got != tt.want {
				t.Errorf("CheckPassword = %v", got)
			}
		})
	}
}
