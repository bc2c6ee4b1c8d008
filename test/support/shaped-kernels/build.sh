#!/bin/sh
# Builds one kernel of a distribution's shape, inside the root that shaped-kernels.ts bootstraps, by the kernel's own
# package targets, and leaves its packages in /work/packages/<shape>.
#
#   /scripts   this directory
#   /work      source and output; kept between shapes, so that what they share is compiled once
#
# Usage: build.sh almalinux9.4|almalinux9.5|ubuntu24.04|amazonlinux2023
set -eu
shape=$1
cd /work

if [ ! -e source/Makefile ]; then
	rm -rf source
	mkdir source
	tar -xf /usr/src/linux-source-6.12.tar.xz --strip-components=1 -C source
fi
cd source
version=$(make -s kernelversion)

# gcc-14 and gcc-13: each kernel tells by itself which one its modules must be built with.
case $shape in
almalinux9.4) compiler=gcc-14 compression=XZ release=503.el9_4 uname=$version-503.el9_4.x86_64 ;;
almalinux9.5) compiler=gcc-14 compression=XZ release=570.el9_5 uname=$version-570.el9_5.x86_64 ;;
ubuntu24.04) compiler=gcc-14 compression=ZSTD release=100.100 uname=$version-100-generic ;;
amazonlinux2023) compiler=gcc-13 compression=GZIP release=42.101.amzn2023 uname=$version-42.101.amzn2023.x86_64 ;;
*) echo "build.sh: no shape $shape" >&2 && exit 2 ;;
esac

export KBUILD_BUILD_USER=builder KBUILD_BUILD_HOST=kernels
export KDEB_PKGVERSION="$version-$release"

# The package targets leave out the headers when the compilers of kernel and host programs are called differently.
kmake() {
	make -j "$(nproc)" CC=$compiler HOSTCC=$compiler LOCALVERSION="${uname#"$version"}" "$@"
}

configure() {
	kmake -s tinyconfig
	scripts/kconfig/merge_config.sh -m .config "$@" >/dev/null
	scripts/config --enable MODULE_COMPRESS --enable "MODULE_COMPRESS_$compression" --enable MODULE_COMPRESS_ALL
	kmake -s olddefconfig
	# An option that the kernel did not take would be missed only much later.
	cat "$@" | grep '^CONFIG' | while read -r option; do
		grep -qx "$option" .config || { echo "build.sh: $option was not taken" >&2 && exit 1; }
	done
}

case $shape in
amazonlinux2023) configure /scripts/base.config /scripts/amazon.config ;;
*) configure /scripts/base.config ;;
esac

out=/work/packages/$shape
rm -rf "$out" rpmbuild
mkdir -p "$out"
case $shape in
ubuntu24.04)
	rm -f /work/*.deb
	kmake bindeb-pkg DPKG_FLAGS=--no-check-builddeps
	/scripts/repack-deb.sh "$uname" "$KDEB_PKGVERSION" .config "$out"
	;;
*)
	kmake binrpm-pkg RPMOPTS=--nodeps
	/scripts/repack-rpm.sh "$shape" "$version" "$release" .config "$out"
	;;
esac
echo "$uname" >"/work/packages/$shape.uname"
