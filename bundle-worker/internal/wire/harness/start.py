"""Starts the harness as a module, which Python compiles once for many processes: that takes
longer than all else that it does. The worker gives each process the copy that it keeps."""

if __name__ == "__main__":
    import sys

    unwritten, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    import harness

    sys.dont_write_bytecode = unwritten
    del sys.modules["harness"]  # a bundle may have a module of that name
    harness.Harness().serve()
