/**
 * A node: a machine of a Debian release that boots that release's kernel from a disk of its own, and keeps what is written
 * there. It reaches this machine's loopback as 10.0.2.2, does what it is told there, and says on its console what came of it.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, copyFile, cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { unpackWhole } from "../../src/base/decompress.ts";
import { readHostMirrors } from "../../src/catalog/apt-host.ts";
import type { Firmware } from "../../src/check/guest/firmware.ts";
import { readVmlinuz, versionInBanner } from "../../src/formats/vmlinuz.ts";
import { debian } from "../../src/kernel/distributions/debian.ts";
import { debianRoot } from "./debian-root.ts";
import { CHECKOUT, TEST_CACHE } from "./e2e-mirror.ts";

const run = promisify(execFile);
const MOST_OUTPUT = { maxBuffer: 1 << 28 };
const UNNEEDED = ["man", "doc", "info", "locale"].map((kind) => `/usr/share/${kind}/*`);

export interface NodeRelease {
  readonly codename: string;
  /** Of the kernel that it boots, in the words of `uname`. */
  readonly release: string;
  readonly version: string;
  /** Roots: one that builds and serves, and that of the node. */
  readonly workshop: string;
  readonly root: string;
  /** Its package, unpacked. */
  readonly kernel: string;
  readonly image: string;
}

/** Made once; what it is made of is the release's own. */
export async function nodeRelease(codename: string): Promise<NodeRelease> {
  const { main = debian.mirrors.main } = await readHostMirrors();
  const place = join(TEST_CACHE, "nodes", codename);
  const settings = {
    codename,
    sources: [`deb [check-valid-until=no] ${main} ${codename} main`],
    without: UNNEEDED,
  };
  const workshop = await debianRoot(join(place, "workshop"), {
    ...{ ...settings, variant: "apt" },
    packages: ["gcc", "make", "libc6-dev", "nginx", "linux-headers-cloud-amd64"],
  });
  const root = await debianRoot(join(place, "root"), {
    ...{ ...settings, variant: "apt" },
    packages: ["kmod", "openssl", "curl", "iproute2", "libstdc++6", "linux-base", "systemd-sysv"],
  });
  const releases = await readdir(join(workshop, "lib/modules"));
  const [release = ""] = releases.filter((name) => name.endsWith("cloud-amd64"));
  const kernel = await unpackKernel(workshop, release, join(place, "kernel"));
  const images = [`boot/vmlinuz-${release}`, `usr/lib/modules/${release}/vmlinuz`];
  const image = images.map((path) => join(kernel, path)).find((path) => existsSync(path)) ?? "";
  const { banner } = await readVmlinuz(await readFile(image), image, unpackWhole);
  const version = versionInBanner(banner);
  if (version === undefined) throw new Error(`no version in ${banner}`);
  return { codename, release, version, workshop, root, kernel, image };
}

async function unpackKernel(workshop: string, release: string, kernel: string): Promise<string> {
  if ((await readdir(kernel).catch(() => [])).length > 0) return kernel;
  const downloads = join(workshop, "downloads");
  await mkdir(downloads, { recursive: true });
  await copyFile("/etc/resolv.conf", join(workshop, "etc/resolv.conf"));
  // From 7.2 on the image's package is empty, and depends on those that have what was in it.
  const download = `cd /downloads && apt-get -qq -o APT::Sandbox::User=root download "$1" $(
    apt-cache depends "$1" | sed -En 's/^ *Depends: (linux-(base|binary|modules)-.*)/\\1/p')`;
  await run("chroot", [workshop, "sh", "-c", download, "sh", `linux-image-${release}`], MOST_OUTPUT);
  await mkdir(kernel, { recursive: true });
  for (const name of await readdir(downloads))
    await run("dpkg-deb", ["-x", join(downloads, name), kernel], MOST_OUTPUT);
  await run("depmod", ["-b", await baseOf(kernel), release]);
  return kernel;
}

/** Modules by their files' names, built by the release's own compiler from changed sources of the example driver. */
export async function buildDriver(
  { workshop, release }: NodeRelease,
  version: string,
  change: (file: string, text: string) => string,
): Promise<{ readonly file: string; readonly content: Buffer }[]> {
  const directory = join(workshop, "driver");
  await rm(directory, { recursive: true, force: true });
  await cp(join(CHECKOUT, "examples/driver"), directory, { recursive: true });
  for (const file of await readdir(directory)) {
    const path = join(directory, file);
    await writeFile(path, change(file, await readFile(path, "utf8")));
  }
  const make = [
    "make",
    "-C",
    `/lib/modules/${release}/build`,
    "M=/driver",
    `DRIVER_VERSION=${version}`,
    "modules",
  ];
  // From 7.2 on objtool asks /proc how large its stack is.
  const inside = 'mount -t proc proc "$1/proc" && exec chroot "$@"';
  const options = ["--pid", "--fork", "--mount", "--propagation", "private"];
  await run("unshare", [...options, "sh", "-c", inside, "sh", workshop, ...make], MOST_OUTPUT);
  return Promise.all(
    ["tally.ko", "doorbell.ko"].map(async (file) => ({
      file,
      content: await readFile(join(directory, file)),
    })),
  );
}

/** nginx of the release, with a directory at 127.0.0.1. */
export async function startNginx(
  { workshop }: NodeRelease,
  directory: string,
): Promise<{ readonly port: number; stop(): Promise<void> }> {
  const port = await freePort();
  const settings = `daemon off; user root; error_log stderr; pid /run/nginx.pid; events {}
http { access_log off; server { listen 127.0.0.1:${port}; root /srv; } }\n`;
  await writeFile(join(workshop, "etc/nginx/kmodfarm.conf"), settings);
  await chmod(directory, 0o755);
  const script = 'mount --bind "$1" "$2/srv" && exec chroot "$2" nginx -c /etc/nginx/kmodfarm.conf';
  const options = ["--pid", "--fork", "--kill-child", "--mount", "--propagation", "private"];
  const server = spawn("unshare", [...options, "sh", "-c", script, "sh", directory, workshop], {
    stdio: "ignore",
  });
  const isUp = () => fetch(`http://127.0.0.1:${port}/`).then(Boolean, () => false);
  for (let tries = 0; !(await isUp()); tries++) {
    if (tries === 100) throw new Error("nginx does not answer");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return {
    port,
    async stop() {
      const ended = once(server, "exit");
      server.kill("SIGKILL");
      await ended;
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** A node's disk: its release's root, what of the kernel's modules it needs, and files of the test. */
export async function makeDisk(
  node: NodeRelease,
  files: Readonly<Record<string, string | Buffer>>,
  directory: string,
): Promise<string> {
  const tree = join(directory, "root");
  await run("cp", ["-a", node.root, tree]);
  await copyModules(node, tree);
  await copyFile("/bin/busybox", join(tree, "bin/busybox"));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(join(tree, path, ".."), { recursive: true });
    await writeFile(join(tree, path), content, { mode: 0o755 });
  }
  await writeFile(join(tree, "sbin/node-init"), NODE_INIT, { mode: 0o755 });
  const disk = join(directory, "disk");
  await run("mke2fs", ["-q", "-t", "ext4", "-d", tree, disk, "1200M"]);
  await run("rm", ["-rf", tree]);
  return disk;
}

/** Under emulation, depmod takes long for all of them. */
async function copyModules(node: NodeRelease, tree: string): Promise<void> {
  const base = await baseOf(node.kernel);
  const modules = join("lib/modules", node.release);
  const lists = (await readdir(join(base, modules))).filter((name) => /^modules\.(builtin|order)/.test(name));
  const needed = (await dependenciesOf(node, ["virtio_net"])).map((path) =>
    relative(join(base, modules), path),
  );
  for (const path of [...lists, ...needed]) {
    await mkdir(join(tree, modules, path, ".."), { recursive: true });
    await copyFile(join(base, modules, path), join(tree, modules, path));
  }
  await run("depmod", ["-b", tree, node.release]);
}

/** Files of modules in the order in which they are inserted. */
async function dependenciesOf({ kernel, release }: NodeRelease, names: readonly string[]): Promise<string[]> {
  const argv = ["-d", await baseOf(kernel), "-S", release, "--show-depends", "-a", ...names];
  const { stdout } = await run("modprobe", argv);
  return [...new Set([...stdout.matchAll(/^insmod (\S+)/gm)].map(([, path = ""]) => path))];
}

/** Where its lib/modules is. */
async function baseOf(kernel: string): Promise<string> {
  const isThere = await readdir(join(kernel, "usr/lib/modules")).catch(() => []);
  return isThere.length > 0 ? join(kernel, "usr") : kernel;
}

/** What is on the disk runs what it is told, and then turns the machine off as a power failure would, but for a sync. */
const NODE_INIT = `#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
alias mount='busybox mount'
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run; mount -t securityfs securityfs /sys/kernel/security
echo 1 >/proc/sys/kernel/printk
modprobe virtio_net
ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
read -r words </proc/cmdline
curl -fsS --retry 20 --retry-delay 1 --retry-all-errors "http://10.0.2.2:\${words##*kmodfarm=}/script" >/run/script
. /run/script
echo "ENDED"
sync
busybox poweroff -f
`;

/** Boots the node; answers with the lines of its console that its script said, which begin with a word in capitals. */
export async function bootNode(
  node: NodeRelease,
  disk: string,
  control: number,
  directory: string,
  firmware?: Firmware,
): Promise<string[]> {
  const outside = new Map(
    [...(firmware?.readable ?? []), ...(firmware?.writable ?? [])].map(([out, inside]) => [inside, out]),
  );
  const ofFirmware = (firmware?.arguments ?? []).map((one) =>
    one.replace(/(?<=file=)(\/\w+)$/, (inside) => outside.get(inside) ?? inside),
  );
  const initramfs = await makeInitramfs(node, join(directory, "early"));
  const { stdout } = await run(
    "qemu-system-x86_64",
    [
      ...["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-nodefaults", "-display", "none"],
      ...ofFirmware,
      ...["-no-reboot", "-serial", "stdio", "-kernel", node.image],
      ...["-initrd", initramfs, "-drive", `file=${disk},format=raw,if=virtio,cache=unsafe`],
      ...["-nic", "user,model=virtio-net-pci"],
      ...["-append", `console=ttyS0 panic=-1 quiet kmodfarm=${control}`],
    ],
    { ...MOST_OUTPUT, timeout: 900_000 },
  );
  console.log(stdout);
  // Firmware leaves the cursor somewhere in a line.
  const said = stdout
    .replaceAll(/\p{Cc}\[[0-9;=?]*[A-Za-z]/gu, "")
    .split(/\r?\n/)
    .filter((line) => /^[A-Z]+ /.test(line));
  if (!stdout.includes("ENDED") || said.length === 0)
    throw new Error(`the node did not come to its end: ${stdout.slice(-3000)}`);
  return said;
}

/** What the kernel needs to get at its disk. */
async function makeInitramfs(node: NodeRelease, directory: string): Promise<string> {
  await rm(directory, { recursive: true, force: true });
  for (const name of ["bin", "dev", "proc", "root", "modules"])
    await mkdir(join(directory, "tree", name), { recursive: true });
  const paths = await dependenciesOf(node, ["virtio_pci", "virtio_blk", "ext4"]);
  for (const [index, path] of paths.entries()) {
    const target = join(directory, "tree/modules", `${String(index).padStart(3, "0")}.ko`);
    const unpack = `${path.endsWith(".xz") ? "xz -dc" : path.endsWith(".zst") ? "zstd -dcq" : "cat"} "$1" >"$2"`;
    await run("sh", ["-c", unpack, "sh", path, target]);
  }
  await copyFile("/bin/busybox", join(directory, "tree/bin/busybox"));
  const init = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs devtmpfs /dev
for one in /modules/*; do /bin/busybox insmod $one; done
until [ -b /dev/vda ]; do /bin/busybox sleep 1; done
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /sbin/node-init
`;
  await writeFile(join(directory, "tree/init"), init, { mode: 0o755 });
  const initramfs = join(directory, "initramfs");
  const pack = 'cd "$1" && find . | cpio --create --format=newc --quiet >"$2"';
  await run("sh", ["-c", pack, "sh", join(directory, "tree"), initramfs]);
  return initramfs;
}
