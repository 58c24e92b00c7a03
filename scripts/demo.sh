#!/bin/sh
# The whole flow on this machine, with real input: the local environment, a project, a
# push, 1,000 simulations, and their tables. Everything lies in .demo/ of this checkout; a
# second run reuses it. With --with-dask the simulations run on a Dask cluster.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
PATH="$here/bin:$PATH"
export MODELOPS_HOME="$here/.demo/home"
project=my-model

step() { printf '\n$ %s\n' "$*"; "$@"; }

command -v python3 >/dev/null || { echo "error: the demo model needs python3" >&2; exit 1; }
mkdir -p "$here/.demo"
cd "$here/.demo"

step mops infra up ${1:+"$1"}
[ -d "$project" ] || step modelops-bundle init "$project" --template minimal
cd "$project"
step modelops-bundle push
[ -f study-demo.json ] || step mops study random --model model.sir --scenario baseline \
    --param beta=0.1:0.6 --param gamma=0.05:0.2 --samples 200 --seed 1 --replicates 5 --output study-demo.json
step mops jobs submit study-demo.json --auto --wait
step mops jobs results latest --output results --format csv

printf '\nThe first rows of each table:\n'
for table in results/*.csv; do
    printf '\n%s\n' "$table"
    head -n 4 "$table"
done
printf '\nThe local environment keeps running. Stop it, and keep its data, with:\n  MODELOPS_HOME=%s mops infra down\n' "$MODELOPS_HOME"
