#!/bin/sh
# Stands in for uname(1) inside the sandbox: answers for the kernel that is built for, not the one that runs.
# /run/kmodfarm/target holds kernel release and machine, one a line.
{ read -r release; read -r machine; } </run/kmodfarm/target

s=Linux n=kmodfarm r=$release v='#1 SMP kmodfarm' m=$machine o=GNU/Linux
[ $# -gt 0 ] || set -- -s
answer=
for option in "$@"; do
	case $option in
	-a | --all) answer="$s $n $r $v $m $o"; break ;;
	-s | --kernel-name) answer="$answer $s" ;;
	-n | --nodename) answer="$answer $n" ;;
	-r | --kernel-release) answer="$answer $r" ;;
	-v | --kernel-version) answer="$answer $v" ;;
	-m | --machine | -p | --processor | -i | --hardware-platform) answer="$answer $m" ;;
	-o | --operating-system) answer="$answer $o" ;;
	-*[!asnrvmpio-]*) echo "uname: $option is not an option this sandbox knows" >&2; exit 1 ;;
	-??*)
		rest=${option#-} words=
		while [ -n "$rest" ]; do
			words="$words -${rest%"${rest#?}"}"
			rest=${rest#?}
		done
		# shellcheck disable=SC2086
		answer="$answer $("$0" $words)"
		;;
	*) echo "uname: extra operand '$option'" >&2; exit 1 ;;
	esac
done
echo "${answer# }"
