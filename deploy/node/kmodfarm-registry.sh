# Part of kmodfarm-fetch: what a registry says, believed only as far as docs/registry.md lets a node believe it.
# Sets $value, $word and $why; reads $state, $work, $trust, $mirror, $mirrors, $patience, $loader, $here.

# answer WORD SENTENCE: the only way out. A full disk looks like any other failure, hence the probe.
answer() {
  case $1 in integrity | unreachable) { echo x >"$work/probe"; } 2>/dev/null || set -- cannotWrite "$state is full or read-only" ;; esac
  if [ -z "$json" ]; then printf '%s: %s\n' "$1" "$2"
  else
    printf '%s' "$2" | tr -c ' -~' '?' | sed 's/["\\]/\\&/g; 1s/^/{"schema":"kmodfarm.fetched\/1","answer":"'"$1"'","sentence":"/; $s/$/"}/' && echo
  fi
  case $1 in
    exact | loadsOn) exit 0 ;; integrity) exit 4 ;;
    cannotLoad | cannotWrite | unreachable | stale | busy) exit 3 ;; *) exit 1 ;;
  esac
}
refuse() { word=$1 why=$2; return 1; }

# --- Files from registries ----------------------------------------------------------------------------------------------
# get PATH KIB: into $work/got from $mirror. 0 there, 1 missing, 2 anything else. ulimit counts blocks of 512 bytes.
get() {
  rm -f "$work/got"
  case $mirror in
    http://* | https://*)
      { (ulimit -f $(($2 * 2)) && exec timeout "$patience" $loader "$work/got" "$mirror/$1") >/dev/null 9>&-; } 2>"$work/said" && return
      ! grep -q '\(error: \|ERROR \|HTTP/1\.[01] \)4\(04\|10\)' "$work/said" || return 1
      return 2 ;;
  esac
  [ -d "${mirror#file://}" ] || return 2
  [ -e "${mirror#file://}/$1" ] || return 1
  [ -f "${mirror#file://}/$1" ] && { (ulimit -f $(($2 * 2)) && exec cat "${mirror#file://}/$1" >"$work/got"); } 2>/dev/null || return 2
}
has_digest() { sum=$(sha256sum <"$1") && [ "${sum%% *}" = "$2" ]; }
# blob DIGEST KIB: makes sure that $blobs/DIGEST is there and what it should be.
blob() {
  [ -f "$blobs/$1" ] && has_digest "$blobs/$1" "$1" && { touch "$blobs/$1" 2>/dev/null || :; } && return
  wrong='' after=${1#??}
  for mirror in $mirrors $mirrors; do
    get "blobs/sha256/${1%"$after"}/$1" "$2" || continue
    has_digest "$work/got" "$1" || { wrong=$mirror; continue; }
    mv -f "$work/got" "$blobs/$1" 2>/dev/null && return || answer cannotWrite "$blobs cannot be written"
  done
  [ -z "$wrong" ] || answer integrity "what $wrong has as $1 is something else"
  answer unreachable "no registry gave $1${late:+ ($late)}"
}

# --- Lines ------------------------------------------------------------------------------------------------------------
# lines FORM FILE: whether FILE is printable ASCII of that form; $work/out has what kmodfarm-lines.awk prints of it.
lines() {
  left=$(tr -d '\012\040-\176' <"$2" | wc -c) && ends=$(tail -c 1 "$2" | wc -l) || return
  [ "$left" -eq 0 ] && [ "$ends" -eq 1 ] && awk -v form="$1" -f "$here/kmodfarm-lines.awk" "$2" >"$work/out"
}
# field KEY FILE: $value is what follows KEY in the one line that begins with it.
field() { while read -r key value; do [ "$key" != "$1" ] || return 0; done <"$2"; return 1; }
# in_order A B: whether that is how two words sort.
in_order() { [ "$1" != "$2" ] && printf '%s\n' "$1" "$2" | sort -c 2>/dev/null; }

# is_below VERSION: whether it is older than $floor, by the numbers that both begin with.
is_below() {
  [ "$floor" != - ] && awk -v a="$1" -v b="$floor" 'BEGIN {
    n = match(a, /^[0-9]+([.][0-9]+)*/) ? split(substr(a, 1, RLENGTH), x, ".") : 0
    m = match(b, /^[0-9]+([.][0-9]+)*/) ? split(substr(b, 1, RLENGTH), y, ".") : 0
    if (n == 0 || m == 0) exit !(n < m)
    for (i = 1; i <= n || i <= m; i++) if (x[i] + 0 != y[i] + 0) exit !(x[i] + 0 < y[i] + 0)
    exit 1 }'
}

# --- Who signed ---------------------------------------------------------------------------------------------------------
# signed TRUST ROLE: whether a threshold of the role's keys signed $work/text, each counted once. A false claim spoils all.
signed() {
  while read -r key role threshold trusted; do [ "$key $role" != "role $2" ] || break; done <"$1"
  field origin "$1" || return
  counted='' count=0 seen=0
  while IFS= read -r line; do
    encoded=${line##* } name=${line#— } name=${name%" ${line##* }"} seen=$((seen + 1))
    case $name$encoded in *[!!-~]*) return 1 ;; esac
    [ "$line" = "— $name $encoded" ] && [ $seen -le 16 ] || return
    printf '%s\n' "$encoded" | openssl base64 -d -A >"$work/raw" && again=$(openssl base64 -A -in "$work/raw") || return
    [ "$again" = "$encoded" ] && id=$(od -An -tx1 -N4 "$work/raw" | tr -d ' \n') && [ ${#id} -eq 8 ] || return
    [ "$name" = "$value" ] && tail -c +5 "$work/raw" >"$work/der" || continue
    claim=''
    for one in $trusted; do
      [ "${one#"$id"}" != "$one" ] || continue
      claim=false
      openssl dgst -sha256 -verify "$work/key-$one" -signature "$work/der" "$work/text" >/dev/null 2>&1 || continue
      case " $counted " in *" $one "*) ;; *) counted="$counted $one" count=$((count + 1)) ;; esac
      claim=true
      break
    done
    [ "$claim" != false ] || return 1
  done <"$work/signatures"
  [ $count -ge "$threshold" ]
}
# note FORM FILE: its text is $work/text, which has that form.
note() {
  strange=$(tr -d '\012\040-\176\200\224\342' <"$2" | wc -c) && ends=$(tail -c 1 "$2" | wc -l) || return
  [ "$strange" -eq 0 ] && [ "$ends" -eq 1 ] && sed '/^$/,$d' "$2" >"$work/text" && sed '1,/^$/d' "$2" >"$work/signatures" || return
  lines "$1" "$work/text"
}
root_note() {
  note root "$1" || return
  while read -r key one spki; do
    [ "$key" = key ] || continue
    printf '%s\n' "$spki" | openssl base64 -d -A >"$work/spki" && has_digest "$work/spki" "$one" || return
    { echo '-----BEGIN PUBLIC KEY-----' && printf '%s\n' "$spki" | fold -w 64 && echo '-----END PUBLIC KEY-----'; } >"$work/key-$one" || return
  done <"$work/text"
  field origin "$work/text" && [ "${origin:=$value}" = "$value" ] && signed "$work/text" root && field version "$work/text"
}
head_note() {
  note head "$1" && signed "$trust" head && field origin "$work/text" && [ "$value" = "$origin" ]
}
save() { cat "$1" >"$2.new" 2>/dev/null && sync "$2.new" && mv -f "$2.new" "$2" || answer cannotWrite "$2 cannot be written"; }
# is_fresh HEAD: neither that head nor the root has expired, and the clock is not before the last head was issued, unless
# this one corrects that time: who signs an earlier one later has found that the clock of then was wrong.
is_fresh() {
  now=$(date -u +%Y-%m-%dT%H:%M:%SZ) || return
  for one in "$trust" "$1"; do field expires "$one" && in_order "$now" "$value" || return; done
  [ -s "$work/last" ] && field issued "$work/last" && in_order "$now" "$value" || return 0
  before=$value
  field issued "$1" && in_order "$value" "$before"
}
# ask: the newest roots and head of $mirror.
ask() {
  while field version "$trust" && follows=$((value + 1)); do
    get "metadata/root/$follows" 64
    case $? in 1) break ;; 2) refuse unreachable "$mirror does not answer"; return ;; esac
    root_note "$work/got" && [ "$value" = $follows ] && signed "$trust" root ||
      { refuse integrity "root $follows of $mirror is malformed, or not signed by the keys before it and its own"; return; }
    save "$work/got" "$state/root"
    mv -f "$work/text" "$trust" || answer cannotWrite "$work cannot be written"
  done
  get metadata/head 768 || { refuse unreachable "$mirror gives no head"; return; }
  head_note "$work/got" || { refuse integrity "the head of $mirror is malformed, or its root does not trust who signed it"; return; }
  ! grep -q '^role log ' "$trust" || field log "$work/text" ||
    { refuse integrity "the head of $mirror names no log, and its root says who signs that"; return; }
  if [ -s "$work/last" ]; then
    if field log "$work/last"; then
      before=$value
      field log "$work/text" || value="0 none"
      both="seen before: ${before%% *} entries, root ${before#* }; shown now: ${value%% *} entries, root ${value#* }"
      [ "${value%% *}" -ge "${before%% *}" ] || { refuse integrity "the log of $mirror shrank ($both)"; return; }
      [ "${value%% *}" -gt "${before%% *}" ] || [ "$value" = "$before" ] || { refuse integrity "the log of $mirror forked ($both)"; return; }
    fi
    for one in serial generation; do
      field $one "$work/last" && before=${value%% *} && field $one "$work/text" || return
      [ "${value%% *}" -ge "$before" ] || { refuse integrity "$mirror was rolled back: $one ${value%% *} after $before"; return; }
      [ "$one ${value%% *}" != "serial $before" ] || cmp -s "$work/text" "$work/last" ||
        { refuse integrity "$mirror has another head of serial $before"; return; }
    done
  fi
  is_fresh "$work/text" || { refuse stale "head or root of $mirror have expired, or this clock is wrong"; return; }
}
