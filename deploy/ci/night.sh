#!/bin/sh
# The night on any CI system: machines that share nothing but a place to copy files to and from (docs/ci.md).
#
#   night.sh plan             then, for each id in orders/shards.json, on as many machines as there are:
#   night.sh build SHARD
#   night.sh check SHARD      then:
#   PLAN=sha256:… night.sh publish
#
# SHARED  a directory of this night that every machine sees, or the address of one in a bucket
# COPY    copies a directory's content: `COPY FROM TO` (default: cp -R; for a bucket: aws s3 cp --recursive, rclone copy)
# CONFIG  the configuration (default: kmodfarm.yaml); only plan and publish read it, and only they know the store
# PLAN    what `plan` printed at its end; publish believes no other orders, whoever could write to SHARED
# WORK    more options for `kmodfarm work`, like --private-host mirror.lan
set -eu
: "${SHARED:?the directory of this night}" "${CONFIG:=kmodfarm.yaml}" "${WORK:=}"

copy_directory() {
	mkdir -p "$2"
	cp -R "$1/." "$2"
}
: "${COPY:=copy_directory}"

task=${1:?plan, build, check or publish}
shard=${2-}
case $task in
build | check) : "${shard:?the id of a shard}" ;;
esac

case $task in
plan)
	# An earlier plan is not this one's.
	rm -f orders/matrix.json orders/shards.json orders/plan.digest
	# What is wrong with a source or an element is reported by publish.
	kmodfarm plan --config "$CONFIG" --read-only --out orders || test -s orders/matrix.json
	$COPY orders "$SHARED/orders"
	cat orders/plan.digest
	;;
build)
	$COPY "$SHARED/orders" orders
	status=0
	kmodfarm work orders --shard "$shard" --out built $WORK || status=$?
	# What was finished before a fault is handed over too.
	$COPY built "$SHARED/built/$shard"
	exit $status
	;;
check)
	$COPY "$SHARED/orders" orders
	$COPY "$SHARED/built/$shard" built
	status=0
	kmodfarm work orders --shard "$shard" --after built --out checked $WORK || status=$?
	$COPY checked "$SHARED/checked/$shard"
	exit $status
	;;
publish)
	: "${PLAN:?what the plan of this night printed at its end}"
	$COPY "$SHARED/orders" orders
	mkdir -p handovers
	$COPY "$SHARED/built" handovers/built || echo "no build was handed over" >&2
	$COPY "$SHARED/checked" handovers/checked || echo "no load test was handed over" >&2
	set --
	last=
	for handed in handovers/*/*/*.tar; do
		place=${handed%/*}
		# Links that a machine left there lead to files of this one.
		if [ "$place" = "$last" ] || [ -L "$place" ] || [ ! -f "$handed" ]; then continue; fi
		last=$place
		set -- "$@" "$place"
	done
	kmodfarm take --config "$CONFIG" --orders orders --plan "$PLAN" --catalog --no-load -- "$@"
	;;
*)
	echo "night.sh: no task $task" >&2
	exit 2
	;;
esac
