#!/bin/sh
# Gives the packages of `make binrpm-pkg` the names, versions and contents that a distribution's have. Every file in
# them is one that the kernel's own target packed, but for .config, which distributions ship with their headers.
#
# Usage: repack-rpm.sh SHAPE VERSION RELEASE CONFIG OUTPUT, in the kernel's tree
set -eu
shape=$1 version=$2 release=$3 config=$4 out=$5
uname=$version-$release.x86_64
top=/work/repack
modules=/lib/modules/$uname
headers=/usr/src/kernels/$uname

rm -rf $top
mkdir -p "$top/root"
for package in rpmbuild/RPMS/x86_64/*.rpm; do
	rpm2cpio "$package" | (cd "$top/root" && cpio --quiet -idmu --no-absolute-filenames)
done
rm -rf "$top/root/usr/include"
cp "$config" "$top/root$headers/.config"
ln -sfn build "$top/root$modules/source"

preamble() {
	cat <<-SPEC
		%global debug_package %{nil}
		%global __os_install_post %{nil}
		%global _binary_payload $1
		Name: $2
		Version: $version
		Release: $release
		Summary: The Linux kernel
		License: GPL-2.0-only
		Provides: installonlypkg(kernel)
		%description
		The Linux kernel, packed as a distribution does.
	SPEC
}

# NAME and, from stdin, what comes between its summary and its description.
package() {
	printf '%%package -n %s\nSummary: Part of the kernel\nAutoReqProv: no\nProvides: installonlypkg(kernel)\n' "$1"
	cat
	printf '%%description -n %s\nPart of the kernel.\n' "$1"
}

{
	case $shape in
	almalinux*)
		preamble w3.zstdio kernel
		# As kernel.spec of Enterprise Linux says it of each part.
		for part in core modules-core modules devel; do
			package "kernel-$part" <<-SPEC
				Provides: kernel-$part-uname-r = $uname
				Provides: kernel-$part-x86_64 = $version-$release
			SPEC
		done
		echo "%files"
		echo "%files -n kernel-core"
		(cd "$top/root" && find ".$modules" -mindepth 1 -maxdepth 1 ! -name kernel | sed 's/^\.//')
		echo "%files -n kernel-modules-core"
		echo "$modules/kernel/lib/crc-itu-t.ko.xz"
		echo "%files -n kernel-modules"
		(cd "$top/root" && find ".$modules/kernel" -type f ! -name 'crc-itu-t.*' | sed 's/^\.//')
		echo "%files -n kernel-devel"
		echo "$headers"
		;;
	amazonlinux2023)
		mkdir -p "$top/root/boot"
		mv "$top/root$modules/vmlinuz" "$top/root/boot/vmlinuz-$uname"
		preamble w2.xzdio kernel6.12
		package kernel6.12-devel <<-SPEC
			Provides: kernel-devel = $version-$release
		SPEC
		printf '%s\n' "%files" "/boot/vmlinuz-$uname" "$modules"
		printf '%s\n' "%files -n kernel6.12-devel" "$headers"
		;;
	esac
} >"$top/kernel.spec"
rpmbuild -bb --quiet --target x86_64-linux --define "_topdir $top/rpmbuild" --define "_build_id_links none" \
	--define "buildroot $top/root" --buildroot "$top/root" --noclean "$top/kernel.spec"
cp "$top"/rpmbuild/RPMS/x86_64/*.rpm "$out/"
