/**
 * What runs inside the virtual machine: an initramfs with busybox, the modules, and where there is one the
 * distribution's own kmod; and a script that does what is planned and reports each act on the console, each line marked
 * with a secret of this boot.
 */
import { type CpioEntry, cpioArchive } from "../../formats/cpio.ts";
import {
  type GuestPlan,
  READY,
  SCRIPT,
  SIGNALLED,
  STEP_SECONDS,
  TAINTS_BY_PRESENCE,
  type Verb,
  withLivePatches,
} from "./plan.ts";

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
  /** `name=value`, as insmod and modprobe take them. */
  readonly parameters?: readonly string[];
  /** What the kernel may ask for it by, beside its name. */
  readonly aliases?: readonly string[];
  /** What `modprobe` takes in before it, and after it. */
  readonly softdeps?: { readonly pre: readonly string[]; readonly post: readonly string[] };
}

/** Modules of the kernel's own, and what asks for them. */
export type GuestTree =
  /** All of them are there, in an archive before this one; names go to `modprobe`. */
  | { readonly kind: "whole"; readonly names: readonly string[] }
  /** These are inserted in their order, as busybox can; no others are there. */
  | { readonly kind: "some"; readonly modules: readonly GuestModule[] };

export interface GuestContent {
  /** A static busybox of the guest's architecture. */
  readonly busybox: Buffer;
  /** kmod and the libraries it needs, where they belong; without, busybox inserts. */
  readonly kmod?: readonly CpioEntry[] | undefined;
  /** What the sets need of the kernel's own; it stays in. */
  readonly tree: GuestTree;
  /** Live patches, in the order in which they are applied, before all else; they stay in. */
  readonly livePatches?: readonly GuestModule[];
  /** What they need of other drivers, in the order of insertion, after those; it stays in too. */
  readonly needs?: readonly GuestModule[];
  readonly sets: readonly GuestSet[];
  /** Whether its kernel is to say what it demands of modules. */
  readonly saysLockdown?: boolean;
  /** Marks what the guest's own script says; nothing that runs in the guest finds it in a file, an environment or a command line. */
  readonly secret: string;
}

/** Whether a name can go to `modprobe`: nothing else would find a module. */
export function isRequestable(name: string): boolean {
  return isPlainWord(name) && !name.startsWith("-");
}

/** For every task to leave the code that a live patch replaces: within a step. */
const TRANSITION_SECONDS = 20;

/** What a guest with this content is asked to do. */
export function planOf({
  livePatches = [],
  tree,
  needs = [],
  sets,
  saysLockdown = false,
}: Pick<GuestContent, "livePatches" | "tree" | "needs" | "sets" | "saysLockdown">): GuestPlan {
  const names = (modules: readonly GuestModule[]) => modules.map(({ name }) => name);
  return {
    livePatches: names(livePatches),
    tree: [...(tree.kind === "whole" ? tree.names : names(tree.modules)), ...names(needs)],
    sets: sets.map(({ modules, smoke }) => ({ modules: names(modules), hasSmoke: smoke !== undefined })),
    saysLockdown,
  };
}

export function guestArchive(content: GuestContent): Buffer {
  const { busybox, kmod = [], livePatches = [], tree, needs = [], sets, secret } = content;
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
    // For a shell that has them not in itself.
    ...["cat", "dmesg", "insmod", "rmmod"].map(
      (name): CpioEntry => ({ path: `bin/${name}`, mode: 0o120777, content: "busybox" }),
    ),
    { path: "init", mode: 0o100755, content: initScript(content) },
    { path: "secret", mode: 0o100400, content: `${secret}\n` },
    ...(tree.kind === "whole" ? kmod : kmod.filter(({ path }) => path !== MODPROBE)),
    ...requestPrograms(tree),
    ...(tree.kind === "whole" ? [] : tree.modules.map((one) => file(`tree/${one.file}`, one.bytes))),
    ...livePatches.map((one) => file(`livepatches/${one.file}`, one.bytes)),
    ...needs.map((one) => file(`needs/${one.file}`, one.bytes)),
    ...sets.flatMap(({ modules, smoke }, index) => [
      ...modules.map((one) => file(`sets/${index}/${one.file}`, one.bytes)),
      ...(smoke === undefined ? [] : [file(`sets/${index}/smoke`, smoke)]),
    ]),
  ]);
}

const MODPROBE = "usr/sbin/modprobe";

/** What the kernel, or a script, asks for modules: it leaves in the kernel's log what it could not give. */
function requestPrograms(tree: GuestTree): CpioEntry[] {
  const program = (path: string, text: string): CpioEntry => ({ path, mode: 0o100755, content: text });
  // The kernel starts a program with nothing open.
  const begin = "#!/bin/busybox sh\n[ -e /proc/self/fd/2 ] || exec </dev/null >/dev/null 2>&1\n";
  const last = `for name; do :; done\nname=\${name%%[!!-~]*}\n`;
  if (tree.kind === "some")
    return [
      program(MODPROBE, `${begin}${last}echo "<6>kmodfarm: asked for $name" >/dev/kmsg\nexit 1\n`),
      { path: "request", mode: 0o120777, content: MODPROBE },
    ];
  return [
    program(
      "request",
      `${begin}${last}said=$(/${MODPROBE} "$@" 2>&1) && exit 0
code=$?
[ -z "$said" ] || echo "<6>kmodfarm: $name did not go in: \${said%%
*}" >/dev/kmsg
exit $code
`,
    ),
    // Modules of a driver may be asked for before it is their turn; what goes in before each, and after it, comes along,
    // in whatever circle they name each other.
    program(
      "own",
      `${begin}name=$1 file=$2 before=$3 after=$4
shift 4
set -f
case " $coming " in *" $name "*) exit 0 ;; esac
export coming="$coming $name"
[ -z "$before" ] || /${MODPROBE} -qa -- $before
/usr/sbin/insmod "$file" "$@" || exit
: >"/tmp/in-$name"
[ -z "$after" ] || /${MODPROBE} -qa -- $after
exit 0
`,
    ),
    { path: "bin/sh", mode: 0o120777, content: "busybox" },
    { path: "etc/modprobe.d", mode: 0o040755 },
  ];
}

/** Words of a shell or of modprobe.d that mean themselves between quotes. */
function isPlainWord(word: string): boolean {
  return /^[!-&(-~]{1,200}$/.test(word);
}

const NONE = { pre: [], post: [] };
/** Read before modules.softdep, as the names of files go; the first softdep that kmod reads is the one that counts. */
const MODPROBE_CONF = "/etc/modprobe.d/driver.conf";

/**
 * Where `modprobe` finds the modules of a set, before those of the kernel's own with the same names. kmod runs no command of
 * a module for which it knows a `softdep`; so what belongs before and after one stands in its command, and an empty softdep
 * hides that of the kernel's own.
 */
function modprobeLines(modules: readonly GuestModule[], index: number): string[] {
  const softly = (names: readonly string[]) => `'${names.filter(isRequestable).join(" ")}'`;
  return modules.flatMap(({ name, file, aliases = [], parameters = [], softdeps: { pre, post } = NONE }) => [
    `install ${name} /own ${name} /sets/${index}/${file} ${softly(pre)} ${softly(post)} $CMDLINE_OPTS`,
    `softdep ${name} pre:`,
    ...(parameters.length === 0 ? [] : [`options ${name} ${parameters.join(" ")}`]),
    ...aliases
      .filter((alias) => isPlainWord(alias) && !alias.includes("\\"))
      .map((alias) => `alias ${alias} ${name}`),
  ]);
}

function configuring(modules: readonly GuestModule[], index: number): string {
  const lines = modprobeLines(modules, index).join("\n");
  return `echo '${lines.replaceAll("'", String.raw`'\''`)}' >${MODPROBE_CONF}`;
}

/** In a guest without live patches, nothing of this is there. */
function livePatchLines({ livePatches = [] }: GuestContent, insert: string): string[] {
  if (livePatches.length === 0) return [];
  return [
    `clean=$((${withLivePatches(0, livePatches)} | clean))`,
    `patch_live() {
	${insert} "$2" || return
	at=/sys/kernel/livepatch/$1 waited=0
	while [ "$(cat "$at/transition")" != 0 ] && [ "$waited" -lt ${TRANSITION_SECONDS} ]; do
		$b sleep 1
		waited=$((waited + 1))
	done
	for name in enabled transition replace stack_order; do
		[ ! -e "$at/$name" ] || echo "$name=$(cat "$at/$name")"
	done
	[ "$(cat "$at/enabled") $(cat "$at/transition")" = "1 0" ]
}`,
    ...livePatches.map(({ name, file }) => `step livepatch ${name} patch_live ${name} /livepatches/${file}`),
  ];
}

/** What goes in before all sets: the kernel's own modules, then those of other drivers. */
function treeLines({ tree, needs = [], sets }: GuestContent, insert: string): string[] {
  const inserting = (modules: readonly GuestModule[], place: string) =>
    modules.map(({ name, file }) => `step tree ${name} ${insert} /${place}/${file}`);
  const others = inserting(needs, "needs");
  if (tree.kind === "some") return [...inserting(tree.modules, "tree"), ...others];
  return [
    ...sets.slice(0, 1).map(({ modules }) => configuring(modules, 0)),
    ...tree.names.map((name) => `step tree '${name}' /${MODPROBE} -- '${name}'`),
    ...others,
  ];
}

function setLines({ tree, sets }: GuestContent): string[] {
  return sets.flatMap(({ modules, smoke }, index) => {
    const insertAll = (verb: Verb) =>
      modules.map(({ name, file, parameters = [] }) =>
        [`insert ${verb} ${name} ${file}`, ...parameters.map((one) => `'${one}'`)].join(" "),
      );
    return [
      ...(tree.kind === "whole" ? [configuring(modules, index)] : []),
      `begin_set ${index}`,
      ...insertAll("inserted"),
      ...(smoke === undefined ? [] : ["smoke"]),
      "remove removed",
      ...insertAll("reinserted"),
      "remove reremoved",
      "end_set",
    ];
  });
}

/**
 * A module may stand in for one of the kernel's own, and others of the kernel's own then hold it: these go out before it,
 * as with `modprobe -r`, and come in again with the next insertion.
 */
function wholeTreeFunctions(tree: GuestTree): string {
  if (tree.kind === "some") return `take_out() { rmmod "$1"; }\nbring_back() { :; }`;
  const names = tree.names.map((name) => `'${name}'`).join(" ");
  return `gone=
take_out() {
	for holder in /sys/module/$1/holders/*; do
		holder=\${holder##*/}
		case " $loaded" in *" $holder "*) continue ;; esac
		[ ! -e "/sys/module/$holder/initstate" ] || { gone=yes; take_out "$holder"; }
	done
	rmmod "$1"
}
bring_back() {
	[ -z "$gone" ] || /${MODPROBE} -qa -- ${names}
	gone=
}`;
}

/** By a bare name, busybox's shell runs what it has of that name itself, and that finds modules otherwise. */
const BY_KMOD = ["modprobe", "insmod"].map((name) => `${name}() { /usr/sbin/${name} "$@"; }; `).join("");

/** In the words of the kernel: `none [integrity] confidentiality`, and Y or N. */
const LOCKDOWN = `$b mount -t securityfs securityfs /sys/kernel/security
lockdown=[none] enforced=N
[ ! -r /sys/kernel/security/lockdown ] || read -r lockdown </sys/kernel/security/lockdown
[ ! -r /sys/module/module/parameters/sig_enforce ] || read -r enforced </sys/module/module/parameters/sig_enforce
lockdown=\${lockdown#*[}
[ "$enforced" = Y ] && enforced=1 || enforced=0
say lockdown "\${lockdown%]*}" "$enforced"
`;

function initScript(content: GuestContent): string {
  const { kmod, sets, tree } = content;
  // How a file is opened is kmod's own affair; removing a module is the same system call from any program.
  const insert = kmod === undefined ? "$b insmod" : "/usr/sbin/insmod";
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
echo /request >/proc/sys/kernel/modprobe
[ ! -e /proc/sys/kernel/yama/ptrace_scope ] || echo 3 >/proc/sys/kernel/yama/ptrace_scope

# To start a program is what costs here, so the shell does by itself what it can, and what is done for each module goes by
# bare names, which busybox's shell has in itself; and the words of a program could be read by others, the secret with them.
say() { echo "@$secret $*"; }
messages() {
	dmesg -c -s 40000 >/tmp/log
	while IFS= read -r line; do say log "$line"; done </tmp/log
}
taint() { taint=$(cat /proc/sys/kernel/tainted); }
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
	echo "$steps" >/tmp/step
	said=
	[ -s /tmp/said ] && said=$($b head -c 1000 /tmp/said | $b tr '\\n' ' ')
	say "$verb" "$module" "$code" "$said"
}
# Whatever does not come back is reported, and ends this boot: nothing after it would mean anything. Between two steps a
# guest may be slow.
watch() {
	before=none
	while $b sleep ${STEP_SECONDS}; do
		read -r at verb module </tmp/step
		[ -n "$verb" ] && [ "$at" = "$before" ] && messages && say hung "$verb" "$module" && $b poweroff -f
		before=$at
	done
}
begin_set() {
	set=$1 failed= loaded=
	say set "$set" "$taint"
}
insert() {
	[ -z "$failed" ] || return 0
	verb=$1 module=$2 file=/sets/$set/$3
	shift 3
	step "$verb" "$module" put_in "$module" "$file" "$@"
	if [ "$code" = 0 ]; then loaded="$module $loaded"; else failed=yes; fi
}
${wholeTreeFunctions(tree)}
# One that the kernel asked for before its turn is in already. Whether kmod opens a file shows the first time; after that a
# plain one goes in by the same system call from a program that needs no libraries.
put_in() {
	bring_back
	[ -e "/tmp/in-$1" ] && [ -e "/sys/module/$1/initstate" ] && return 0
	shift
	case $verb:$1 in
	reinserted:*.ko) insmod "$@" ;;
	*) ${insert} "$@" ;;
	esac
}
# What is still in use is tried again after the others, for as long as any of them goes out.
remove() {
	while [ -n "$loaded" ]; do
		held=
		for name in $loaded; do
			step "$1" "$name" take_out "$name"
			if [ "$code" -ge ${SIGNALLED} ]; then failed=yes; elif [ "$code" != 0 ]; then held="$held$name "; fi
		done
		if [ "$held" = "$loaded" ]; then failed=yes; break; fi
		loaded=$held
	done
	loaded=
}
smoke() {
	[ -z "$failed" ] || return 0
	cd "/sets/$set"
	step smoke ${SCRIPT} $b sh -c '${kmod === undefined ? "" : BY_KMOD}. ./smoke' ./smoke
	cd /
	[ "$code" = 0 ] || failed=yes
}
end_set() {
	messages
	taint
	say done "$set" "$taint"
	[ $((taint & ~${TAINTS_BY_PRESENCE} & ~clean)) = 0 ] || stop
}

${sets.some(({ smoke }) => smoke !== undefined) ? "$b --install -s /bin 2>/dev/null\n" : ""}$b dmesg -c >/dev/null
taint
clean=$taint
say begin "$($b uname -r)" "$taint"
${content.saysLockdown === true ? LOCKDOWN : ""}echo 0 >/tmp/step
watch &
${[...livePatchLines(content, insert), ...treeLines(content, insert), "messages", "taint", `say ready ${READY} "$taint"`].join("\n")}
[ $((taint & ~${TAINTS_BY_PRESENCE} & ~clean)) = 0 ] || stop
${setLines(content).join("\n")}
stop
`;
}
