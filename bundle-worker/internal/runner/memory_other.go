//go:build unix && !linux

package runner

// outOfMemoryKills is unknown here: this system does not kill for memory.
func outOfMemoryKills() uint64 { return 0 }
