# Part of kmodfarm-fetch: which sets of modules the node trusts (docs/sets.md). $host/etc/kmodfarm/sets has a root a line,
# HASH/LEVELS, or `registry` for those that the index names. Reads $host, $work, $blobs; $work/set says what was chosen,
# $work/leaf what the index says of it.

# is_marked FILE: whether it ends as everything does that is appended to a module.
is_marked() { printf '~Module signature appended~\n' >"$work/marker" && tail -c 28 "$1" | cmp -s - "$work/marker"; }
# hash_of: the SHA-256 of what comes in, as bytes.
hash_of() { openssl dgst -sha256 -binary; }
# number_at FILE OFFSET: the four bytes there, the highest first.
number_at() {
  set -- $(od -An -tu1 -j"$2" -N4 "$1")
  echo $((($1 << 24) + ($2 << 16) + ($3 << 8) + $4))
}
# proven MODULE SIZE PROOF: whether the first SIZE bytes of MODULE, without a signature, lead to one of $work/roots.
proven() {
  size=$2 length=$(wc -c <"$3") levels=$(((length - 44) / 32)) level=0
  dd if="$1" bs="$size" count=1 >"$work/module" 2>/dev/null || return
  if is_marked "$work/module"; then
    size=$((size - 40 - $(number_at "$work/module" $((size - 32)))))
    [ $size -gt 0 ] && dd if="$1" bs=$size count=1 >"$work/module" 2>/dev/null || return
  fi
  [ $((44 + 32 * levels)) -eq "$length" ] && is_marked "$3" || return
  [ "$(od -An -v -tx1 -j$((length - 40)) -N12 "$3" | tr -d ' \n')" = "$(printf '0000030000000000%08x' $((length - 40)))" ] || return
  position=$(number_at "$3" 0)
  { printf '\001' && dd if="$3" bs=4 count=1 2>/dev/null && cat "$work/module"; } | hash_of >"$work/now"
  while [ $level -lt $levels ]; do
    dd if="$3" bs=4 skip=$((1 + 8 * level)) count=8 >"$work/beside" 2>/dev/null
    [ $((position >> level & 1)) -eq 0 ] && pair='now beside' || pair='beside now'
    { printf '\002' && for one in $pair; do cat "$work/$one"; done; } | hash_of >"$work/above"
    mv -f "$work/above" "$work/now"
    level=$((level + 1))
  done
  grep -qx "$(od -An -v -tx1 "$work/now" | tr -d ' \n')/$levels" "$work/roots"
}
# demand_sets FOLDER: if the node demands it, each module of $work/set, which is in FOLDER, is in a set that the node trusts;
# its proof is laid beside it.
demand_sets() {
  demanded=$host/etc/kmodfarm/sets stranger="is in no set of modules that this node trusts"
  [ -e "$demanded" ] || return 0
  : >"$work/roots"
  while read -r one _ || [ -n "$one" ]; do
    case $one in
      '' | '#'*) ;;
      registry) sed -n 's|^set [^ ]* [^ ]* [^ ]* \([^ ]*\) \(.*\)$|\2/\1|p' "$work/leaf" >>"$work/roots" ;;
      *) printf '%s\n' "$one" | grep -x '[0-9a-f]\{64\}/[1-9][0-9]\{0,1\}' >>"$work/roots" || answer integrity "$demanded: '$one' is neither a root, HASH/LEVELS, nor registry" ;;
    esac
  done <"$demanded"
  while read -r key file _ size _; do
    [ "$key" = module ] || continue
    proof=''
    while read -r key one digest length; do [ "$key $one" != "proof $file" ] || { proof=$digest && break; }; done <"$work/leaf"
    [ -n "$proof" ] || answer integrity "$file $stranger: the registry has no proof of it"
    blob "$proof" $((length / 1024 + 1))
    proven "$1/$file" "$size" "$blobs/$proof" || answer integrity "$file $stranger: its proof leads to none of their roots"
    cmp -s "$blobs/$proof" "$1/$file.merkle" || { cp "$blobs/$proof" "$1/$file.merkle" && sync "$1/$file.merkle"; } 2>/dev/null ||
      answer cannotWrite "$1 cannot be written"
  done <"$work/set"
}
