// Package guard is the process between the worker and one that it runs: this same program,
// started again with [Argument]. It is the reaper of everything that the process starts,
// daemons with a session of their own included (on Linux; elsewhere of its process group).
// When the process ends, when it is to be stopped, and when the worker goes away in
// whatever way, the guard kills all that is left before it ends itself.
//
// What it imports is part of every simulation's start: the standard library, and little of
// that.
package guard
