//go:build unix && !linux

package pgtest

import (
	"os"
	"syscall"
	"time"
)

func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func handOver(string) error { return nil }

func alive(p *os.Process) bool { return p.Signal(syscall.Signal(0)) == nil }

// processes are the server's, as far as they are known: the first one.
func (s *Server) processes() []int {
	if s.command == nil {
		return nil
	}
	return []int{s.command.Process.Pid}
}

// CPU is not known here.
func (s *Server) CPU() time.Duration { return 0 }
