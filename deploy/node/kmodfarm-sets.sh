# Part of kmodfarm-fetch: a driver's sets of modules, on disk and in the kernel. $link leads to the set in place, which is one
# of two below $sets, where no depmod looks: modprobe must not find what is not in place. A set that the kernel took says so
# in .loaded, one that it did not take in .failed: both hold the id of the boot in which that was. Reads $host, $to, $base,
# $sets, $way, $link, $driver, $release, $build, $work, $floor.

# --- Which kernel they are for ---------------------------------------------------------------------------------------------
# next_kernel: $release and $build of $kernel, which is installed and does not run yet.
next_kernel() {
  release=$kernel image=$host/boot/vmlinuz-$kernel
  # Where packages have it: the one below /boot is a copy that is made later, or never.
  [ -f "$image" ] || image=$host/lib/modules/$kernel/vmlinuz
  # x86 has the words outside of what is compressed, at an offset that is written down; others are at most a gzip.
  if dd if="$image" bs=1 skip=514 count=4 2>/dev/null | grep -q HdrS; then
    offset=$(od -An -tu2 -j526 -N2 "$image") && dd if="$image" bs=1 skip=$((offset + 512)) count=400 2>/dev/null | tr '\0' '\n' | sed 's/^/Linux version /; q'
  else { gzip -dc "$image" || cat "$image"; } 2>/dev/null | tr '\0' '\n'; fi |
    sed -n "s/^Linux version $kernel (.*) \(#[0-9].*\)\$/\1/p" | sort -u >"$work/banner"
  lines_there=$(wc -l <"$work/banner") && [ "$lines_there" -eq 1 ] && read -r build <"$work/banner" ||
    answer unreachable "$image cannot be read here: run this again once that kernel is booted"
}

# --- On disk ------------------------------------------------------------------------------------------------------------
# kmod's depmod follows links, which a set needs; busybox's does not.
find_depmod() {
  depmod=''
  for one in /sbin/depmod /usr/sbin/depmod /bin/depmod /usr/bin/depmod; do
    [ -n "$depmod$to" ] || ! "$one" --version 2>/dev/null | grep -q kmod || depmod=$one
  done
}
index_modules() {
  [ -n "$to" ] || "$depmod" ${host:+-b "$host"} "$release" 2>"$work/said" || answer cannotWrite "depmod failed for $release"
  [ ! -L "$link" ] || : >"$link/.indexed"
}
# way_to PATH: all that is opened to get there, links that it goes through included, one a line; not what is there itself.
way_to() {
  at='' rest=$1 links=0
  while [ "$links" -lt 40 ]; do
    rest=${rest#"${rest%%[!/]*}"} && name=${rest%%/*} && rest=${rest#"$name"}
    case $name in '') return ;; .) continue ;; ..) at=${at%/*} && continue ;; esac
    echo "${at:-/}"
    if [ ! -L "$at/$name" ]; then at=$at/$name && continue; fi
    echo "$at/$name"
    links=$((links + 1)) && there=$(readlink "$at/$name") && rest=$there$rest
    case $there in /*) at='' ;; esac
  done
}
others="! -user 0 ! -user $(id -u)"
# strange_above PATH: what on the way there is another user's, or lets another put something else there.
strange_above() {
  case $1 in /*) whole=$1 ;; *) whole=$PWD/$1 ;; esac
  way_to "$whole" | while IFS= read -r one; do
    [ ! -e "$one" ] || find "$one" -prune '(' $others -o -type d -perm -2 ! -perm -1000 ')' -print
  done 2>&1
}
# require_own_state: what was kept is believed, so nobody else may have put it there.
require_own_state() {
  strange=$(
    strange_above "$state"
    find -H "$state" -prune '(' $others -o -perm -2 ! -perm -1000 ')' -print 2>&1
    for one in root head blobs; do
      [ ! -e "$state/$one" ] && [ ! -L "$state/$one" ] || find "$state/$one" -prune '(' $others -o -type l ')' -print 2>&1
    done
  )
  [ -z "$strange" ] || answer cannotWrite "$state cannot be trusted: another user owns, or may replace $(echo "$strange" | sed q)"
}
# require_own [MADE…]: what is in a folder that somebody named is this user's or root's, nobody else can write there, and nobody
# can put another in its place. What was made must be there: one who takes his own away for a moment would pass.
require_own() {
  [ -n "$to" ] || return 0
  strange="( $others -o -perm -2 ! -type l ) -print"
  strange=$(
    strange_above "$to"
    for one in "$@"; do find "$one" -prune $strange; done 2>&1
    for one in "$to" "$to/.sets" "$sets" "$sets/0" "$sets/1" "$link"; do
      [ -e "$one" ] || [ -L "$one" ] || continue
      find "$one" -prune $strange && find -H "$one" -prune $strange
    done 2>&1
    [ ! -d "$sets" ] || find "$sets" $strange 2>&1
  )
  [ -z "$strange" ] || answer cannotWrite "$link: another user owns, or everybody may write to $(echo "$strange" | sed q)"
}
# judge FILE: $denied says why what it lists must not be used, if so. Lines: kernel, version, modules.
judge() {
  denied='' && [ -r "$1" ] || return
  while read -r key one two; do
    case $key in
      version) ! is_below "$one" || denied="$one is below the least version $floor" ;;
      module) ! grep "^deny ${two%% *} " "$work/leaf" >"$work/denial" || read -r _ _ denied <"$work/denial" ;;
    esac
  done <"$1"
}
is_whole() { (cd "$1" && sha256sum -c .sums >/dev/null 2>&1); }
take_away() {
  rm -f "$link" 2>/dev/null || answer cannotWrite "$link must go, and cannot be removed"
  index_modules
}
# forget_removed: sets of kernels that are not installed any more go, and the links that kept their directories.
forget_removed() {
  [ -z "$to" ] || return 0
  running=$(uname -r) && all=$host/lib/modules
  set +f
  for one in "$all/.kmodfarm"/*; do
    was=$all/${one##*/}
    case ${one##*/} in "$release" | "$running" | '*') continue ;; esac
    [ ! -e "$was/kernel" ] && [ ! -e "$was/modules.builtin" ] || continue
    rm -rf "$was/updates/kmodfarm" "$one"
    rmdir "$was/updates" "$was"
  done 2>/dev/null
  set -f
}
# show SLOT: one rename of a link changes the set. Where mv knows no -T, there is a moment without any.
show() {
  { rm -f "$sets/link" && ln -s "$way/$1" "$sets/link" &&
    { mv -fT "$sets/link" "$link" || { rm -f "$link" && mv -f "$sets/link" "$link"; }; } && sync "$base"; } 2>/dev/null ||
    answer cannotWrite "$link cannot be written"
}
# choose_slot: $slot and $new are for the next set. What never loaded makes room before what did.
choose_slot() {
  slot=0 there=''
  [ ! -L "$link" ] || { there=$(readlink "$link") && there=${there##*/} && [ "$there" != 0 ] || slot=1; }
  if [ -n "$load$there" ] && [ -e "$sets/$slot/.loaded" ] && [ ! -e "$link/.loaded" ]; then
    judge "$sets/$slot/.set"
    [ -n "$denied" ] || { show "$slot" && slot=$((1 - slot)); }
  fi
  new=$sets/$slot
  [ -z "$load" ] || may_load
}

# --- In the kernel --------------------------------------------------------------------------------------------------------
boot_id() { cat "$host/proc/sys/kernel/random/boot_id" 2>/dev/null || :; }
# names SET: its modules in their order, as the kernel calls them.
names() { sed -n 's/^module \([^ ]*\)[.]ko .*/\1/p' "$1/.set" | tr - _; }
has_module() { [ -e "$host/sys/module/$1/initstate" ]; }
# marked SET MARK: whether it has that mark of this boot.
marked() { boot=$(boot_id) && [ -n "$boot" ] && [ "$(cat "$1/$2" 2>/dev/null)" = "$boot" ]; }
is_loaded() {
  marked "$link" .loaded || return
  for one in $(names "$link"); do has_module "$one" || return; done
}
# may_insert: whether this process could insert anything at all.
may_insert() {
  [ "$(cat "$host/proc/sys/kernel/modules_disabled" 2>/dev/null)" != 1 ] ||
    answer cannotLoad "this kernel takes no modules until the next boot (modules_disabled)"
  capabilities=$(sed -n 's/^CapEff:[^0-9a-f]*//p' /proc/self/status) && capabilities=${capabilities%????}
  case $capabilities in *[13579bdf]) ;; *) answer cannotLoad "this process may not insert modules: it has no CAP_SYS_MODULE" ;; esac
}
# may_load: the same, and whether the kernel refused this very set since it was booted.
may_load() {
  may_insert
  marked "$new" .failed && cmp -s "$work/set" "$new/.set" || return 0
  [ ! -L "$link" ] || load_set
  answer cannotLoad "$driver $version did not load; it is tried again after the next boot"
}
# make_room: nothing of the driver stays in the kernel, or all of it does.
make_room() {
  for old in "$sets/0" "$sets/1"; do
    [ -f "$old/.set" ] || continue
    for one in $(names "$old" | awk '{ all = $0 " " all } END { print all }'); do
      ! has_module "$one" || rmmod "$one" 2>"$work/said" && continue
      used=$one
      [ ! -L "$link" ] || insert "$link"
      answer cannotLoad "$used cannot be replaced while it is in use: stop what uses it, or boot again"
    done
  done
}
# insert SET: in order, each after what it needs of the kernel's own modules, with the parameters of modprobe.d.
insert() {
  while read -r key file _; do
    name=$(printf '%s' "${file%.ko}" | tr - _)
    [ "$key" = module ] && ! has_module "$name" || continue
    for one in $(modinfo -F depends "$1/$file" 2>/dev/null | tr , ' '); do
      [ -e "$host/sys/module/$one" ] || modprobe ${host:+-d "$host"} "$one" </dev/null 2>"$work/said" || return
    done
    parameters=$(modprobe ${host:+-C "$host/etc/modprobe.d"} -c 2>/dev/null | sed -n "s/^options $name //p")
    insmod "$1/$file" $parameters </dev/null 2>"$work/said" || return
  done <"$1/.set"
}
# reason: $said is what the kernel has against a module.
reason() {
  read -r said <"$work/said" || said="no reason was given"
  case $said in
    *"Operation not permitted"*) [ ! -e "$host/proc/sys/kernel/loadpin" ] || said="$said (LoadPin takes modules of one file system only)" ;;
    *"Permission denied"*) said="$said (IMA has a policy against it)" ;;
  esac
}
# load_set: the kernel takes what is in place, or what it took before comes back, on disk too.
load_set() {
  ! is_loaded || return 0
  may_insert
  make_room
  if insert "$link"; then boot_id >"$link/.loaded"; return; fi
  reason
  refused="$driver $version does not load: $said"
  make_room
  boot_id >"$link/.failed"
  there=$(readlink "$link") && there=${there##*/} && good=$sets/$((1 - there))
  if [ -e "$good/.loaded" ] && is_whole "$good" && read -r line <"$good/.set" && [ "$line" = "kernel $release $build" ] && judge "$good/.set" && [ -z "$denied" ]; then
    show $((1 - there))
    index_modules
    insert "$link" && boot_id >"$link/.loaded" && answer cannotLoad "$refused; what was loaded before is in place again, and loaded"
    reason
    answer cannotLoad "$refused; what was loaded before is in place again, and does not load any more: $said"
  fi
  take_away
  answer cannotLoad "$refused"
}
