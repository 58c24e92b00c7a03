// Package localregistry is an OCI registry on this machine, in a process of its own that
// outlives the command that started it: a [daemon.Daemon] called registry, whose data is
// the directory registry/, an OCI layout for each repository.
//
// The registry itself is olareg's, with deletion enabled and its garbage collector off:
// that one drops what it cannot read. Bytes leave the disk when somebody deletes them.
// An answer to a push is given when what was pushed is on the disk.
package localregistry
