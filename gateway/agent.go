package gateway

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
)

// Agent is a person who signs in to the panel of a workspace.
type Agent struct {
	WorkspaceID  WorkspaceID
	Email        string // comparable form (NormalizeEmail), unique in the workspace
	Name         string // as they call themselves, "" if not given
	PasswordHash string // see HashPassword; the same for one e-mail in all workspaces
	Role         Role
	CreatedAt    time.Time
}

// Role is what an agent may do.
type Role string

// The roles, from all to least.
const (
	RoleOwner  Role = "owner"
	RoleEditor Role = "editor"
	RoleViewer Role = "viewer"
)

// The cost of a password hash: 19 MiB and two passes, one of the settings that
// OWASP's password storage cheat sheet names for argon2id. It is part of each
// hash, so that it can be raised.
const (
	hashMemory  = 19 << 10 // KiB
	hashPasses  = 2
	hashThreads = 1
	hashSalt    = 16
	hashLength  = 32
)

// HashPassword returns the argon2id hash of a password in the PHC string
// format, with a salt of its own.
func HashPassword(password string) string {
	salt := make([]byte, hashSalt)
	rand.Read(salt) // never fails (crypto/rand)
	sum := argon2.IDKey([]byte(password), salt, hashPasses, hashMemory, hashThreads, hashLength)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashPasses, hashThreads, b64(salt), b64(sum))
}

// CheckPassword reports whether hash is that of password. A text that is no
// hash of HashPassword is that of none.
func CheckPassword(hash, password string) bool {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false
	}
	var version int
	var memory, passes uint32
	var threads uint8
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &threads); err != nil || memory == 0 || memory > 1<<20 || passes == 0 || passes > 64 || threads == 0 {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false
	}
	sum, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(sum) == 0 {
		return false
	}
	got := argon2.IDKey([]byte(password), salt, passes, memory, threads, uint32(len(sum)))
	return subtle.ConstantTimeCompare(got, sum) == 1
}
