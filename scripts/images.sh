#!/bin/sh
# Builds the images of worker, scheduler and driver, and pushes them: docs/images.md.
# "make images" and "make images-push" run it from the checkout's root, with what is set of
#
#   IMAGES_TOOL      docker, podman or buildah; the first of them that works
#   IMAGES_PREFIX    what stands before the names, as in registry.example.org/team; localhost
#   TAG              the tag; the commit's description by Git
#   BASE             the image of Python 3.13 that they stand on, with its digest
#   IMAGES_PLATFORM  linux/amd64 or linux/arm64; this machine's processor
#   IMAGES_TARGETS   those that are built or pushed; scheduler worker driver
#   IMAGES_LOCK      the file that the digests are written to; images.lock
set -eu

room=modelops/images
work=.cache/images
targets=${IMAGES_TARGETS:-scheduler worker driver}
prefix=${IMAGES_PREFIX:-localhost}
version=$(git describe --tags --always --dirty)
tag=${TAG:-$version}

fail() {
	echo "images: $*" >&2
	exit 1
}

# A client of Docker without its server is no builder.
find_tool() {
	for tool in ${IMAGES_TOOL:-docker podman buildah}; do
		case $tool in
		docker) docker info >/dev/null 2>&1 && return ;;
		podman | buildah) command -v "$tool" >/dev/null && return ;;
		*) fail "IMAGES_TOOL is $tool: docker, podman and buildah are known" ;;
		esac
	done
	fail "none of ${IMAGES_TOOL:-docker, podman and buildah} works here: install one of them"
}

# What stands on a tag is another image tomorrow.
find_base() {
	base=${BASE:-$(sed -n 's/^ARG BASE=//p' $room/Containerfile)}
	echo "$base" | grep -Eq '@sha256:[0-9a-f]{64}$' ||
		fail "BASE is $base, without its digest: name it as in docker.io/library/python:3.13-slim@sha256:…"
}

find_platform() {
	platform=${IMAGES_PLATFORM:-linux/$(go env GOHOSTARCH)}
	arch=${platform#linux/}
	case $platform in
	linux/amd64) machine=x86_64 ;;
	linux/arm64) machine=aarch64 ;;
	*) fail "there are images for linux/amd64 and linux/arm64, and none for $platform" ;;
	esac
}

# The context has what goes into images and nothing else. Packages are fetched here, with
# this machine's settings for pip: neither they nor a login of theirs get into an image.
lay_context() {
	context=$work/context
	rm -rf "$context"
	mkdir -p "$context/bin" "$context/wheels" "$context/requirements"
	cp $room/requirements/*.txt "$context/requirements/"
	cp $room/install.sh $room/drain.py LICENSE "$context/"
	for lock in "$context"/requirements/*.txt; do
		python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
			--python-version 3.13 --implementation cp --abi cp313 --abi abi3 --abi none \
			--platform "manylinux_2_28_$machine" --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" \
			--dest "$context/wheels" --requirement "$lock"
	done
	programs=./bundle-worker/cmd/bundle-worker
	case $targets in *driver*) programs="$programs ./modelops/cmd/mops ./modelops-bundle/cmd/modelops-bundle" ;; esac
	# shellcheck disable=SC2086 # the names are words
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch ${GO:-go} build -trimpath -tags urfave_cli_no_docs -ldflags '-s -w' -o "$context/bin/" $programs
	chmod -R u=rwX,go=rX "$context"
}

build() {
	find_base
	find_tool
	find_platform
	lay_context
	# One commit is one time, and so the same images.
	SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
	export SOURCE_DATE_EPOCH
	for target in $targets; do
		set -- --file $room/Containerfile --target "$target" --platform "$platform" --tag "$prefix/modelops-$target:$tag" \
			--build-arg "BASE=$base" --build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse HEAD)" "$context"
		echo "images: $tool builds $prefix/modelops-$target:$tag" >&2
		case $tool in
		docker) docker buildx build --load --provenance=false --sbom=false "$@" ;;
		*) $tool build --layers=false --timestamp "$SOURCE_DATE_EPOCH" "$@" ;;
		esac
	done
}

# The digests are what the registry has: the workspace takes images by them alone.
push() {
	find_tool
	[ "$prefix" != localhost ] || fail "IMAGES_PREFIX says where to push to, as in IMAGES_PREFIX=registry.example.org/team"
	new=$work/lock
	mkdir -p "$work"
	printf 'workspace:\n' >"$new"
	for target in $targets; do
		name=$prefix/modelops-$target
		case $tool in
		docker)
			docker push "$name:$tag" >&2
			digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$name:$tag" | sed -n "s|^$name@||p")
			;;
		*)
			$tool push --digestfile "$work/digest" "$name:$tag" >&2
			digest=$(cat "$work/digest")
			;;
		esac
		printf '  %s_image: %s@%s\n' "$target" "$name" "$digest" >>"$new"
	done
	mv "$new" "${IMAGES_LOCK:-images.lock}"
	cat "${IMAGES_LOCK:-images.lock}"
}

case ${1:-} in
build | push) "$1" ;;
*) fail "say build or push" ;;
esac
