#!/bin/sh
# Installs a package with a driver, or a tree of one, on a machine of its own, a layer over a root that has dkms and
# headers, and lets the dkms there build it for kernels, without network. Runs in a mount namespace of its own.
#
# Usage: dkms-machine.sh ROOT LAYER PACKAGE|DIRECTORY VERSION KVERSION…
# Leaves in LAYER: installed (what apt said), tree (of the driver), added (what `dkms add` said), and for each kernel in
# KVERSION/: code (of `dkms build`), said, make.log, modules (their names, one a line).
set -eu
root=$1 layer=$2 package=$3 version=$4
shift 4
machine=$layer/machine
mkdir -p "$layer/upper" "$layer/work" "$machine"
mount -t overlay machine -o "lowerdir=$root,upperdir=$layer/upper,workdir=$layer/work" "$machine"
mount -t proc proc "$machine/proc"
mount --rbind /dev "$machine/dev"
export LC_ALL=C HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive

if [ -d "$package" ]; then
	tree=/usr/src/${package##*/}-$version
	cp -r "$package" "$machine$tree"
	chown -R root:root "$machine$tree"
else
	chroot "$machine" apt-get install --yes --quiet --no-install-recommends "$package=$version" \
		>"$layer/installed" 2>&1 </dev/null
	conf=$(chroot "$machine" dpkg -L "$package" | grep -x '/usr/src/[^/]*/dkms\.conf')
	tree=${conf%/dkms.conf}
fi
echo "$tree" >"$layer/tree"
# What installs a package adds the tree by name and version, whatever its dkms.conf calls itself.
said() {
	sed -n "s/^[[:space:]]*DKMS_$1=//p" "$machine/var/lib/dpkg/info/$package.postinst" 2>/dev/null | head -n 1
}
name=$(said NAME) number=$(said VERSION)
if [ -n "$name" ] && [ -n "$number" ]; then
	chroot "$machine" dkms add -m "$name" -v "$number"
else
	chroot "$machine" dkms add "$tree"
fi >"$layer/added" 2>&1 </dev/null
# NAME/VERSION: added
driver=$(chroot "$machine" dkms status | sed -n 's/^\([^,: ]*\): added.*/\1/p')

for kversion; do
	out=$layer/$kversion
	mkdir -p "$out"
	code=0
	unshare --net chroot "$machine" dkms build -j 1 "$driver" -k "$kversion" >"$out/said" 2>&1 </dev/null || code=$?
	built=$machine/var/lib/dkms/$driver
	for log in "$built/build/make.log" "$built/$kversion/x86_64/log/make.log"; do
		[ ! -e "$log" ] || cp "$log" "$out/make.log"
	done
	for file in "$built/$kversion"/*/module/*.ko*; do
		[ ! -e "$file" ] || basename "${file%.ko*}"
	done >"$out/modules"
	rm -rf "$built/build"
	echo $code >"$out/code"
done
