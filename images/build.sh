#!/bin/sh
# Builds one driver for one kernel, inside the sandbox. Shared by every distribution; POSIX sh only.
#
#   $BUILD_DIRECTORY   the driver's tree, writable; for one of DKMS the directory that holds it as `source`
#   /output            gets modules/NAME.ko, files/PATH, and strip/NAME for a module that dkms.conf wants stripped
#
# Environment: KVERSION KBUILD_ARCH JOBS COMPILER [CROSS_COMPILE], and what driver-place.ts tells of the
# driver. What its own lines find is told in docs/drivers.md.
set -eu

fail() {
	echo "kmodfarm: $*" >&2
	exit 66
}

export KERNEL_SOURCE="/lib/modules/$KVERSION/build" CC="${CROSS_COMPILE-}$COMPILER"
# shellcheck source=images/modules.sh
. /run/kmodfarm/modules.sh
work=/tmp/kmodfarm
tree=$BUILD_DIRECTORY
mkdir -p $work/bin /output/modules /output/strip

# Whoever says just cc or gcc gets the kernel's own compiler: roots have no other.
case $COMPILER in *clang*) family=clang ;; *) family=gcc ;; esac
for word in cc $family; do
	ln -s "$(command -v "$COMPILER")" "$work/bin/$word"
	[ -z "${CROSS_COMPILE-}" ] || ln -s "$(command -v "$CC")" "$work/bin/$CROSS_COMPILE$word"
done

# Makefiles that probe a kernel start a make of their own with an empty environment: for the same target still.
if [ -n "${CROSS_COMPILE-}" ]; then
	cat >"$work/bin/make" <<-END
		#!/bin/sh
		export ARCH="\${ARCH-$KBUILD_ARCH}" CROSS_COMPILE="\${CROSS_COMPILE-$CROSS_COMPILE}"
		exec $(command -v make) "\$@"
	END
	chmod +x "$work/bin/make"
fi
export PATH="$work/bin:$PATH"

# A module's bytes must not tell where or by whom it was built.
maps="-ffile-prefix-map=$tree=."

# What make is told of them, in a form without spaces. A kernel that clang linked wants its other tools too.
tools="CC=$CC"
if [ "${LLVM_SUFFIX-no}" != no ]; then
	tools="$tools LLVM=1 LD=ld.lld$LLVM_SUFFIX HOSTCC=$COMPILER"
	for tool in ar nm strip objcopy objdump readelf; do
		tools="$tools $(echo "$tool" | tr a-z A-Z)=llvm-$tool$LLVM_SUFFIX"
	done
fi

# Runs a command whose make lines are the driver's: they need not name compiler and target, and may.
own() (
	MAKEFLAGS="$tools${CROSS_COMPILE:+ ARCH=$KBUILD_ARCH CROSS_COMPILE=$CROSS_COMPILE}"
	export MAKEFLAGS KCFLAGS="$maps" KAFLAGS="$maps"
	"$@"
)

# Runs lines of the configuration, each in the log before what it says.
own_lines() { own sh -ex "/run/kmodfarm/$1" || fail "the step '$1' ended with exit code $?"; }

kbuild() {
	cd "$tree"
	[ ! -e /run/kmodfarm/prepare ] || own_lines prepare
	cd "$tree/${DIRECTORY-}"
	if [ -e /run/kmodfarm/make ]; then
		own_lines make
	else
		# shellcheck disable=SC2086
		make -C "$KERNEL_SOURCE" M="$tree${DIRECTORY:+/$DIRECTORY}" -j "$JOBS" $tools \
			ARCH="$KBUILD_ARCH" CROSS_COMPILE="${CROSS_COMPILE-}" \
			DRIVER_VERSION="$DRIVER_VERSION" KCFLAGS="$maps" KAFLAGS="$maps" \
			modules
	fi
	made_modules "$tree" | while read -r file; do
		name=${file##*/}
		echo "${name%.ko} no $file"
	done >$work/modules
}

# Each way leaves a list of modules: name, whether to strip it, file.
if [ "$KIND" = dkms ]; then
	own bash /run/kmodfarm/dkms.sh $work/modules /output/tree.txt
	tree=$(cat /output/tree.txt)
	note_given "$tree"
else
	kbuild
	[ -n "$MODULES" ] || [ -s $work/modules ] || missing_module "$tree" ""
fi

# Without a list, all there are. A copy may lie beside its original; two that differ nobody can choose from.
for module in ${MODULES:-$(cut -d ' ' -f 1 $work/modules | sort -u)}; do
	line=$(grep -m 1 "^$module " $work/modules) || missing_module "$tree" "$module.ko"
	line=${line#* }
	file=${line#* }
	[ -z "$(given_at "$file")" ] || missing_module "$tree" "$module.ko"
	grep "^$module " $work/modules | while read -r _ _ other; do
		cmp -s -- "$file" "$other" || fail "the build gave two of $module.ko that differ: $file $other"
	done
	cp -- "$file" "/output/modules/$module.ko"
	[ "${line%% *}" = no ] || : >"/output/strip/$module"
done

# Patterns take plain files; a link counts as long as it stays in the tree.
cd "$tree"
tree=$(pwd -P)
IFS='
'
set -f
for pattern in ${FILES-}; do
	count=0
	set +f
	for file in $pattern; do
		[ -f "$file" ] || continue
		case $(readlink -f -- "$file") in
		"$tree"/*) ;;
		*) fail "the file $file leads out of the driver's tree" ;;
		esac
		case $file in */*) mkdir -p "/output/files/${file%/*}" ;; *) mkdir -p /output/files ;; esac
		cp -- "$file" "/output/files/$file"
		count=$((count + 1))
	done
	[ $count -gt 0 ] || fail "the build gave no file $pattern"
	set -f
done
