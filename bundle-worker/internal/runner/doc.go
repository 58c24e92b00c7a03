// Package runner runs processes of user code, and lets none of them outlive its purpose.
//
// Each process has a guard between the worker and itself, see package guard: whatever it
// leaves behind, and whatever becomes of the worker, goes with it.
//
// The process is in a process group of its own, sees the environment that it is given and
// nothing else, and has the descriptors that it is given and nothing else. What it writes
// is always read and kept within bounds.
package runner
