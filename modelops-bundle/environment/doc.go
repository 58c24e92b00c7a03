// Package environment finds the environment file in force, reads it, and says what
// decided.
//
// Environment files lie in bundle-env under the suite's home, one per environment,
// <name>.yaml, 0600 in a directory 0700. They name servers that credentials are sent
// to, so a file is read only when nobody else can have put it there: on Unix the
// directories and the file belong to the user (or root) and are not writable by
// everybody, and the file is a regular one and no link, of at most 64 KiB.
// What a file says is the business of package contracts.
package environment
