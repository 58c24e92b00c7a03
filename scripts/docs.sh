#!/bin/sh
# Writes the help of every command of the two command-line programs, and of the worker, to
# one page each.
set -eu
bin=$1
out=$2
mkdir -p "$out"
for program in mops modelops-bundle bundle-worker; do
    {
        printf '# %s\n\nWritten by `make docs` from the program itself.\n' "$program"
        "$bin/$program" help-all
    } > "$out/$program.md"
done
