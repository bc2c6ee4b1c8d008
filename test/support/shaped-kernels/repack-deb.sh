#!/bin/sh
# Splits and names the packages of `make bindeb-pkg` as Ubuntu has them: image and modules apart, and of the headers
# what every flavour shares in a package for all architectures, to which those of the flavour link.
#
# Usage: repack-deb.sh UNAME VERSION CONFIG OUTPUT, in the kernel's tree
set -eu
uname=$1 version=$2 config=$3 out=$4
abi=${uname%-*}
top=/work/repack

rm -rf $top
mkdir -p $top
for part in image headers; do
	dpkg-deb -x "/work/linux-$part-${uname}_${version}_amd64.deb" "$top/$part"
done

# pack NAME ARCHITECTURE DEPENDS: the tree $top/NAME
pack() {
	mkdir -p "$top/$1/DEBIAN"
	cat >"$top/$1/DEBIAN/control" <<-CONTROL
		Package: $1
		Source: linux
		Version: $version
		Architecture: $2
		Maintainer: nobody <nobody@localhost>
		${3:+Depends: $3}
		Description: The Linux kernel, packed as Ubuntu does
	CONTROL
	sed -i '/^$/d' "$top/$1/DEBIAN/control"
	dpkg-deb --root-owner-group -Zzstd --build "$top/$1" "$out/" >/dev/null
}

image=linux-image-unsigned-$uname modules=linux-modules-$uname
mkdir -p "$top/$image/boot" "$top/$modules/boot"
mv "$top/image/boot/vmlinuz-$uname" "$top/$image/boot/"
mv "$top/image/boot/"* "$top/$modules/boot/"
mv "$top/image/lib" "$top/$modules/"

own=linux-headers-$uname common=linux-headers-$abi
src=$top/headers/usr/src/linux-headers-$uname
cp "$config" "$src/.config"
mkdir -p "$top/$own/usr/src" "$top/$common/usr/src"
mv "$top/headers/lib" "$top/$own/"

# Whether a file of the headers was made by building, and so belongs to this flavour alone.
is_made() {
	case $1 in
	.config | Module.symvers | scripts/* | tools/* | include/config/* | include/generated/* | */include/generated/*) return 0 ;;
	*) return 1 ;;
	esac
}

cd "$src"
find . -type f -o -type l | sed 's,^\./,,' | while read -r file; do
	if is_made "$file"; then root=$own; else root=$common; fi
	mkdir -p "$(dirname "$top/$root/usr/src/$root/$file")"
	mv "$file" "$top/$root/usr/src/$root/$file"
done

# link_missing DIRECTORY: what only the common headers have becomes a link, as high up as can be.
link_missing() {
	up=$(printf '%s' "$1" | sed 's,[^/]*/,../,g')
	for path in "$top/$common/usr/src/$common/$1"*; do
		name=${path##*/}
		mine=$top/$own/usr/src/$own/$1$name
		if [ -d "$mine" ]; then
			(link_missing "$1$name/")
		else
			ln -s "../$up$common/$1$name" "$mine"
		fi
	done
}
link_missing ""

busybox=busybox-static
mkdir -p "$top/$busybox/bin"
cp /bin/busybox "$top/$busybox/bin/"

pack "$image" amd64 "$modules"
pack "$modules" amd64 ""
pack "$own" amd64 "$common, libc6 (>= 2.38)"
pack "$common" all ""
pack "$busybox" amd64 ""
