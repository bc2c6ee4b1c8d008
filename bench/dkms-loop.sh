#!/bin/sh
# `dkms build` for one kernel after the other in a root that has DKMS and the headers, as hosts and image builders do.
# Runs in a mount namespace of its own. Usage: dkms-loop.sh ROOT TREE NAME VERSION KVERSION…
# Prints the seconds that the loop took, and per kernel what became of it.
set -eu
root=$1 tree=$2 name=$3 version=$4
shift 4
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
rm -rf "$root/var/lib/dkms/$name" "$root/usr/src/$name-$version"
cp -r "$tree" "$root/usr/src/$name-$version"
export LC_ALL=C HOME=/ PATH=/usr/sbin:/usr/bin:/sbin:/bin
chroot "$root" dkms add -m "$name" -v "$version" >/dev/null
started=$(date +%s.%N)
for kversion; do
	if chroot "$root" dkms build -m "$name" -v "$version" -k "$kversion" >/dev/null 2>&1; then
		echo "built $kversion"
	else
		echo "failed $kversion"
	fi
done
echo "seconds $(echo "$(date +%s.%N) - $started" | bc)"
