"""Starts the harness as a module, which Python compiles once for many processes: that takes
longer than all else that it does. The worker gives each process the copy that it keeps.

It is run by -c, with the directory of the harness as its argument: the worker fills that while
the interpreter starts, and sends a byte when it has."""

import os, sys

if os.read(3, 1):
    sys.path[0] = sys.argv[1]
    unwritten, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    import harness

    sys.dont_write_bytecode = unwritten
    del sys.modules["harness"]  # a bundle may have a module of that name
    harness.Harness().serve()
