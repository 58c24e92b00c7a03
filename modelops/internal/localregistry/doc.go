// Package localregistry runs an OCI registry on this machine, in a process of its own
// that outlives the command that started it.
//
// Everything lies in one directory:
//
//	registry/       the images, an OCI layout per repository
//	registry.json   the process that serves them, and the port, which is used again
//	registry.log    what the process wrote
//	registry.lock   held by the process for as long as it lives
//	registry.start  the instance that is to run; absent when none is
//	start.lock      held by a command that starts or stops it
//
// The lock, not the process id, says whether a server is alive, and the instance id
// that a server answers says whether what listens on the port is ours: no other program
// is mistaken for it, and no process that happens to have its id is ever signalled.
// A process whose starter was killed, and that comes late, finds that another instance
// or none is to run, and ends.
// [Registry.Start] starts it, [Serve] is the process.
//
// The registry itself is olareg's, with deletion enabled and its garbage collector off:
// that one drops what it cannot read. Bytes leave the disk when somebody deletes them.
// An answer to a push is given when what was pushed is on the disk.
package localregistry
