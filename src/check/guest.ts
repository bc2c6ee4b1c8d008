/**
 * What runs inside the virtual machine: an initramfs with busybox, the modules, and where there is one the
 * distribution's own kmod; and a script that does what is planned and reports each act on the console, each line marked
 * with a secret of this boot.
 */
import { type CpioEntry, cpioArchive } from "../formats/cpio.ts";
import { type GuestPlan, READY, SCRIPT, TAINTS_BY_PRESENCE, type Verb } from "./guest-plan.ts";

/** Modules that go in and out together. */
interface GuestSet {
  /** In the order of insertion; names are safe as paths. */
  readonly modules: readonly GuestModule[];
  /** A script of the driver's own, run while its modules are in; 0 is its good end. */
  readonly smoke?: string | undefined;
}

export interface GuestModule {
  readonly name: string;
  /** `doorbell.ko`, or `doorbell.ko.xz` where the nodes have it so. */
  readonly file: string;
  readonly bytes: Buffer;
}

export interface GuestContent {
  /** A static busybox of the guest's architecture. */
  readonly busybox: Buffer;
  /** kmod and the libraries it needs, where they belong; without, busybox inserts. */
  readonly kmod?: readonly CpioEntry[] | undefined;
  /** In-tree modules that the sets need, in the order of insertion; they stay in. */
  readonly tree: readonly GuestModule[];
  readonly sets: readonly GuestSet[];
  /** Marks what the guest's own script says; nothing that runs in the guest finds it in a file, an environment or a command line. */
  readonly secret: string;
}

/** Under emulation; a module that needs longer hangs. It is noticed after twice that time at the latest. */
const STEP_SECONDS = 30;

/** What a guest with this content is asked to do. */
export function planOf({ tree, sets }: Pick<GuestContent, "tree" | "sets">): GuestPlan {
  const names = (modules: readonly GuestModule[]) => modules.map(({ name }) => name);
  return {
    tree: names(tree),
    sets: sets.map(({ modules, smoke }) => ({ modules: names(modules), hasSmoke: smoke !== undefined })),
  };
}

export function guestArchive(content: GuestContent): Buffer {
  const { busybox, kmod = [], tree, sets, secret } = content;
  const directories = ["dev", "proc", "sys", "tmp"].map((path): CpioEntry => ({ path, mode: 0o040755 }));
  const file = (path: string, bytes: Buffer | string): CpioEntry => ({
    path,
    mode: 0o100644,
    content: bytes,
  });
  return cpioArchive([
    ...directories,
    { path: "dev/console", mode: 0o020600, rdev: { major: 5, minor: 1 } },
    { path: "bin/busybox", mode: 0o100755, content: busybox },
    { path: "init", mode: 0o100755, content: initScript(content) },
    { path: "secret", mode: 0o100400, content: `${secret}\n` },
    ...kmod,
    ...tree.map((one) => file(`tree/${one.file}`, one.bytes)),
    ...sets.flatMap(({ modules, smoke }, index) => [
      ...modules.map((one) => file(`sets/${index}/${one.file}`, one.bytes)),
      ...(smoke === undefined ? [] : [file(`sets/${index}/smoke`, smoke)]),
    ]),
  ]);
}

function initScript({ kmod, tree, sets }: GuestContent): string {
  // How a file is opened is kmod's own affair; to remove a module is one system call, whoever makes it.
  const insert = kmod === undefined ? "$b insmod" : "/usr/sbin/insmod";
  const treePlan = tree.map(({ name, file }) => `step tree ${name} ${insert} /tree/${file}`);
  const plan = sets.flatMap(({ modules, smoke }, index) => {
    const insertAll = (verb: Verb) => modules.map(({ name, file }) => `insert ${verb} ${name} ${file}`);
    return [
      `begin_set ${index}`,
      ...insertAll("inserted"),
      ...(smoke === undefined ? [] : ["smoke"]),
      "remove removed",
      ...insertAll("reinserted"),
      "remove reremoved",
      "end_set",
    ];
  });
  return `#!/bin/busybox sh
b=/bin/busybox
# Before anything of a driver runs, the secret leaves the file system, and where the kernel can (Yama), this shell's
# memory is closed for good to all other programs, root's too.
read -r secret </secret
: >/secret
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
# From here on only a dying kernel writes to the console by itself.
echo 1 >/proc/sys/kernel/printk
[ ! -e /proc/sys/kernel/yama/ptrace_scope ] || echo 3 >/proc/sys/kernel/yama/ptrace_scope

# To start a program is what costs here, so the shell does by itself what it can; and the words of a program could be read
# by others, the secret with them.
say() { echo "@$secret $*"; }
messages() {
	$b dmesg -c >/tmp/log
	[ -s /tmp/log ] || return 0
	$b tail -n 400 /tmp/log | while IFS= read -r line; do say log "$line"; done
}
taint() { taint=$($b cat /proc/sys/kernel/tainted); }
stop() {
	say end
	$b poweroff -f
	$b sleep 60
}
steps=0
step() {
	verb=$1 module=$2
	shift 2
	steps=$((steps + 1))
	echo "$steps $verb $module" >/tmp/step
	# Where what the kernel says from here on belongs to.
	echo "<6>kmodfarm: $verb $module" >/dev/kmsg
	"$@" >/tmp/said 2>&1 </dev/null
	code=$?
	said=
	[ -s /tmp/said ] && said=$($b head -c 1000 /tmp/said | $b tr '\\n' ' ')
	say "$verb" "$module" "$code" "$said"
}
# Whatever does not come back is reported, and ends this boot: nothing after it would mean anything.
watch() {
	before=none
	while $b sleep ${STEP_SECONDS}; do
		read -r at verb module </tmp/step
		[ "$at" = "$before" ] && messages && say hung "$verb" "$module" && $b poweroff -f
		before=$at
	done
}
begin_set() {
	set=$1 failed= loaded=
	say set "$set" "$taint"
}
insert() {
	[ -z "$failed" ] || return 0
	step "$1" "$2" ${insert} "/sets/$set/$3"
	if [ "$code" = 0 ]; then loaded="$2 $loaded"; else failed=yes; fi
}
remove() {
	for name in $loaded; do
		step "$1" "$name" $b rmmod "$name"
		[ "$code" = 0 ] || failed=yes
	done
	loaded=
}
smoke() {
	[ -z "$failed" ] || return 0
	cd "/sets/$set"
	step smoke ${SCRIPT} $b sh ./smoke
	cd /
	[ "$code" = 0 ] || failed=yes
}
end_set() {
	messages
	taint
	say done "$set" "$taint"
	[ $((taint & ~${TAINTS_BY_PRESENCE} & ~clean)) = 0 ] || stop
}

${sets.some(({ smoke }) => smoke !== undefined) ? "$b --install -s /bin\n" : ""}$b dmesg -c >/dev/null
taint
clean=$taint
say begin "$($b uname -r)" "$taint"
echo 0 >/tmp/step
watch &
${[...treePlan, "messages", "taint", `say ready ${READY} "$taint"`].join("\n")}
[ $((taint & ~${TAINTS_BY_PRESENCE} & ~clean)) = 0 ] || stop
${plan.join("\n")}
stop
`;
}
