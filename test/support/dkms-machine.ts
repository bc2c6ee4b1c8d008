/** The real dkms of Debian 13 on a machine with its kernels' headers, and what it makes of packaged drivers. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { debianRoot } from "./debian-root.ts";
import { CHECKOUT, TEST_CACHE, type TestMirror } from "./e2e-mirror.ts";
import { firstFile } from "./real-dkms.ts";

const run = promisify(execFile);

export type BuildOutcome = "built" | "failed" | "excluded";

export interface RealBuild {
  readonly outcome: BuildOutcome;
  /** Names without `.ko`, sorted. */
  readonly modules: readonly string[];
  /** The first file that the build complained of; empty where it did not fail, or at no file. */
  readonly file: string;
  /** What dkms said, and the log of the build. */
  readonly log: string;
}

const CODENAME = "trixie";
/** What dkms recommends is there on most machines that have it. */
const TOOLS = ["dkms", "gcc", "libc6-dev", "fakeroot", "sudo"];
/** Headers bring their kernel along, which nobody boots here; and nothing is built but when it is asked for. */
const UNNEEDED = [
  ...["man", "doc", "info", "locale"].map((kind) => `/usr/share/${kind}/*`),
  ...["/etc/kernel/*", "/lib/modules/*/kernel/*", "/usr/lib/modules/*/kernel/*"],
];

/** A root with dkms and the headers of kernels; its apt asks the mirror as it is now. */
export async function dkmsMachine(mirror: TestMirror, kversions: readonly string[]): Promise<string> {
  const sources = [
    `deb ${mirror.main} ${CODENAME} main`,
    `deb ${mirror.main} ${CODENAME}-updates main`,
    `deb ${mirror.main} ${CODENAME}-backports main`,
    `deb ${mirror.security} ${CODENAME}-security main`,
  ];
  const packages = [...TOOLS, ...kversions.map((kversion) => `linux-headers-${kversion}`)];
  const digest = createHash("sha256").update(packages.join()).digest("hex").slice(0, 12);
  const root = await debianRoot(join(TEST_CACHE, "dkms", `machine-${digest}`), {
    ...{ codename: CODENAME, variant: "apt", sources, packages, without: UNNEEDED },
  });
  await writeFile(join(root, "etc/apt/sources.list"), `${sources.join("\n")}\n`);
  await writeFile(join(root, "etc/apt/apt.conf.d/99test"), 'APT::Sandbox::User "root";\n');
  await writeFile(join(root, "usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  await writeFile(join(root, "etc/dkms/no-autoinstall"), "");
  await run("chroot", [root, "apt-get", "update", "--quiet"], { maxBuffer: 1 << 26 });
  return root;
}

/** Installs a package, or a tree by its directory, on a machine of its own over the root, and has it built for each kernel. */
export async function buildByDkms(
  root: string,
  { name, version }: { readonly name: string; readonly version: string },
  kversions: readonly string[],
  layer: string,
): Promise<ReadonlyMap<string, RealBuild>> {
  await mkdir(layer, { recursive: true });
  const script = join(CHECKOUT, "test/support/dkms-machine.sh");
  const argv = ["--mount", "--propagation", "private", "sh", script, root, layer, name, version];
  try {
    await run("unshare", [...argv, ...kversions], { maxBuffer: 1 << 26 });
    const builds = kversions.map(
      async (kversion) => [kversion, await readBuild(join(layer, kversion))] as const,
    );
    return new Map(await Promise.all(builds));
  } catch (thrown) {
    const said = await Promise.all(["installed", "added"].map((file) => readText(join(layer, file))));
    throw new Error(`${name} is not on its machine: ${said.join("").slice(-2000)}`, { cause: thrown });
  } finally {
    if (process.env.KMODFARM_KEEP_FARMS === undefined) await rm(layer, { recursive: true, force: true });
  }
}

async function readBuild(directory: string): Promise<RealBuild> {
  const read = (file: string) => readText(join(directory, file));
  const code = Number(await read("code"));
  const outcome = code === 0 ? "built" : code === 77 ? "excluded" : "failed";
  const log = `${await read("make.log")}${await read("said")}`;
  const modules = (await read("modules")).split("\n").filter((name) => name !== "");
  return { outcome, modules: modules.toSorted(), file: outcome === "failed" ? fileOf(log) : "", log };
}

/** The first file that a compiler complains of, as it says it; what else ends a build, our diagnosis reads. */
function fileOf(log: string): string {
  const [, file] = /^([^\s:]+):\d+:(?:\d+:)? (?:fatal )?error: /m.exec(log) ?? [];
  return (
    file?.replace(/^\/var\/lib\/dkms\/[^/]+\/[^/]+\/build\//, "").replace(/^\.\//, "") ??
    firstFile(log, "failed")
  );
}

const readText = (file: string) => readFile(file, "utf8").catch(() => "");
