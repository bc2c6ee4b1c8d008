#!/bin/bash
# Builds a tree of DKMS as DKMS itself would, inside the sandbox. Started by build.sh, with its environment;
# bash because dkms.conf is bash.
#
#   $BUILD_DIRECTORY/source   the tree; it moves to where DKMS would build it, $dkms_tree/NAME/VERSION/build
#   $1                        gets a line for each module: its name, whether to strip it (yes, no), its file
#   $2                        gets the directory that the tree moved to
# Names of our own that dkms.conf will hardly use for itself.
our_list=$1 our_place=$2 our_modules=$MODULES
# shellcheck source=images/modules.sh
. /run/kmodfarm/modules.sh

say() { echo "kmodfarm: $*" >&2; }
fail() {
	say "$*"
	exit 66
}
exclude() {
	say "excluded: $*"
	echo "$*" >/output/excluded.txt
	exit 77
}

# What dkms.conf may use, by DKMS's own names.
kernelver=$KVERSION arch=$(uname -m)
kernel_source_dir=$KERNEL_SOURCE kernel_config=$KERNEL_SOURCE/.config
dkms_tree=$BUILD_DIRECTORY source_tree=/usr/src install_tree=/lib/modules tmp_location=/tmp
parallel_jobs=$JOBS
module=$DRIVER_NAME module_version=$DRIVER_VERSION
our_tree=$BUILD_DIRECTORY/source${DIRECTORY:+/$DIRECTORY}
export kernelver arch kernel_source_dir dkms_tree source_tree

read_conf() {
	unset MAKE MAKE_MATCH CLEAN PATCH PATCH_MATCH PRE_BUILD POST_BUILD STRIP OBSOLETE_BY PACKAGE_NAME PACKAGE_VERSION
	unset BUILT_MODULE_NAME BUILT_MODULE_LOCATION DEST_MODULE_NAME DEST_MODULE_LOCATION BUILD_DEPENDS NO_WEAK_MODULES
	unset "${!BUILD_EXCLUSIVE_@}"
	cd "$our_tree" || fail "there is no $our_tree"
	bash -n "$our_tree/dkms.conf" || fail "dkms.conf cannot be read"
	# shellcheck source=/dev/null
	. "$our_tree/dkms.conf" >&2
}

is_name() { [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9._+~:-]*$ ]]; }

# Whether $1 is a lower version than $2.
is_older() { [[ $1 != "$2" && $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }

# Trees as upstream has them leave name and version to whoever packages them.
sed -i -e "s/#MODULE_NAME#/$DRIVER_NAME/g" -e "s/#MODULE_VERSION#/$DRIVER_VERSION/g" "$our_tree/dkms.conf"
read_conf
is_name "${PACKAGE_NAME-}" && module=$PACKAGE_NAME
is_name "${PACKAGE_VERSION-}" && module_version=$PACKAGE_VERSION

# The tree where DKMS has it while it builds; it is read again, since its settings may hold that path.
home=$dkms_tree/$module/$module_version
mkdir -p "$home" && mv "$our_tree" "$home/build" || fail "the tree cannot be moved to $home"
our_tree=$home/build
ln -s build "$home/source"
[[ -e /usr/src/$module-$module_version ]] ||
	ln -s "$our_tree" "/usr/src/$module-$module_version"
echo "$our_tree" >"$our_place"
read_conf
: "${PACKAGE_NAME:=$module}" "${PACKAGE_VERSION:=$module_version}"

refuses() { exclude "$1=\"${!1}\" of its dkms.conf does not take $2"; }
[[ -z ${BUILD_EXCLUSIVE_KERNEL-} || $kernelver =~ $BUILD_EXCLUSIVE_KERNEL ]] || refuses BUILD_EXCLUSIVE_KERNEL "$kernelver"
[[ -z ${BUILD_EXCLUSIVE_ARCH-} || $arch =~ $BUILD_EXCLUSIVE_ARCH ]] || refuses BUILD_EXCLUSIVE_ARCH "$arch"
[[ -n ${BUILD_EXCLUSIVE_KERNEL_MIN-} ]] && is_older "$kernelver" "$BUILD_EXCLUSIVE_KERNEL_MIN" &&
	refuses BUILD_EXCLUSIVE_KERNEL_MIN "$kernelver"
[[ -n ${BUILD_EXCLUSIVE_KERNEL_MAX-} ]] && is_older "$BUILD_EXCLUSIVE_KERNEL_MAX" "$kernelver" &&
	refuses BUILD_EXCLUSIVE_KERNEL_MAX "$kernelver"
for option in ${BUILD_EXCLUSIVE_CONFIG-}; do
	[[ -e $kernel_config ]] || break
	if grep -q -E "^${option#!}=[ym]" "$kernel_config"; then state=on; else state=off; fi
	case $option$state in
	!*on) refuses BUILD_EXCLUSIVE_CONFIG "$kernelver, which has ${option#!}" ;;
	[!!]*off) refuses BUILD_EXCLUSIVE_CONFIG "$kernelver, which has no $option" ;;
	esac
done
[[ -n ${OBSOLETE_BY-} ]] && ! is_older "$kernelver" "$OBSOLETE_BY" &&
	exclude "OBSOLETE_BY=\"$OBSOLETE_BY\" of its dkms.conf: $kernelver has the driver itself"

[[ -z ${BUILD_DEPENDS-} ]] || say "note: dkms.conf names other trees in BUILD_DEPENDS: ${BUILD_DEPENDS[*]}"
[[ -z ${NO_WEAK_MODULES-} ]] || say "note: NO_WEAK_MODULES of dkms.conf means nothing here"

# The last entry whose expression fits; the first one needs none.
command=
[[ -n ${MAKE_MATCH[0]-} ]] || command=${MAKE[0]-}
for index in "${!MAKE[@]}"; do
	[[ -n ${MAKE_MATCH[index]-} && $kernelver =~ ${MAKE_MATCH[index]} ]] && command=${MAKE[index]}
done
[[ -n $command ]] || command="make -C $kernel_source_dir M=$our_tree"
# Who writes `make` without quotes wants this.
command=${command/#make/make -j$parallel_jobs KERNELRELEASE=$kernelver}

for index in "${!PATCH[@]}"; do
	[[ -z ${PATCH_MATCH[index]-} || $kernelver =~ ${PATCH_MATCH[index]} ]] || continue
	say "applying ${PATCH[index]}"
	patch -p1 --batch <"patches/${PATCH[index]}" || fail "the patch ${PATCH[index]} of dkms.conf does not apply"
done

# Scripts of the tree; what they return DKMS passes over.
run_script() {
	[[ -n ${!1-} ]] || return 0
	[[ -x ${!1%% *} ]] || { say "note: $1 of dkms.conf is no program: ${!1%% *}"; return 0; }
	# shellcheck disable=SC2086
	(exec ./${!1}) || say "note: $1 of dkms.conf ended with exit code $?"
}

export KCFLAGS="-ffile-prefix-map=$our_tree=." KAFLAGS="-ffile-prefix-map=$our_tree=."
[[ ! -e /run/kmodfarm/prepare ]] || sh -ex /run/kmodfarm/prepare || fail "the step 'prepare' ended with exit code $?"
run_script PRE_BUILD
if [[ -n ${CLEAN-} ]]; then (eval "$CLEAN") >/dev/null 2>&1; fi
say "$command"
(eval "$command") || exit

# Before POST_BUILD, which may clear them away.
: "${BUILT_MODULE_NAME[0]:=$PACKAGE_NAME}"
mkdir -p /tmp/kmodfarm/built
for index in "${!BUILT_MODULE_NAME[@]}"; do
	name=${BUILT_MODULE_NAME[index]} location=${BUILT_MODULE_LOCATION[index]-}
	file=${location:+${location%/}/}$name.ko
	[[ -z ${DEST_MODULE_NAME[index]-} || ${DEST_MODULE_NAME[index]} == "$name" ]] ||
		say "note: DEST_MODULE_NAME would call $name ${DEST_MODULE_NAME[index]}; it keeps its own name"
	[[ " ${our_modules:-$name} " == *" $name "* ]] || continue
	[[ -f $file ]] || missing_module "$our_tree" "$file"
	cp -- "$file" "/tmp/kmodfarm/built/$name.ko"
	strip=${STRIP[index]-${STRIP[0]-yes}}
	[[ $strip == no ]] || strip=yes
	echo "$name $strip /tmp/kmodfarm/built/$name.ko" >>"$our_list"
done
run_script POST_BUILD
exit 0
