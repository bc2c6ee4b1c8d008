/**
 * What a node's `modprobe` makes of modules: a plain guest with a kernel's whole package, kmod and depmod of a root of the
 * node's release, and nothing of the farm's.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface PlainKernel {
  readonly kversion: string;
  readonly vmlinuz: string;
  /** With lib/modules, unpacked. */
  readonly tree: string;
  /** Of the node's release, with kmod. */
  readonly root: string;
}

export interface NodeAnswer {
  /** Everything went in and out again, twice, and the kernel had nothing to complain of. */
  readonly loads: boolean;
  /** What each `modprobe` was asked, its exit code, and its words. */
  readonly steps: readonly string[];
  readonly console: string;
}

/**
 * Unpacks the packages of a boot image and its modules: one with both, or several. What of a kernel lies in neither
 * (from 7.x on: which modules are built in) comes from a root that has the kernel's headers.
 */
export async function plainKernel(
  debs: readonly string[],
  kversion: string,
  directory: string,
  root: string,
): Promise<PlainKernel> {
  await mkdir(directory, { recursive: true });
  for (const deb of debs) await run("dpkg-deb", ["-x", deb, directory]);
  const usr = join(directory, "usr");
  const tree = existsSync(join(usr, "lib", "modules", kversion)) ? usr : directory;
  const places = [
    join(directory, "boot", `vmlinuz-${kversion}`),
    join(tree, "lib/modules", kversion, "vmlinuz"),
  ];
  const vmlinuz = places.find(existsSync);
  const lists = join(root, "usr", "lib", "modules", kversion);
  for (const name of ["modules.builtin", "modules.builtin.modinfo", "modules.order"])
    await copyFile(join(lists, name), join(tree, "lib", "modules", kversion, name));
  if (vmlinuz === undefined) throw new Error(`no boot image of ${kversion} in ${debs.join(" ")}`);
  return { kversion, tree, vmlinuz, root };
}

/** Asks a node, booted with `modules` installed as dkms does it. */
export async function askNode(
  { kversion, tree, vmlinuz, root: release }: PlainKernel,
  modules: readonly { readonly name: string; readonly bytes: Buffer }[],
  directory: string,
): Promise<NodeAnswer> {
  const root = join(directory, "root");
  await rm(directory, { recursive: true, force: true });
  for (const name of ["bin", "dev", "proc", "sys", "tmp", "lib"])
    await mkdir(join(root, name), { recursive: true });
  await run("cp", ["-rl", join(tree, "lib", "modules"), join(root, "lib")]);
  const updates = join(root, "lib", "modules", kversion, "updates", "dkms");
  await mkdir(updates, { recursive: true });
  for (const { name, bytes } of modules) await writeFile(join(updates, `${name}.ko`), bytes);
  const depmod = 'mount --bind "$1" "$2/mnt" && chroot "$2" depmod -b /mnt "$3"';
  const argv = ["--mount", "--propagation", "private", "sh", "-c", depmod, "sh", root, release, kversion];
  await run("unshare", argv, { maxBuffer: 1 << 26 });
  await withPrograms(root, release);
  await writeFile(join(root, "init"), nodeScript(modules.map(({ name }) => name)), { mode: 0o755 });
  const initramfs = join(directory, "initramfs");
  await run("sh", [
    "-c",
    'cd "$1" && find . | cpio --create --format=newc --quiet >"$2"',
    "sh",
    root,
    initramfs,
  ]);
  const first = await boot(vmlinuz, initramfs);
  // Emulated kernels now and then die by themselves, before any program runs.
  const console = first.includes("MODPROBE ") ? first : await boot(vmlinuz, initramfs);
  await rm(directory, { recursive: true, force: true });
  return { ...readAnswer(console, modules.length), console };
}

/** What a guest wrote to its console until it ended. */
async function boot(vmlinuz: string, initramfs: string): Promise<string> {
  const { stdout } = await run(
    "qemu-system-x86_64",
    [
      ...[
        "-machine",
        "q35",
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-m",
        "1024",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
      ],
      ...[
        "-serial",
        "stdio",
        "-kernel",
        vmlinuz,
        "-initrd",
        initramfs,
        "-append",
        "console=ttyS0 panic=-1 quiet",
      ],
    ],
    { timeout: 600_000, maxBuffer: 1 << 26 },
  );
  return stdout;
}

/**
 * Reads a console.
 * @throws Error where another program than kmod answered to the name of `modprobe`
 */
export function readAnswer(console: string, modules: number): Omit<NodeAnswer, "console"> {
  if (!/^MODPROBE kmod version/m.test(console))
    throw new Error(`not kmod's modprobe: ${console.slice(-2000)}`);
  const steps = console.split(/\r?\n/).flatMap((line) => /^STEP (.*)$/.exec(line)?.[1] ?? []);
  const taint = Number(/^TAINT (\d+)/m.exec(console)?.[1] ?? -1);
  const isCalm = taint >= 0 && (taint & (128 | 512)) === 0;
  const isGood = (step: string) => /^(?:in|out) \S+ 0(?: |$)/.test(step);
  const loads = isCalm && steps.length === 4 * modules && steps.every(isGood);
  return { loads, steps: [...steps, `taint ${taint}`] };
}

/** busybox, and the release's kmod with the libraries that it needs or opens for compressed modules. */
async function withPrograms(root: string, release: string): Promise<void> {
  await copyFile("/bin/busybox", join(root, "bin", "busybox"));
  await copyFile(join(release, "bin", "kmod"), join(root, "bin", "kmod"));
  const { stdout } = await run("chroot", [release, "ldd", "/bin/kmod"]);
  const needed = [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path = ""]) => path);
  const opened = needed
    .filter((path) => path.includes("/libc.so."))
    .flatMap((path) => ["liblzma.so.5", "libzstd.so.1"].map((name) => join(dirname(path), name)))
    .filter((path) => existsSync(join(release, path)));
  for (const path of new Set([...needed, ...opened])) {
    await mkdir(join(root, dirname(path)), { recursive: true });
    await copyFile(join(release, path), join(root, path));
  }
  for (const name of ["modprobe", "insmod"]) {
    await mkdir(join(root, "sbin"), { recursive: true });
    await run("ln", ["-sfn", "../bin/kmod", join(root, "sbin", name)]);
  }
  await run("ln", ["-sfn", "busybox", join(root, "bin", "sh")]);
}

/** Programs are named by their paths: by a bare name, busybox's shell runs what it has of that name itself. */
export function nodeScript(names: readonly string[]): string {
  const round = [
    ...names.map((name) => `step "in ${name}" /sbin/modprobe ${name}`),
    `out_all ${names.toReversed().join(" ")}`,
  ];
  return `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
echo 1 >/proc/sys/kernel/printk
PATH=/sbin:/bin
step() {
	act=$1
	shift
	said=$("$@" 2>&1)
	echo "STEP $act $?" $said
}
# One that another's removal took along is out already.
out() {
	[ ! -e "/sys/module/$1/initstate" ] || /sbin/modprobe -r "$1"
}
# As a person does it: what is in use goes out after what uses it, whichever that is.
out_all() {
	while [ $# -gt 0 ]; do
		tried=" $*" held=
		for name; do
			system=$(echo "$name" | /bin/busybox tr - _)
			if said=$(out "$system" 2>&1); then echo "STEP out $name 0" $said; else held="$held $name"; fi
		done
		[ "$held" != "$tried" ] || break
		set -- $held
	done
	for name; do step "out $name" out "$(echo "$name" | /bin/busybox tr - _)"; done
}
echo "MODPROBE" $(/sbin/modprobe --version)
${[...round, ...round].join("\n")}
echo "TAINT $(/bin/busybox cat /proc/sys/kernel/tainted)"
/bin/busybox dmesg | /bin/busybox tail -n 60
/bin/busybox poweroff -f
`;
}
