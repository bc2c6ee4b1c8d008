#!/bin/sh
# Which modules of a tree this build made, and what to say of one that it did not make. Sourced by build.sh and dkms.sh.
#
#   /run/kmodfarm/given   digest and path of each .ko that lay in the driver's source; the list has the time that all
#                         files of the laid tree have, and so has such a module unless it was written anew
#
# What lay there is no output, wherever the build copies it to. Environment: KIND [DIRECTORY].

# Notes which of them lie in the tree $1 as they did, or are gone.
note_given() {
	: >/tmp/kmodfarm/given
	[ ! -s /run/kmodfarm/given ] || while read -r digest path; do
		file=$1/$path
		[ "$KIND" != dkms ] || file=$1/${path#"${DIRECTORY-}/"}
		[ -e "$file" ] && { [ "$file" -nt /run/kmodfarm/given ] || [ "$file" -ot /run/kmodfarm/given ]; } ||
			echo "$digest $path"
	done </run/kmodfarm/given >/tmp/kmodfarm/given
}

# Where in the source the module lay that the file $1 holds; nothing for one that was made.
given_at() {
	[ -s /tmp/kmodfarm/given ] || return 0
	digest=$(sha256sum <"$1")
	sed -n "s/^${digest%% *} //p" /tmp/kmodfarm/given | head -n 1
}

# Lists the files below the tree $1 that are modules of this build.
made_modules() {
	note_given "$1"
	find "$1" -type f -name '*.ko' | LC_ALL=C sort | while read -r file; do
		place=$(given_at "$file")
		if [ -z "$place" ]; then
			echo "$file"
		else
			echo "kmodfarm: note: $place lay in the source already, so it is no module of this build" >&2
		fi
	done
}

# Ends a build that ought to have made the module $2: a path in the tree $1, or its name; empty: any at all.
missing_module() {
	name=${2##*/}
	made=$(made_modules "$1" 2>/dev/null | while read -r file; do echo "${file#"$1"/}"; done)
	there=$(echo "$made" | grep -F -x -e "$name" || echo "$made" | grep -F -e "/$name" || :)
	given=$(find "$1" -type f -name "${name:-*.ko}" | LC_ALL=C sort | while read -r file; do given_at "$file"; done | head -n 1)
	if [ -n "$name" ] && [ -n "$there" ]; then
		fact=", but it gave $(echo $there)"
	elif [ -n "$given" ]; then
		fact=" of its own: $given lay in the source already"
	elif [ -n "$made" ]; then
		fact="; it gave $(echo $made)"
	elif [ -e Makefile ] && is_kbuild_alone; then
		fact=" and no other: Kbuild alone was called"
	else
		fact=" and no other"
	fi
	echo "kmodfarm: the build gave no ${2:-module}$fact" >&2
	exit 66
}

# Whether the driver's own makefile had no say in which command builds it.
is_kbuild_alone() {
	case $KIND in
	dkms) ! grep -q -E '^[[:space:]]*MAKE(\[|=)' dkms.conf ;;
	*) [ ! -e /run/kmodfarm/make ] ;;
	esac
}
