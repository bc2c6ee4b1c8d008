#!/bin/sh
# Installs, while an image is built, what its packages.txt and one line of its compilers.txt name.
# Usage: install.sh FAMILY VERSION. Versions of packages.lock are asked for; where the mirror has others by now,
# its newest are taken, and that is said.
set -eu
cd "$(dirname "$0")"

case $(uname -m) in
x86_64) architecture=x86_64 cross=aarch64-linux-gnu ;;
aarch64) architecture=aarch64 cross=x86-64-linux-gnu ;;
*) echo "install: there are no images for $(uname -m)" >&2 && exit 1 ;;
esac

lines() { sed 's/#.*//' "$1" | grep -v '^[[:space:]]*$'; }
compiler=$(lines compilers.txt | grep "^$1 $2 ") || {
	echo "install: compilers.txt offers no $1 $2" >&2
	exit 1
}
read -r family version command packages <<-LINE
	$compiler
LINE
wanted="$(lines packages.txt | grep -v '?$' | tr '\n' ' ')$packages"
optional=$(lines packages.txt | sed -n 's/?$//p')
wanted=$(echo "$wanted" | sed "s/{cross}/$cross/g")

locked() {
	for name in $wanted; do
		version=$(lines packages.lock 2>/dev/null | sed -n "s/^$architecture $name //p")
		echo "$name${version:+=$version}"
	done
}

if command -v apt-get >/dev/null; then
	export DEBIAN_FRONTEND=noninteractive
	apt-get update
	# shellcheck disable=SC2046,SC2086
	apt-get install --yes --no-install-recommends $(locked) || {
		echo "install: the mirror no longer has the versions of packages.lock; its newest are used" >&2
		apt-get install --yes --no-install-recommends $wanted
	}
	rm -rf /var/lib/apt/lists/*
else
	manager=$(command -v dnf || command -v microdnf || command -v yum)
	# shellcheck disable=SC2086
	"$manager" install -y $wanted
	for name in $optional; do
		"$manager" install -y "$name" || echo "install: there is no $name" >&2
	done
	"$manager" clean all
fi
echo "$command" >compiler
