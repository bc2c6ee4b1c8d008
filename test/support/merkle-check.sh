#!/bin/dash
# Whether a module belongs to a root by the proof beside it: MODULE SIDECAR HASH/LEVELS. The module is as kernels see it.
set -euf
bytes() { tr a-f A-F | basenc --base16 -d; }
hash() { sha256sum | cut -c 1-64; }
part() { tail -c "+$((${1} + 1))" "$sidecar" | head -c "$2" | od -An -v -tx1 | tr -d ' \n'; }
module=$1 sidecar=$2 root=${3%/*} levels=${3#*/}
proof=$((4 + 32 * levels))
[ "$(wc -c <"$sidecar")" -eq $((proof + 40)) ]
[ "$(part $proof 12)" = "$(printf '0000030000000000%08x' $proof)" ]
[ "$(tail -c 28 "$sidecar")" = '~Module signature appended~' ]
position=$(part 0 4)
now=$({ printf '01%s' "$position" | bytes; cat "$module"; } | hash)
position=$((0x$position)) level=0
while [ $level -lt "$levels" ]; do
  sibling=$(part $((4 + 32 * level)) 32)
  if [ $((position >> level & 1)) -eq 0 ]; then set -- "$now$sibling"; else set -- "$sibling$now"; fi
  now=$(printf '02%s' "$1" | bytes | hash)
  level=$((level + 1))
done
[ "$now" = "$root" ]
