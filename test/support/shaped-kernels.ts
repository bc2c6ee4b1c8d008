/**
 * Small kernels of other distributions' shapes, compiled from Debian's kernel source by the kernel's own package
 * targets (shaped-kernels/how-made.md): real headers, real CRCs, and they boot. Made once and kept.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { run } from "../../src/base/run.ts";
import { readHostMirrors } from "../../src/catalog/apt-host.ts";
import { debian } from "../../src/kernel/distributions/debian.ts";
import { CHECKOUT, TEST_CACHE } from "./e2e-mirror.ts";
import { withLock } from "./lock.ts";

/** In the order in which they are built: the first three share what is compiled, and their CRCs. */
export const SHAPES = ["almalinux9.4", "almalinux9.5", "ubuntu24.04", "amazonlinux2023"] as const;
export type Shape = (typeof SHAPES)[number];

export interface ShapedKernel {
  readonly shape: Shape;
  /** `uname -r` */
  readonly kversion: string;
  /** Its packages and nothing else. */
  readonly directory: string;
}

const SCRIPTS = join(CHECKOUT, "test", "support", "shaped-kernels");
const PLACE = join(TEST_CACHE, "shaped-kernels");
/** Of one kernel: minutes on a machine of one's own, more than an hour on two processors that many share. */
const LIMIT_MS = 3 * 60 * 60_000;

const BUILD_PACKAGES = [
  ["gcc-13", "gcc-14", "make", "bc", "flex", "bison", "libelf-dev", "libssl-dev", "libdw-dev", "python3"],
  ["rpm", "dpkg-dev", "debhelper", "cpio", "rsync", "kmod", "xz-utils", "zstd", "busybox-static"],
  ["linux-source-6.12"],
].flat();

/** All of them; the first call on a machine compiles them. */
export async function shapedKernels(): Promise<ReadonlyMap<Shape, ShapedKernel>> {
  const place = join(PLACE, recipeDigest());
  const isReady = () => existsSync(join(place, "packages"));
  if (!isReady()) {
    await mkdir(PLACE, { recursive: true });
    await withLock(join(PLACE, "lock"), async () => {
      if (!isReady()) await build(place);
    });
  }
  const kernels = SHAPES.map(async (shape): Promise<[Shape, ShapedKernel]> => {
    const directory = join(place, "packages", shape);
    const kversion = (await readFile(join(place, "packages", `${shape}.uname`), "utf8")).trim();
    return [shape, { shape, kversion, directory }];
  });
  return new Map(await Promise.all(kernels));
}

function recipeDigest(): string {
  const hash = createHash("sha256").update(JSON.stringify(BUILD_PACKAGES));
  for (const name of readdirSync(SCRIPTS).toSorted())
    if (/\.(sh|config)$/.test(name)) hash.update(name).update(readFileSync(join(SCRIPTS, name)));
  return hash.digest("hex").slice(0, 16);
}

/** Goes on where an earlier call was interrupted. */
async function build(place: string): Promise<void> {
  // What other recipes gave is of no use to anybody.
  for (const name of await readdir(PLACE))
    if (![basename(place), "lock"].includes(name))
      await rm(join(PLACE, name), { recursive: true, force: true });
  const work = join(place, "work");
  const [root, scripts, kernels] = [join(work, "root"), join(work, "scripts"), join(work, "kernels")];
  await mkdir(kernels, { recursive: true });
  // A checkout may change in the hour that this can take.
  await cp(SCRIPTS, scripts, { recursive: true });
  if (!existsSync(root)) await bootstrap(root);
  for (const shape of SHAPES) {
    if (existsSync(join(kernels, "packages", `${shape}.uname`))) continue;
    await must([
      ["nice", "bwrap", "--unshare-net", "--unshare-pid", "--die-with-parent", "--bind", root, "/"],
      ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--bind", kernels, "/work"],
      ["--ro-bind", scripts, "/scripts", "/bin/sh", "/scripts/build.sh", shape],
    ]);
  }
  await rename(join(kernels, "packages"), join(place, "packages"));
  await rm(work, { recursive: true, force: true });
}

async function bootstrap(root: string): Promise<void> {
  const host = await readHostMirrors();
  const unfinished = `${root}.part`;
  await rm(unfinished, { recursive: true, force: true });
  await must([
    ["mmdebstrap", "--quiet", "--mode=root", "--format=directory", "--variant=essential"],
    ["--architectures=amd64", '--aptopt=Acquire::Languages "none"'],
    ["man", "doc", "info", "locale"].map((kind) => `--dpkgopt=path-exclude=/usr/share/${kind}/*`),
    ["--keyring=/usr/share/keyrings/debian-archive-keyring.gpg", `--include=${BUILD_PACKAGES.join(",")}`],
    ["trixie", unfinished, host.main ?? debian.mirrors.main],
  ]);
  await rename(unfinished, root);
}

async function must(argv: readonly (readonly string[])[]): Promise<void> {
  const words = argv.flat();
  const result = await run(words, { timeoutMs: LIMIT_MS, contained: true });
  if (result.exitCode !== 0)
    throw new Error(`${words.at(-1)}: ${`${result.stdout}${result.stderr}`.slice(-4000)}`);
}
