#!/bin/sh
# What the tests of package kube run, into the directory $1: etcd, the API server, its
# controllers, and simulated nodes. What is there already, of the right version, stays.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
modules=$here/modelops/internal/kube/kubetest
mkdir -p "$1"
into=$(cd "$1" && pwd)

# build MODULE PACKAGE VERSION [FLAGS]: a program from a module that pins it.
build() {
    program=$into/${2##*/}
    [ -x "$program" ] && [ "$(cat "$program.version" 2>/dev/null)" = "$3" ] && return
    echo "building ${2##*/} $3 from its module; once, and it takes some minutes"
    (cd "$modules/$1" && CGO_ENABLED=0 GOWORK=off ${GO:-go} build -mod=readonly -ldflags "-s -w ${4-}" -o "$program.$$" "$2")
    mv "$program.$$" "$program"
    echo "$3" >"$program.version"
}

# pinned DIRECTORY MODULE: the version that a go.mod requires.
pinned() { sed -n "s|^.*[[:space:]]$2 \\(v[^ ]*\\).*|\\1|p" "$modules/$1/go.mod"; }

version=$(pinned server k8s.io/kubernetes)
minor=${version#v*.}
stamp=k8s.io/component-base/version
for program in kube-apiserver kube-controller-manager kube-scheduler; do
    build server "k8s.io/kubernetes/cmd/$program" "$version" \
        "-X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}"
done
build nodes sigs.k8s.io/kwok/cmd/kwok "$(pinned nodes sigs.k8s.io/kwok)"

# etcd does not build from its module. Debian's is unpacked here, not installed: it would
# start a server.
[ -x "$into/etcd" ] && exit
if command -v etcd >/dev/null; then
    ln -s "$(command -v etcd)" "$into/etcd"
    exit
fi
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
    echo "error: there is no etcd on PATH" >&2
    echo "hint: install it; on Debian this script takes the one of the package etcd-server" >&2
    exit 1
}
parts=$(mktemp -d "$into/etcd.XXXXXX")
trap 'rm -rf "$parts"' EXIT
cd "$parts"
# With lists of its own, so that it needs neither root nor those of the machine.
mkdir -p lists/partial archives/partial
set -- -q -o "Dir::State::Lists=$parts/lists" -o "Dir::Cache=$parts" -o APT::Sandbox::User=
apt-get "$@" update >/dev/null
apt-get "$@" download etcd-server >/dev/null
dpkg-deb --fsys-tarfile etcd-server_*.deb | tar -x ./usr/bin/etcd
mv usr/bin/etcd "$into/etcd"
