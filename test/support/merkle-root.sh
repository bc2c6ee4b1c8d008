#!/bin/dash
# The root over modules, by sha256sum alone: standard input names the files in their order, uncompressed and unsigned.
set -euf
bytes() { tr a-f A-F | basenc --base16 -d; }
hash() { sha256sum | cut -c 1-64; }
position=0 row='' levels=0
while read -r file; do
  row="$row $({ printf '01%08x' "$position" | bytes; cat "$file"; } | hash)"
  position=$((position + 1))
done
set -- $row
while [ $# -gt 1 ] || [ "$#/$levels" = 1/0 ]; do
  row=''
  while [ $# -gt 0 ]; do
    row="$row $(printf '02%s%s' "$1" "${2:-$1}" | bytes | hash)"
    shift
    [ $# -eq 0 ] || shift
  done
  set -- $row
  levels=$((levels + 1))
done
[ $# -gt 0 ] || set -- "$(printf '%064d' 0)"
echo "$1/$levels"
