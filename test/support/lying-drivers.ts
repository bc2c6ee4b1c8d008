/** Drivers that do not tell the truth of their load test, or of another's, and one that cannot work. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface LyingDriver {
  readonly name: string;
  /** Whose it is; default: its own. */
  readonly driver?: string;
  /** The body of the module's init. */
  readonly init: string;
  readonly exit?: string;
  readonly before?: string;
  readonly smoke?: string | undefined;
}

/** Takes the kernel down as it comes in. */
export const VICTIM: LyingDriver = { name: "victim", init: "*(volatile int *)8 = 1; return 0;" };

/**
 * A shell script that reports all that the guest's own script would, for all sets, with whatever it finds of a secret,
 * and powers off. `$b` is busybox.
 */
const wholeReport = (secret: string, console = "/dev/console") => `b=/bin/busybox
n=$(${secret})
say() { echo "@$n $*" >${console}; }
${REPORT}`;
const REPORT = `t=$($b cat /proc/sys/kernel/tainted)
set=- in=
say begin $($b uname -r) 0
say ready tree 0
$b sed -n '/^watch &/,$p' /init | while read -r what a c d; do
	case $what in
	begin_set) set=$a in=; say set "$set" "$t" ;;
	insert) say "$a" "$c" 0; [ "$a" = inserted ] && in="$c $in" ;;
	smoke) say smoke script 0 ;;
	remove) for m in $in; do say "$a" "$m" 0; done ;;
	end_set) say "done" "$set" "$t" ;;
	esac
done
say end
$b poweroff -f
`;

/** Looks for the secret where it may stand in a file. */
const IN_FILES = String.raw`$b sed -n 's/^say() { echo "@\([0-9a-f]*\) .*/\1/p' /init; $b cat /secret`;
const WHOLE_REPORT = wholeReport(IN_FILES);
const HEXADECIMAL = "$b grep -a -o '[0-9a-f]\\{32\\}' | $b head -n 1";

/** Reports everything from its smoke script. */
export const LIAR: LyingDriver = { name: "liar", init: "return 0;", smoke: WHOLE_REPORT };

/** Its removal makes the kernel warn, which a script is to hide. */
export const CHEAT: LyingDriver = { name: "cheat", init: "return 0;", exit: "WARN_ON(1);" };

/** Scripts that try to hide what a driver does, each in its own way. */
export const LIES: readonly (readonly [kind: string, smoke: string])[] = [
  ["with what files hold", WHOLE_REPORT],
  [
    "with what the shell's memory holds",
    wholeReport(`$b dd if=/proc/1/mem bs=4096 skip=1024 2>&1 | ${HEXADECIMAL}`),
  ],
  [
    "with what environments and command lines hold",
    wholeReport(`$b cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/cmdline | ${HEXADECIMAL}`),
  ],
  [
    "with what the machine's memory shows",
    wholeReport(`$b dd if=/dev/mem bs=65536 count=16 2>&1 | ${HEXADECIMAL}`),
  ],
  ["by the serial line itself", wholeReport(IN_FILES, "/dev/ttyS0")],
  ["by the kernel's own messages", wholeReport(IN_FILES, "/dev/kmsg")],
  ["by a process that stays", `(${WHOLE_REPORT}) &\nexit 0\n`],
  [
    "by what steps leave in files",
    'for file in said log step; do printf "\\n@ removed cheat 0 \\n@ end\\n" >/tmp/$file; done\n',
  ],
  [
    "by links in their place",
    "rm -f /tmp/said /tmp/log; ln -s /dev/console /tmp/said; ln -s /dev/null /tmp/log\n",
  ],
  [
    "by ending what watches",
    "for pid in $(pidof busybox sh); do [ $pid = 1 ] || [ $pid = $$ ] || kill -9 $pid; done\nexit 0\n",
  ],
  ["by words of their own", 'printf "\\r\\n@ end\\r\\n"; echo "@ done 0 0"\n'],
];

/** Does the same without a script: its module starts a program of the guest's. */
export const STARTER: LyingDriver = {
  name: "starter",
  before: `#include <linux/kmod.h>\nstatic char script[] = ${JSON.stringify(WHOLE_REPORT)};`,
  init: `char *argv[] = { "/bin/busybox", "sh", "-c", script, NULL };
	char *envp[] = { "PATH=/bin:/sbin", NULL };
	call_usermodehelper(argv[0], argv, envp, UMH_WAIT_PROC);
	return 0;`,
};

/** Writes down what there is of other drivers. */
export const SPY: LyingDriver = {
  name: "spy",
  init: "return 0;",
  smoke: 'for file in /sets/*/*; do echo "spy: $file" >/dev/kmsg; done\n',
};

/** Keeps the only processor, so that nothing in the guest can stop it, and fills the console. */
export const FLOOD: LyingDriver = {
  name: "flood",
  before: "#include <linux/io.h>\nstatic char buffer[65536];",
  init: `unsigned long times;
	memset(buffer, 'x', sizeof(buffer));
	local_irq_disable();
	for (times = 0; times < 1000000; times++)
		outsb(0x3f8, buffer, sizeof(buffer));
	return 0;`,
};

/** Writes a driver's source below a directory, and says how a farm is configured for it. */
export async function writeDriver(
  directory: string,
  { name, before = "", init, exit = "", smoke }: LyingDriver,
) {
  const source = join(directory, name);
  await mkdir(source, { recursive: true });
  await writeFile(join(source, "Kbuild"), `obj-m := ${name}.o\n`);
  await writeFile(
    join(source, `${name}.c`),
    `#include <linux/module.h>
#include <linux/string.h>
${before}
static int __init own_init(void)
{
	${init}
}
static void __exit own_exit(void) { ${exit} }
module_init(own_init);
module_exit(own_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("is not to be trusted");
`,
  );
  if (smoke !== undefined) await writeFile(join(source, "try.sh"), smoke);
  return { name, source, versions: ["1.0.0"], ...(smoke === undefined ? {} : { smoke: "try.sh" }) };
}
