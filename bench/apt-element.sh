#!/bin/sh
# One element as a container would build it: a writable copy of a ready root, `apt-get install` of the headers, make.
# Runs in a mount namespace of its own. Usage: apt-element.sh ROOT WORK SOURCE KVERSION COMPILER
set -eu
root=$1 work=$2 source=$3 kversion=$4 compiler=$5
mkdir -p "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/work" "$work/root"
mount -t proc proc "$work/root/proc"
mount --rbind /dev "$work/root/dev"
cp /etc/resolv.conf "$work/root/etc/resolv.conf"
mkdir "$work/root/build"
cp -r "$source/." "$work/root/build"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C HOME=/
chroot "$work/root" apt-get install --yes --quiet --no-install-recommends "linux-headers-$kversion"
cat /proc/uptime >"$work/before"
chroot "$work/root" make -C "/lib/modules/$kversion/build" M=/build CC="$compiler" DRIVER_VERSION=0.1.0 modules
cat /proc/uptime >"$work/after"
