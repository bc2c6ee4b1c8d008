#!/bin/bash
# Builds a tree of DKMS as the DKMS of the kernel's own release would, inside the sandbox. Started by build.sh, with its
# environment; bash because dkms.conf is bash.
#
#   $BUILD_DIRECTORY/source   the tree; it moves to where DKMS would build it, $dkms_tree/NAME/VERSION/build
#   $DKMS_VERSION             the version whose ways are followed; docs/drivers.md has them
#   $NEEDS                    names of the drivers that are there already, as BUILD_DEPENDS calls them
#   $1                        gets a line for each module: its name, whether to strip it (yes, no), its file
#   $2                        gets the directory that the tree moved to
module_list=$1 place=$2
shopt -s extglob
# shellcheck source=images/modules.sh
. /run/kmodfarm/modules.sh

say() { echo "kmodfarm: $*" >&2; }
note() { say "note: $*"; }
fail() {
	say "$*"
	exit 66
}
# What DKMS itself would end with: known for certain, whatever else the log says.
refuse() {
	echo "$*" >/output/refused.txt
	fail "$*"
}
exclude() {
	say "excluded: $*"
	echo "$*" >/output/excluded.txt
	exit 77
}

# Versions in DKMS's order: that of their texts, once every number has three digits at least.
pad() {
	local rest=$1 number
	REPLY=
	while [[ $rest =~ ^([^0-9]*)([0-9]+)(.*)$ ]]; do
		number=${BASH_REMATCH[2]} REPLY+=${BASH_REMATCH[1]} rest=${BASH_REMATCH[3]}
		while ((${#number} < 3)); do number=0$number; done
		REPLY+=$number
	done
	REPLY+=$rest
}
is_below() {
	local left REPLY
	pad "$1" && left=$REPLY
	pad "$2"
	[[ $left < $REPLY ]]
}
# Whether the version that is followed is at least $1.
since() { ! is_below "$DKMS_VERSION" "$1"; }

is_name() { [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9._+~:-]*$ ]]; }

# --- dkms.conf ---

# What dkms.conf may use, by DKMS's own names.
kernelver=$KVERSION arch=$(uname -m)
kernel_source_dir=$KERNEL_SOURCE kernel_config=$KERNEL_SOURCE/.config
since 3.1 && [[ -e $KERNEL_SOURCE/include/config/auto.conf ]] && kernel_config=$KERNEL_SOURCE/include/config/auto.conf
dkms_tree=$BUILD_DIRECTORY source_tree=/usr/src install_tree=/lib/modules tmp_location=/tmp
parallel_jobs=$JOBS
module=$DRIVER_NAME module_version=$DRIVER_VERSION

# The directives, in the order in which a value may hold those before it.
directives="PACKAGE_NAME PACKAGE_VERSION POST_ADD POST_BUILD POST_INSTALL POST_REMOVE PRE_BUILD PRE_INSTALL BUILD_DEPENDS"
exclusions="BUILD_EXCLUSIVE_KERNEL BUILD_EXCLUSIVE_ARCH"
since 3.0.9 && exclusions+=" BUILD_EXCLUSIVE_CONFIG"
since 3.0.11 && exclusions+=" BUILD_EXCLUSIVE_KERNEL_MIN BUILD_EXCLUSIVE_KERNEL_MAX"
directives+=" $exclusions build_exclude OBSOLETE_BY MAKE MAKE_MATCH PATCH PATCH_MATCH BUILT_MODULE_NAME"
directives+=" BUILT_MODULE_LOCATION DEST_MODULE_NAME DEST_MODULE_LOCATION STRIP AUTOINSTALL NO_WEAK_MODULES"
since 3.1 && directives+=" BUILD_DEPENDS_REBUILD"
if since 3.1; then directives+=" CLEAN"; else directives="CLEAN $directives"; fi
# Those that say what becomes of modules on the host that DKMS runs on.
elsewhere="PRE_INSTALL POST_INSTALL POST_REMOVE AUTOINSTALL NO_WEAK_MODULES BUILD_DEPENDS_REBUILD REMAKE_INITRD
	MODULES_CONF MODULES_CONF_OBSOLETES MODULES_CONF_ALIAS_TYPE MODULES_CONF_OBSOLETE_ONLY
	SIGN_TOOL SIGN_FILE MOK_SIGNING_KEY MOK_CERTIFICATE"
unknown="BUILD_EXCLUSIVE_CONFIG BUILD_EXCLUSIVE_KERNEL_MIN BUILD_EXCLUSIVE_KERNEL_MAX"

# Sets $indices to those of an array, with spaces between them whatever dkms.conf made of IFS.
indices_of() {
	local IFS=' '
	eval "indices=\"\${!$1[*]}\""
}

# Prints what dkms.conf leaves in its directives, as lines to be read by a shell once more: for DKMS a value is its words
# with one space between them, in double quotes. So it is read twice, and what $variables hold stays in here.
values_of() (
	read -r -d '' -a names <<<"$directives"
	read -r -d '' -a others <<<"$elsewhere $unknown $exclusions"
	cd /
	# shellcheck source=/dev/null
	. "$1" >&2
	for name in "${names[@]}"; do
		indices_of "$name"
		for index in $indices; do
			value="$name[$index]"
			value=${!value}
			! since 3.1 || value=${value%$'\r'}
			# shellcheck disable=SC2086
			set -- $name[$index]=\"$value\"
			echo "$@"
		done
	done
	for name in "${others[@]}"; do
		indices_of "$name"
		[[ -z $indices ]] || echo "given[$name]=yes"
	done
)

read_conf() {
	local name
	for name in $directives; do unset "$name"; done
	declare -gA given=()
	bash -n "$1" || note "dkms.conf is no shell script from there on; DKMS goes on with what stands above it"
	# What fails in it ends nothing, though it may say `set -e`: DKMS asks whether it went well.
	values_of "$1" >/tmp/kmodfarm/values || :
	# shellcheck source=/dev/null
	. /tmp/kmodfarm/values
}

# Trees as upstream has them leave name and version to whoever packages them.
our_tree=$BUILD_DIRECTORY/source${DIRECTORY:+/$DIRECTORY}
[[ -f $our_tree/dkms.conf ]] || fail "there is no $our_tree/dkms.conf"
sed -i -e "s/#MODULE_NAME#/$DRIVER_NAME/g" -e "s/#MODULE_VERSION#/$DRIVER_VERSION/g" "$our_tree/dkms.conf"
read_conf "$our_tree/dkms.conf" 2>/dev/null
is_name "${PACKAGE_NAME-}" && module=$PACKAGE_NAME
is_name "${PACKAGE_VERSION-}" && module_version=$PACKAGE_VERSION

# The tree where DKMS has it while it builds; dkms.conf is read again, since its values may hold that path.
home=$dkms_tree/$module/$module_version
mkdir -p "$home" && mv "$our_tree" "$home/build" || fail "the tree cannot be moved to $home"
our_tree=$home/build
ln -s build "$home/source"
[[ -e /usr/src/$module-$module_version ]] || ln -s "$our_tree" "/usr/src/$module-$module_version"
echo "$our_tree" >"$place"
say "building as DKMS $DKMS_VERSION does"
read_conf "$home/source/dkms.conf"

# What DKMS would not take. Each way out says all that is wrong, and refuses for the first.
faults=()
fault() { faults+=("$*") && say "dkms.conf: $*"; }
[[ -n ${PACKAGE_NAME-} ]] || fault "it has no PACKAGE_NAME"
[[ -n ${PACKAGE_VERSION-} ]] || fault "it has no PACKAGE_VERSION"

# A record is a module. Older versions count entries, and pass over those behind a gap.
records=0
for name in BUILT_MODULE_NAME BUILT_MODULE_LOCATION DEST_MODULE_NAME DEST_MODULE_LOCATION; do
	eval "indices=(\"\${!$name[@]}\")"
	count=${#indices[@]}
	if since 3.1 && ((count > 0)); then count=$((indices[count - 1] + 1)); fi
	((count <= records)) || records=$count
done
((records <= 1000)) || refuse "dkms.conf has $records records of modules, which is more than any driver has"

default_name=${PACKAGE_NAME-}
since 3.0 || default_name=$module
if since 3.1; then alone=$records; else alone=${#DEST_MODULE_LOCATION[@]}; fi
built=() locations=() destinations=() strips=()
for ((index = 0; index < records; index++)); do
	built[index]=${BUILT_MODULE_NAME[index]-}
	[[ -n ${built[index]} ]] || ((alone != 1)) || built[index]=$default_name
	destinations[index]=${DEST_MODULE_NAME[index]:-${built[index]}}
	locations[index]=${BUILT_MODULE_LOCATION[index]-}
	[[ -z ${locations[index]} || ${locations[index]} == */ ]] || locations[index]+=/
	# A word that begins with neither is no answer, and the answer is then yes.
	case ${STRIP[index]-} in
	[nN]*) strips[index]=no ;;
	'') strips[index]=${strips[0]:-yes} ;;
	*) strips[index]=yes ;;
	esac
	[[ -n ${built[index]} ]] || fault "record $index has no BUILT_MODULE_NAME"
	[[ ${built[index]} != *.@(o|ko) ]] || fault "BUILT_MODULE_NAME[$index] ends in .o or .ko: ${built[index]}"
	[[ ${destinations[index]} != *.@(o|ko) ]] || fault "DEST_MODULE_NAME[$index] ends in .o or .ko: ${destinations[index]}"
	case ${DEST_MODULE_LOCATION[index]-} in
	/kernel* | /updates* | /extra*) ;;
	'') fault "record $index has no DEST_MODULE_LOCATION" ;;
	*) fault "DEST_MODULE_LOCATION[$index] begins with none of /kernel, /updates and /extra" ;;
	esac
done
since 3.1 || ((records > 0)) || fault "it has no DEST_MODULE_LOCATION"

# Faults of newer versions only.
check_twice() {
	local what=$1 one seen=' '
	shift
	for one; do
		[[ $seen != *" $one "* ]] || fault "$what names $one twice"
		seen+="$one "
	done
}
if since 3.1; then
	places=()
	for index in "${!built[@]}"; do places+=("${locations[index]}${built[index]}"); done
	check_twice BUILT_MODULE_NAME "${places[@]}"
	check_twice DEST_MODULE_NAME "${destinations[@]}"
	for name in AUTOINSTALL BUILD_DEPENDS_REBUILD NO_WEAK_MODULES; do
		case ${!name-} in '' | [Yy][Ee][Ss] | [Nn][Oo]) ;; *) fault "$name is neither yes nor no: ${!name}" ;; esac
	done
fi
((${#faults[@]} == 0)) || refuse "DKMS $DKMS_VERSION does not take its dkms.conf: ${faults[0]}"

# --- which kernels and modules ---

# Says why directive $1 with value $2 does not take this kernel; nothing where it does.
objection() {
	local option
	case $1 in
	BUILD_EXCLUSIVE_KERNEL) [[ $kernelver =~ $2 ]] || echo "$kernelver" ;;
	BUILD_EXCLUSIVE_ARCH) [[ $arch =~ $2 ]] || echo "$arch" ;;
	BUILD_EXCLUSIVE_KERNEL_MIN) ! is_below "$kernelver" "$2" || echo "$kernelver" ;;
	BUILD_EXCLUSIVE_KERNEL_MAX) ! is_below "$2" "$kernelver" || echo "$kernelver" ;;
	BUILD_EXCLUSIVE_CONFIG)
		[[ -e $kernel_config ]] || return 0
		for option in $2; do
			if has_option "${option#!}"; then state=on; else state=off; fi
			case $option$state in
			!*on) echo "$kernelver, which has ${option#!}" ;;
			[!!]*off) echo "$kernelver, which has no $option" ;;
			esac
		done
		;;
	esac
}
has_option() {
	if since 3.1; then grep -q "^$1=[ym]" "$kernel_config"; else grep -q -E "^$1=[ym]" "$kernel_config"; fi
}

# Why entry $1 of the directives does not take this kernel.
exclusion_of() {
	local name value why
	for name in $exclusions; do
		value="$name[$1]"
		why=
		[[ -z ${!value-} ]] || why=$(objection "$name" "${!value}" | head -n 1)
		[[ -z $why ]] || echo "$name${2-}=\"${!value}\" of its dkms.conf does not take $why"
	done | head -n 1
}

reason=$(exclusion_of 0)
[[ -z $reason ]] || exclude "$reason"
[[ -z ${build_exclude-} ]] || exclude "build_exclude=\"$build_exclude\" of its dkms.conf"
[[ -n ${OBSOLETE_BY-} ]] && ! is_below "$kernelver" "$OBSOLETE_BY" &&
	exclude "OBSOLETE_BY=\"$OBSOLETE_BY\" of its dkms.conf: $kernelver has the driver itself"

cd "$our_tree" || fail "there is no $our_tree"
entries=(*)
((${#entries[@]} >= 2)) || refuse "DKMS finds no source beside its dkms.conf"

# What stands in dkms.conf and is not done, by name.
undone=()
for name in $elsewhere; do [[ -z ${given[$name]-} ]] || undone+=("$name"); done
((${#undone[@]} == 0)) || note "modules are not installed here: ${undone[*]} of dkms.conf is not done"
! since 3.1 || [[ -z ${CLEAN-} ]] || note "CLEAN of dkms.conf is not done: DKMS cleans before no build since 3.1"
for name in $unknown; do
	[[ -z ${given[$name]-} || " $exclusions " == *" $name "* ]] || note "DKMS $DKMS_VERSION does not know $name"
done

missing=()
for name in "${BUILD_DEPENDS[@]}"; do [[ " ${NEEDS-} " == *" $name "* ]] || missing+=("$name"); done
if ((${#missing[@]} > 0)); then
	! since 3.1 || refuse "BUILD_DEPENDS of its dkms.conf names what is not there: ${missing[*]}"
	note "nothing is known of what dkms.conf names in BUILD_DEPENDS: ${missing[*]}"
fi

# --- the build ---

# Source and exit code of a script of the tree; newer versions end with a script that fails.
run_script() {
	local name=$1 run=$home/$2/${!1-} code=0
	[[ -n ${!1-} ]] || return 0
	[[ -x ${run%% *} ]] || { note "$name of dkms.conf is no program: ${!1%% *}"; return 0; }
	say "running $name of dkms.conf: ${!1}"
	if since 3.1.7 && [[ $2 == build ]]; then
		(eval "cd $home/$2/ && $run") || code=$?
		((code == 0)) || refuse "the $name script ${!1} of dkms.conf ended with exit code $code"
	else
		# shellcheck disable=SC2086
		(cd "$home/$2" && exec $run) || code=$?
		((code == 0)) || note "the $name script ${!1} of dkms.conf ended with exit code $code, which DKMS passes over"
	fi
}

export KCFLAGS="-ffile-prefix-map=$our_tree=." KAFLAGS="-ffile-prefix-map=$our_tree=."
! since 3.1 || export KERNEL_CC=$CC
run_script POST_ADD source

# The last entry whose expression fits; the first one needs none. Entries behind a gap are not seen.
command=
[[ -n ${MAKE_MATCH[0]-} ]] || command=${MAKE[0]-}
for ((index = 0; index < ${#MAKE[@]}; index++)); do
	[[ -n ${MAKE[index]-} && -n ${MAKE_MATCH[index]-} && $kernelver =~ ${MAKE_MATCH[index]} ]] && command=${MAKE[index]}
done
[[ -n $command ]] || command="make -C $kernel_source_dir M=$our_tree"
# Who writes `make` in quotes wants no more than that.
command=${command/#make/make -j$parallel_jobs KERNELRELEASE=$kernelver}
clean=${CLEAN:-make -C $kernel_source_dir M=$our_tree clean}

for ((index = 0; index < ${#PATCH[@]}; index++)); do
	patch=${PATCH[index]-}
	[[ -n $patch && (-z ${PATCH_MATCH[index]-} || $kernelver =~ ${PATCH_MATCH[index]}) ]] || continue
	! since 3.1 || [[ patches/$patch != */../* ]] || refuse "the patch $patch of dkms.conf leads out of patches/"
	[[ -e patches/$patch ]] || refuse "the patch $patch of dkms.conf is not in patches/"
	say "applying $patch"
	(eval "patch -p1 < ./patches/$patch") || fail "the patch $patch of dkms.conf does not apply"
done

[[ ! -e /run/kmodfarm/prepare ]] || sh -ex /run/kmodfarm/prepare || fail "the step 'prepare' ended with exit code $?"
run_script PRE_BUILD build
if ! since 3.1; then
	say "cleaning first, as DKMS $DKMS_VERSION does: $clean"
	(eval "$clean") >/dev/null 2>&1
	command="{ $command; }"
fi
say "$command"
(eval "$command") || exit

# Before POST_BUILD, which may clear them away.
for index in "${!built[@]}"; do
	name=${built[index]} file=${locations[index]}${built[index]}.ko
	[[ ${destinations[index]} == "$name" ]] ||
		note "DEST_MODULE_NAME would call $name ${destinations[index]}; it keeps its own name"
	reason=
	((index == 0)) || reason=$(exclusion_of "$index" "[$index]")
	if [[ -n $reason ]] && { since 3.3 || [[ ! -e $file ]]; }; then
		since 3.3 || reason+="; DKMS $DKMS_VERSION does not know that, and would fail"
		note "$name is excluded: $reason"
		continue
	fi
	[[ " ${MODULES:-$name} " == *" $name "* ]] || continue
	[[ -f $file ]] || missing_module "$our_tree" "$file"
	mkdir -p "/tmp/kmodfarm/built/$index"
	cp -- "$file" "/tmp/kmodfarm/built/$index/$name.ko"
	echo "$name ${strips[index]} /tmp/kmodfarm/built/$index/$name.ko" >>"$module_list"
done
run_script POST_BUILD build
exit 0
