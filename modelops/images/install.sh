#!/bin/sh
# Installs the packages of a lock file from the build's context, by their hashes, into an
# environment that no bundle sees: sh install.sh NAME. Bytecode is compiled here, for good,
# since nobody can write it later, and without the times of files.
set -e
environment=/opt/modelops/dask
python3 -m venv --without-pip $environment
python3 -m pip --python $environment/bin/python install --no-cache-dir --no-compile --no-index \
	--disable-pip-version-check --root-user-action ignore \
	--find-links /build/wheels --require-hashes --requirement "/build/requirements/$1.txt"
PYTHONHASHSEED=0 $environment/bin/python -m compileall -q -j 1 --invalidation-mode unchecked-hash $environment/lib
