//go:build !linux

package redistest

import "syscall"

// withParent can't make a server end with a test that dies: only Linux can.
func withParent() *syscall.SysProcAttr { return nil }
