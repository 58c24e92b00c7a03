// Package runner runs processes of user code, and lets none of them outlive its purpose.
//
// Each process has a guard between the worker and itself: this same program, started again
// with [GuardArgument]. The guard is the reaper of everything that the process starts,
// daemons with a session of their own included (on Linux; elsewhere of its process group).
// When the process ends, when it is to be stopped, and when the worker goes away in
// whatever way, the guard kills all that is left before it ends itself.
//
// The process is in a process group of its own, sees the environment that it is given and
// nothing else, and has the descriptors that it is given and nothing else. What it writes
// is always read and kept within bounds.
package runner
