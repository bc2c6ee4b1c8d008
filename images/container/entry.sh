#!/bin/sh
# Builds a driver for one kernel in a container of these images: docker, podman, a pod of Kubernetes or a job of
# GitHub Actions. It needs no network.
#
#   /driver    the driver's source; may be read-only
#   /headers   the kernel's header packages, .deb or .rpm; may be read-only
#   /output    where the modules go, and what built them
#
# Environment: KVERSION (uname -r of the kernel), DRIVER_VERSION [MODULES KBUILD_ARCH CROSS_COMPILE COMPILER JOBS].
# KVERSION may also be the first argument, and modules those behind it.
set -eu

fail() {
	echo "kmodfarm: $*" >&2
	exit 2
}

export KVERSION="${1-${KVERSION-}}"
[ -n "$KVERSION" ] || fail "which kernel? Give its release (uname -r) as KVERSION"
[ $# -lt 2 ] || {
	shift
	export MODULES="$*"
}
for place in /driver /headers /output; do
	[ -d $place ] || fail "there is no $place; it must be mounted"
done

case $(uname -m) in x86_64) own=x86 ;; *) own=arm64 ;; esac
here=$(dirname "$0")
export KBUILD_ARCH="${KBUILD_ARCH:-$own}" JOBS="${JOBS:-$(nproc)}" MODULES="${MODULES-}"
export DRIVER_VERSION="${DRIVER_VERSION:-0.0.0}" COMPILER="${COMPILER:-$(cat "$here/image/compiler")}"
export KIND=kbuild BUILD_DIRECTORY=/build HOME=/build LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=0
export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' KBUILD_BUILD_USER=kmodfarm KBUILD_BUILD_HOST=kmodfarm
umask 022

# A package laid over a root would turn its links to usr/ into directories: only what is needed is taken out.
tree=/tmp/kmodfarm-headers
for package in /headers/*.deb; do
	[ -e "$package" ] || continue
	mkdir -p $tree
	dpkg-deb --extract "$package" $tree
done
if [ -d $tree ]; then
	mkdir -p /usr/src /usr/lib
	cp -a $tree/usr/src/. /usr/src/
	for kbuild in $tree/usr/lib/linux-kbuild-*; do
		[ ! -d "$kbuild" ] || cp -a "$kbuild" /usr/lib/
	done
fi
for package in /headers/*.rpm; do
	[ ! -e "$package" ] || rpm --install --nodeps --noscripts --notriggers "$package"
done
for headers in "/usr/src/linux-headers-$KVERSION" "/usr/src/kernels/$KVERSION" missing; do
	[ ! -d "$headers" ] || break
done
[ "$headers" != missing ] || fail "the packages in /headers are not those of $KVERSION"
mkdir -p "/lib/modules/$KVERSION" /run/kmodfarm /build
ln -sfn "$headers" "/lib/modules/$KVERSION/build"

# Driver Makefiles ask uname for the kernel that they are built for.
case $KBUILD_ARCH in arm64) machine=aarch64 ;; *) machine=x86_64 ;; esac
printf '%s\n%s\n' "$KVERSION" "$machine" >/run/kmodfarm/target
mkdir -p /run/kmodfarm/bin
ln -sfn "$here/uname.sh" /run/kmodfarm/bin/uname
export PATH="/run/kmodfarm/bin:$PATH"

# What builds it, written first, so that it is there when the build fails.
if command -v dpkg-query >/dev/null; then
	dpkg-query -W -f '${Package}\t${Version}\n'
else
	rpm -qa --queryformat '%{NAME}\t%{VERSION}-%{RELEASE}\n'
fi >/output/packages.tsv
"${CROSS_COMPILE-}$COMPILER" --version | head -n 1 >/output/compiler.txt

cp -a /driver/. /build/
exec sh "$here/build.sh"
