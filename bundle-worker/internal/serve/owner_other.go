//go:build unix && !linux

package serve

// await is for systems that tell.
func await(int) bool { return false }
