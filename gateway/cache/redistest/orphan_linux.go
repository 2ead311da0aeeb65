package redistest

import "syscall"

// withParent makes a server end with the process that started it, should that
// die without cleaning up.
func withParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
