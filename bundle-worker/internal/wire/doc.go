// Package wire calls a bundle's simulation: it finds how the bundle wants to be called,
// calls it, and makes outputs or one true error of what comes back.
//
// A Python wire runs in a [Session], a process that stays warm from task to task and is
// spoken to by JSON-RPC over descriptors of its own; harness.py is its other end. A command
// runs once for each task ([RunCommand]) and leaves its outputs as files.
package wire
