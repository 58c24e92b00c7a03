//go:build unix

package environment

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openFlags make an open return at once whatever the name turns out to be.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_CLOEXEC

// noFollow refuses a link in the last component of the name.
const noFollow = syscall.O_NOFOLLOW

// isLink says whether an open failed because of noFollow.
func isLink(err error) bool {
	errno, ok := err.(*fs.PathError)
	return ok && (errno.Err == syscall.ELOOP || errno.Err == syscall.EMLINK)
}

// distrust says why others than the user may have written what info describes, and
// what mends it; "" when they cannot have.
func distrust(path string, info fs.FileInfo, owned bool) (problem, hint string) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", ""
	}
	user := os.Geteuid()
	if owned && int(stat.Uid) != user && stat.Uid != 0 {
		return fmt.Sprintf("belongs to user %d, and this is user %d", stat.Uid, user),
			"if what it holds is yours, make it yours: chown -R " + fmt.Sprint(user) + " " + path
	}
	if mode := info.Mode().Perm(); mode&0o002 != 0 {
		return fmt.Sprintf("is writable by everybody (mode %04o)", mode), "check what it holds, then: chmod go-w " + path
	}
	return "", ""
}

// exposed says whether others than the user can read the file.
func exposed(info fs.FileInfo) bool { return info.Mode().Perm()&0o044 != 0 }
