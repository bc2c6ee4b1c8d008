#!/bin/sh
# Builds one driver for one kernel, inside the sandbox. Shared by every distribution; POSIX sh only.
#
#   /build     the driver's source, writable
#   /output    where modules and the record of the environment go
#
# Environment: KVERSION KBUILD_ARCH JOBS DRIVER_VERSION MODULES COMPILER [CROSS_COMPILE]
set -eu

headers=/lib/modules/$KVERSION/build

# What built it, as seen from inside: written first, so that it is there when the build fails.
{
	dpkg-query -W -f '${Package}\t${Version}\n'
} >/output/packages.tsv
"${CROSS_COMPILE-}$COMPILER" --version | head -n 1 >/output/compiler.txt

# A module's bytes must not tell where or by whom it was built.
maps="-ffile-prefix-map=/build=."

make -C "$headers" M=/build -j "$JOBS" \
	ARCH="$KBUILD_ARCH" CROSS_COMPILE="${CROSS_COMPILE-}" CC="${CROSS_COMPILE-}$COMPILER" \
	DRIVER_VERSION="$DRIVER_VERSION" KCFLAGS="$maps" KAFLAGS="$maps" \
	modules

for module in $MODULES; do
	found=$(find /build -type f -name "$module.ko" | head -n 1)
	if [ -z "$found" ]; then
		echo "kmodfarm: the build gave no $module.ko" >&2
		exit 66
	fi
	cp -- "$found" "/output/$module.ko"
done
