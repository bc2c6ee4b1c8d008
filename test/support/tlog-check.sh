#!/bin/dash
# Whether an entry is in a log: PROOF KEY ORIGIN, with the log's public key in PEM. Prints the entry.
set -euf
bytes() { tr a-f A-F | basenc --base16 -d; }
hash() { sha256sum | cut -c 1-64; }
hex() { od -An -v -tx1 | tr -d ' \n'; }
proof=$1 key=$2 origin=$3 work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed '/^$/,$d' "$proof" >"$work/head"
sed '1,/^$/d' "$proof" | sed '/^$/,$d' >"$work/text"
sed '1,/^$/d' "$proof" | sed '1,/^$/d' | sed -n "s|^— $origin ||p" | base64 -d | tail -c +5 >"$work/signature"
openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$work/text" -sigfile "$work/signature" >/dev/null
{ read -r name; read -r size; read -r root; } <"$work/text"
[ "$name" = "$origin" ]
{ read -r heading; read -r _ entry; read -r _ index; } <"$work/head"
[ "$heading" = c2sp.org/tlog-proof@v1 ]
[ "$index" -lt "$size" ]
now=$({ printf 00 | bytes; printf %s "$entry" | base64 -d; } | hash)
last=$((size - 1)) at=$index
for sibling in $(sed 1,3d "$work/head"); do
  [ $last -gt 0 ]
  sibling=$(printf %s "$sibling" | base64 -d | hex)
  if [ $((at % 2)) -eq 1 ] || [ $at -eq $last ]; then
    now=$(printf '01%s%s' "$sibling" "$now" | bytes | hash)
    while [ $((at % 2)) -eq 0 ] && [ $at -ne 0 ]; do at=$((at / 2)) last=$((last / 2)); done
  else now=$(printf '01%s%s' "$now" "$sibling" | bytes | hash); fi
  at=$((at / 2)) last=$((last / 2))
done
[ $last -eq 0 ]
[ "$now" = "$(printf %s "$root" | base64 -d | hex)" ]
printf %s "$entry" | base64 -d
