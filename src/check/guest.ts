/**
 * What runs inside the virtual machine, and what it says to us: an initramfs with busybox, the modules, and where there
 * is one the distribution's own kmod; and a line protocol on the console, each line marked with a secret of this boot.
 */
import { type CpioEntry, cpioArchive } from "../formats/cpio.ts";

/** Modules that go in and out together. */
export interface GuestSet {
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
  readonly nonce: string;
}

const VERBS = ["inserted", "smoke", "removed", "reinserted", "reremoved"] as const;
type Verb = (typeof VERBS)[number];

export interface Step {
  readonly verb: Verb;
  readonly module: string;
  readonly exitCode: number;
  readonly message: string;
}

/** What became of one set. */
export interface SetReport {
  readonly taintBefore: number;
  /** Undefined when the kernel did not live to say it. */
  readonly taint?: number;
  readonly steps: readonly Step[];
  /** The step that took too long. */
  readonly hung?: Pick<Step, "verb" | "module">;
  /** Kernel messages, as the guest read them after the last step. */
  readonly log: readonly string[];
}

export interface GuestReport {
  /** `uname -r` of the guest; undefined when it never got as far as saying it. */
  readonly release?: string;
  /** What happened to in-tree modules that the sets need. */
  readonly tree: readonly Omit<Step, "verb">[];
  /** By their place among the sets of this boot; those that it never came to are missing. */
  readonly sets: ReadonlyMap<number, SetReport>;
  /** Kernel messages of the whole boot. */
  readonly log: readonly string[];
  readonly ended: boolean;
  /** Console lines that are not part of the protocol: all there is when the kernel died. */
  readonly lastWords: readonly string[];
}

/** What modules of others' may do to a kernel by being there: proprietary (P), out of tree (O), unsigned (E). */
export const TAINTS_BY_PRESENCE = (1 << 0) | (1 << 12) | (1 << 13);
/** Under emulation; a module that needs longer hangs. It is noticed after twice that time at the latest. */
const STEP_SECONDS = 30;

export function guestArchive(content: GuestContent): Buffer {
  const { busybox, kmod = [], tree, sets } = content;
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
    ...kmod,
    ...tree.map((one) => file(`tree/${one.file}`, one.bytes)),
    ...sets.flatMap(({ modules, smoke }, index) => [
      ...modules.map((one) => file(`sets/${index}/${one.file}`, one.bytes)),
      ...(smoke === undefined ? [] : [file(`sets/${index}/smoke`, smoke)]),
    ]),
  ]);
}

function initScript({ kmod, tree, sets, nonce }: GuestContent): string {
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
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
# From here on only a dying kernel writes to the console by itself.
echo 1 >/proc/sys/kernel/printk

# To start a program is what costs here, so the shell does by itself what it can.
say() { echo "@${nonce} $*"; }
messages() {
	$b dmesg -c >/tmp/log
	[ -s /tmp/log ] || return 0
	$b tail -n 200 /tmp/log | $b sed "s/^/@${nonce} log /"
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
	"$@" >/tmp/said 2>&1 </dev/null
	code=$?
	said=
	[ -s /tmp/said ] && said=$($b head -c 1000 /tmp/said | $b tr '\\n' ' ')
	say "$verb" "$module" "$code" "$said"
}
# Whatever does not come back is told of, and ends this boot: nothing after it would mean anything.
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
	step smoke script $b sh ./smoke
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
${[...treePlan, "messages"].join("\n")}
${plan.join("\n")}
stop
`;
}

interface OpenSet {
  readonly taintBefore: number;
  taint?: number;
  readonly steps: Step[];
  hung?: Pick<Step, "verb" | "module">;
  readonly log: string[];
}

/** Reads a console. Whatever is on it that is not a whole line of this boot's protocol is last words. */
export function readGuestReport(console: string, nonce: string): GuestReport {
  const sets = new Map<number, OpenSet>();
  const tree: Omit<Step, "verb">[] = [];
  const log: string[] = [];
  const lastWords: string[] = [];
  let [release, ended, current] = [undefined, false, undefined] as [
    string | undefined,
    boolean,
    OpenSet | undefined,
  ];
  const lines = console.replaceAll("\r", "").split("\n");
  const cutOff = lines.length - 1;
  for (const [index, line] of lines.entries()) {
    const mark = index === cutOff ? -1 : line.indexOf(`@${nonce} `);
    if (mark < 0) {
      const plain = printable(line);
      if (plain !== "") lastWords.push(plain);
      continue;
    }
    const [verb = "", ...words] = line.slice(mark + nonce.length + 2).split(" ");
    const [first = "", second = ""] = words;
    if (verb === "log") {
      log.push(printable(words.join(" ")));
      current?.log.push(log.at(-1) as string);
    } else if (verb === "begin") release = first;
    else if (verb === "tree") tree.push(stepOf(words));
    else if (verb === "set" && isNumber(first) && isNumber(second)) {
      current = { taintBefore: Number(second), steps: [], log: [] };
      sets.set(Number(first), current);
    } else if (verb === "done" && isNumber(second)) {
      if (current !== undefined) current.taint = Number(second);
      current = undefined;
    } else if (verb === "end") ended = true;
    else if (verb === "hung" && current !== undefined && isVerb(first))
      current.hung = { verb: first, module: printable(second) };
    else if (isVerb(verb)) current?.steps.push({ verb, ...stepOf(words) });
  }
  return {
    ...(release === undefined ? {} : { release }),
    ...{ tree, sets, log, ended },
    lastWords: lastWords.slice(-40),
  };
}

function isVerb(word: string): word is Verb {
  return (VERBS as readonly string[]).includes(word);
}

function isNumber(word: string): boolean {
  return /^\d{1,9}$/.test(word);
}

function stepOf([module = "", code, ...message]: readonly string[]): Omit<Step, "verb"> {
  return { module: printable(module), exitCode: Number(code), message: printable(message.join(" ")) };
}

/** A console may carry anything, terminal control sequences included. */
function printable(text: string): string {
  return text
    .replace(/\p{Cc}\[[0-9;?]*[A-Za-z]/gu, "")
    .replace(/\p{Cc}/gu, "")
    .trim()
    .slice(0, 500);
}
