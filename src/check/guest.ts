/**
 * What runs inside the virtual machine, and what it says to us: an initramfs with busybox and the modules,
 * and a line protocol on the console, each line marked with a secret of this boot.
 */
import { type CpioEntry, cpioArchive } from "../formats/cpio.ts";

export interface GuestContent {
  /** A static busybox of the guest's architecture. */
  readonly busybox: Buffer;
  /** In the order of insertion. */
  readonly modules: readonly { readonly name: string; readonly bytes: Buffer }[];
  readonly nonce: string;
}

interface Step {
  readonly exitCode: number;
  readonly message: string;
}

export interface GuestReport {
  /** `uname -r` of the guest; undefined when it never got as far as saying it. */
  readonly release?: string;
  readonly taintBefore?: number;
  readonly taint?: number;
  readonly inserted: ReadonlyMap<string, Step>;
  readonly removed: ReadonlyMap<string, Step>;
  /** Kernel messages, as the guest read them after each step. */
  readonly log: readonly string[];
  readonly ended: boolean;
  /** Console lines that are not part of the protocol: all there is when the kernel died. */
  readonly lastWords: readonly string[];
}

export function guestArchive({ busybox, modules, nonce }: GuestContent): Buffer {
  const directories = ["dev", "proc", "sys", "modules"].map((path): CpioEntry => ({ path, mode: 0o040755 }));
  return cpioArchive([
    ...directories,
    { path: "dev/console", mode: 0o020600, rdev: { major: 5, minor: 1 } },
    { path: "bin/busybox", mode: 0o100755, content: busybox },
    {
      path: "init",
      mode: 0o100755,
      content: initScript(
        modules.map(({ name }) => name),
        nonce,
      ),
    },
    ...modules.map(
      ({ name, bytes }): CpioEntry => ({ path: `modules/${name}.ko`, mode: 0o100644, content: bytes }),
    ),
  ]);
}

/** Module names come from ELF files and are checked there; they are data of this script, never its text. */
function initScript(modules: readonly string[], nonce: string): string {
  return `#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
# From here on only a dying kernel writes to the console by itself.
echo 1 >/proc/sys/kernel/printk

say() { echo "@${nonce} $*"; }
messages() { $b dmesg -c | $b tail -n 200 | $b sed "s/^/@${nonce} log /"; }
step() {
	verb=$1 module=$2
	shift 2
	words=$("$@" 2>&1 </dev/null)
	code=$?
	messages
	say "$verb" "$module" "$code" "$words"
}

$b dmesg -c >/dev/null
say begin "$($b uname -r)" "$($b cat /proc/sys/kernel/tainted)"
loaded=
while read -r module; do
	step inserted "$module" $b insmod "/modules/$module.ko"
	[ "$code" = 0 ] || break
	loaded="$module $loaded"
done <<'MODULES'
${modules.join("\n")}
MODULES
for module in $loaded; do
	step removed "$module" $b rmmod "$module"
done
say end "$($b cat /proc/sys/kernel/tainted)"
$b poweroff -f
`;
}

/** Reads a console. Whatever is on it that is not a whole line of this boot's protocol is last words. */
export function readGuestReport(console: string, nonce: string): GuestReport {
  const inserted = new Map<string, Step>();
  const removed = new Map<string, Step>();
  const log: string[] = [];
  const lastWords: string[] = [];
  let begin: { release: string; taintBefore: number } | undefined;
  let end: { taint: number } | undefined;
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
    if (verb === "log") log.push(printable(words.join(" ")));
    else if (verb === "begin") begin = { release: words[0] ?? "", taintBefore: Number(words[1]) };
    else if (verb === "end" && /^\d+$/.test(words[0] ?? "")) end = { taint: Number(words[0]) };
    else if (verb === "inserted") inserted.set(words[0] ?? "", stepOf(words));
    else if (verb === "removed") removed.set(words[0] ?? "", stepOf(words));
  }
  return {
    ...begin,
    ...end,
    inserted,
    removed,
    log,
    ended: end !== undefined,
    lastWords: lastWords.slice(-40),
  };
}

function stepOf([, code, ...message]: readonly string[]): Step {
  return { exitCode: Number(code), message: printable(message.join(" ")) };
}

/** A console may carry anything, terminal control sequences included. */
function printable(text: string): string {
  return text
    .replace(/\p{Cc}\[[0-9;?]*[A-Za-z]/gu, "")
    .replace(/\p{Cc}/gu, "")
    .trim()
    .slice(0, 500);
}
