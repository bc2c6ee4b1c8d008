#!/bin/sh
# mirror.sh STORE TARGET: copies what may be served of a store to where rsync reaches (HOST:/srv/kmodfarm/store, or a
# directory), in the order that readers need: what names other files comes after them, and the head comes last. A copy
# that breaks off leaves the registry of before; the same command goes on from there.
set -eu
[ $# -eq 2 ] && [ -d "$1" ] || { echo "usage: mirror.sh STORE TARGET" >&2; exit 2; }
store=${1%/} target=${2%/}
pointers=$(mktemp -d)
trap 'rm -rf "$pointers"' EXIT

# Read first and sent last: what is published meanwhile comes with the next copy.
for one in channels/stable metadata/head metadata/log/checkpoint; do
	[ ! -e "$store/$one" ] || (cd "$store" && cp -p --parents "$one" "$pointers/")
done
[ -e "$pointers/metadata/head" ] || { echo "mirror.sh: $store has no signed head: nothing of it can be believed" >&2; exit 3; }

# send FOLDER [OPTION]...: those folders of a store that may be served, whatever else lies there.
send() {
	folder=$1
	shift
	[ ! -d "$store/$folder" ] || (cd "$store" && rsync -a --relative --chmod=D755,F644 "$@" "$folder/" "$target/")
}
send blobs
send generations
for part in root heads log/tile log/proof; do send "metadata/$part"; done
send view --delay-updates
(cd "$pointers" && rsync -a --checksum --delay-updates --chmod=D755,F644 . "$target/")

# Only now is nothing needed any more that `kmodfarm prune` removed from the store.
for folder in blobs generations view; do send "$folder" --delete; done
