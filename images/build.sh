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
own_list=/usr/share/kmodfarm/packages.tsv
if command -v dpkg-query >/dev/null; then
	dpkg-query -W -f '${Package}\t${Version}\n'
elif [ -e $own_list ]; then
	cat $own_list
else
	rpm -qa --queryformat '%{NAME}\t%{VERSION}-%{RELEASE}\n'
fi >/output/packages.tsv
"${CROSS_COMPILE-}$COMPILER" --version | head -n 1 >/output/compiler.txt

# A module's bytes must not tell where or by whom it was built.
maps="-ffile-prefix-map=/build=."

# A kernel that clang linked wants its other tools too.
set --
if [ "${LLVM_SUFFIX-no}" != no ]; then
	set -- LLVM=1 LD="ld.lld$LLVM_SUFFIX" HOSTCC="$COMPILER"
	for tool in ar nm strip objcopy objdump readelf; do
		set -- "$@" "$(echo "$tool" | tr a-z A-Z)=llvm-$tool$LLVM_SUFFIX"
	done
fi

make -C "$headers" M=/build -j "$JOBS" "$@" \
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
