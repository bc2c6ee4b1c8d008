/**
 * What a node's `modprobe` makes of modules: a plain guest with a kernel's whole package, the machine's own kmod and depmod,
 * and nothing of the farm's.
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
}

export interface NodeAnswer {
  /** Everything went in and out again, twice, and the kernel had nothing to complain of. */
  readonly loads: boolean;
  /** Exit code of each `modprobe`, with what it was asked. */
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
  return { kversion, tree, vmlinuz };
}

/** Asks a node, booted with `modules` installed as dkms does it. */
export async function askNode(
  { kversion, tree, vmlinuz }: PlainKernel,
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
  await run("depmod", ["-b", root, kversion], { maxBuffer: 1 << 26 });
  await withPrograms(root);
  await writeFile(join(root, "init"), script(modules.map(({ name }) => name)), { mode: 0o755 });
  const initramfs = join(directory, "initramfs");
  await run("sh", [
    "-c",
    'cd "$1" && find . | cpio --create --format=newc --quiet >"$2"',
    "sh",
    root,
    initramfs,
  ]);
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
  await rm(directory, { recursive: true, force: true });
  const steps = stdout.split(/\r?\n/).flatMap((line) => /^STEP (.*)$/.exec(line)?.[1] ?? []);
  const taint = Number(/^TAINT (\d+)/m.exec(stdout)?.[1] ?? -1);
  const isCalm = taint >= 0 && (taint & (128 | 512)) === 0;
  const isWhole = steps.length === 4 * modules.length && steps.every((step) => step.endsWith(" 0"));
  return { loads: isCalm && isWhole, steps: [...steps, `taint ${taint}`], console: stdout };
}

/** busybox, and kmod with the libraries that it needs. */
async function withPrograms(root: string): Promise<void> {
  await copyFile("/bin/busybox", join(root, "bin", "busybox"));
  await copyFile("/bin/kmod", join(root, "bin", "kmod"));
  const { stdout } = await run("ldd", ["/bin/kmod"]);
  for (const [, path = ""] of stdout.matchAll(/(\/\S+) \(0x/g)) {
    await mkdir(join(root, dirname(path)), { recursive: true });
    await copyFile(path, join(root, path));
  }
  for (const name of ["modprobe", "insmod"]) {
    await mkdir(join(root, "sbin"), { recursive: true });
    await run("ln", ["-sfn", "../bin/kmod", join(root, "sbin", name)]);
  }
  await run("ln", ["-sfn", "busybox", join(root, "bin", "sh")]);
}

function script(names: readonly string[]): string {
  const round = [
    ...names.map((name) => `modprobe ${name} 2>&1; echo "STEP in ${name} $?"`),
    // One that another's removal took along is out already.
    ...names.toReversed().map((name) => `out ${name.replaceAll("-", "_")} 2>&1; echo "STEP out ${name} $?"`),
  ];
  return `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
echo 1 >/proc/sys/kernel/printk
PATH=/sbin:/bin
out() { [ ! -e "/sys/module/$1/initstate" ] || modprobe -r "$1"; }
${[...round, ...round].join("\n")}
echo "TAINT $(/bin/busybox cat /proc/sys/kernel/tainted)"
/bin/busybox dmesg | /bin/busybox tail -n 60
/bin/busybox poweroff -f
`;
}
