/** The real dkms of a release and ours over the same tree, in the same root, beside the same kernel. */
import { execFile, execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { removeTree } from "../../src/base/strange-tree.ts";
import { diagnose } from "../../src/builder/diagnose.ts";
import { dkmsVersion } from "../../src/kernel/distributions/dkms.ts";
import { type DkmsTree, FAKE_HEADERS, FAKE_KERNEL } from "./dkms-trees.ts";
import { writeTree } from "./driver-trees.ts";
import { CHECKOUT, startMirror, TEST_CACHE } from "./e2e-mirror.ts";
import { withLock } from "./lock.ts";

interface DkmsOutcome {
  readonly outcome: "built" | "excluded" | "failed";
  /** Where it failed, as DKMS's exit codes tell it. */
  readonly stage: string;
  /** First lines of the modules, which tell their names; sorted. */
  readonly modules: readonly string[];
  /** Those without debugging information. */
  readonly stripped: readonly string[];
  /** The first file that a compiler complains of. */
  readonly file: string;
  readonly log: string;
}

export const CODENAMES = { debian12: "bookworm", debian13: "trixie" } as const;
export type DkmsRelease = keyof typeof CODENAMES;

/** The files of a release's dkms package, unpacked; fetched once. */
async function realDkms(release: DkmsRelease): Promise<string> {
  const place = join(TEST_CACHE, "dkms", release);
  await withLock(join(TEST_CACHE, `dkms-${release}.lock`), async () => {
    if (existsSync(join(place, "usr/sbin/dkms"))) return;
    const mirror = await startMirror();
    try {
      const read = async (path: string) =>
        Buffer.from(await (await fetch(`${mirror.main}/${path}`)).arrayBuffer());
      const packed = await read(`dists/${CODENAMES[release]}/main/binary-amd64/Packages.xz`);
      const index = execFileSync("xz", ["-dc"], { input: packed, maxBuffer: 1 << 30 }).toString();
      const paragraph = /^Package: dkms\n(?:.+\n)+/m.exec(index)?.[0] ?? "";
      const file = /^Filename: (.+)$/m.exec(paragraph)?.[1];
      if (file === undefined) throw new Error(`${release} has no package dkms`);
      const temporary = `${place}.part`;
      await rm(temporary, { recursive: true, force: true });
      await mkdir(temporary, { recursive: true });
      await writeFile(join(temporary, "dkms.deb"), await read(file));
      execFileSync("dpkg-deb", ["-x", join(temporary, "dkms.deb"), temporary]);
      await rm(place, { recursive: true, force: true });
      await rename(temporary, place);
    } finally {
      await mirror.stop();
    }
  });
  return place;
}

/** What both see of the world: a root, and in it a kernel that is none, and a strip that says that it was there. */
export interface DkmsWorld {
  readonly release: DkmsRelease;
  /** `/` for this machine's own programs. */
  readonly root: string;
  readonly dkms: string;
  readonly headers: string;
  readonly place: string;
}

export async function dkmsWorld(release: DkmsRelease, root: string, place: string): Promise<DkmsWorld> {
  const headers = join(place, "headers");
  await writeTree(headers, FAKE_HEADERS);
  await writeTree(place, { strip: '#!/bin/sh\nfor file; do :; done\necho stripped >>"$file"\n' });
  return { release, root, dkms: await realDkms(release), headers, place };
}

function boxed(
  { root, dkms, headers, place }: DkmsWorld,
  binds: readonly (readonly [string, string])[],
): string[] {
  const system = ["bin", "sbin", "lib/x86_64-linux-gnu", "lib64", "lib/os-release"].flatMap((name) => [
    "--ro-bind-try",
    join(root, "usr", name),
    `/usr/${name}`,
  ]);
  return [
    ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--uid", "0", "--gid", "0"],
    system,
    ["bin", "sbin", "lib", "lib64"].flatMap((name) => ["--symlink", `usr/${name}`, `/${name}`]),
    ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--dir", "/usr/src", "--dir", "/var/lib/dkms"],
    ["--dir", "/boot", "--dir", "/var/tmp", "--dir", "/run"],
    ["--ro-bind", join(root, "etc/alternatives"), "/etc/alternatives"],
    ["--ro-bind", headers, `/usr/lib/modules/${FAKE_KERNEL.release}/build`],
    ["--ro-bind", join(place, "strip"), "/opt/strip"],
    ["--ro-bind", join(dkms, "usr/sbin/dkms"), "/opt/dkms"],
    binds.flatMap(([ours, inside]) => ["--bind", ours, inside]),
    ["--setenv", "PATH", "/opt:/usr/sbin:/usr/bin:/sbin:/bin", "--setenv", "LC_ALL", "C"],
    ["--setenv", "HOME", "/", "--chdir", "/"],
  ].flat();
}

/** Ends with dkms's exit code; leaves modules and logs in /out. */
const REAL = `cp -r /tree /usr/src/$1-$2
dkms build -j 1 -m $1 -v $2 -k $3 >/out/said 2>&1 </dev/null
code=$?
cp /var/lib/dkms/$1/$2/$3/x86_64/module/*.ko /out/modules/ 2>/dev/null
cat /var/lib/dkms/$1/$2/build/make.log /var/lib/dkms/$1/$2/$3/x86_64/log/make.log >/out/log 2>/dev/null
if [ $code = 0 ] && grep -q OBSOLETE_BY /tree/dkms.conf; then
	dkms install -m $1 -v $2 -k $3 --no-depmod >>/out/said 2>&1 </dev/null
	! grep -q 'Module has been obsoleted' /out/said || { ls /out/modules/*.ko >/dev/null 2>&1 && code=77; }
fi
exit $code
`;

const STAGES: Readonly<Record<number, string>> = {
  0: "",
  5: "patch",
  6: "patch",
  7: "module",
  8: "conf",
  9: "",
  10: "make",
  13: "depends",
  77: "",
};

/** Whether this machine's own programs can stand for a root's: they lie where Debian has them. */
export function hasOwnPrograms(): boolean {
  return ["bin/bwrap", "bin/patch", "bin/make", "lib/x86_64-linux-gnu"].every((path) =>
    existsSync(join("/usr", path)),
  );
}

/** Both over one tree, and what is different and not meant to be, one line each. */
export async function compareDkms(
  world: DkmsWorld,
  tree: DkmsTree,
): Promise<{ readonly kind: string; readonly differences: readonly string[] }> {
  const real = await byDkms(world, tree);
  const ours = await byUs(world, tree);
  for (const who of ["dkms", "ours"]) await removeTree(placeOf(world, tree, who));
  const kind = `${real.outcome} ${real.stage}`.trim();
  const explained = explanation(world, tree, real, ours);
  if (explained !== undefined) return { kind: `explained: ${explained}`, differences: [] };
  const [theirs, own] = [real, ours].map(({ log: _, ...rest }) => JSON.stringify(rest));
  if (theirs === own) return { kind, differences: [] };
  return { kind, differences: [`${world.release} ${tree.name}\n  dkms ${theirs}\n  ours ${own}`] };
}

/** What is meant to be different. */
function explanation(
  { release }: DkmsWorld,
  { files }: DkmsTree,
  real: DkmsOutcome,
  ours: DkmsOutcome,
): string | undefined {
  const conf = files["dkms.conf"] ?? "";
  const isBuilt = dkmsVersion(release).startsWith("3.0.") || /BUILD_EXCLUSIVE_KERNEL_MAX/.test(conf);
  if (isBuilt && /OBSOLETE_BY/.test(ours.log) && ours.outcome === "excluded" && real.outcome !== "excluded")
    return "an obsolete driver is built there, and only then not installed";
  const isApart = /is excluded: BUILD_EXCLUSIVE_\w+\[\d+\]/.test(ours.log);
  if (isApart && real.stage === "module" && ours.outcome === "built")
    return "a module that excludes itself is missing, which DKMS 3.3 takes for what it is";
  const isTwice = /gave two of/.test(ours.log) && real.outcome === "built";
  if (isTwice && /DEST_MODULE_NAME/.test(conf))
    return "two modules of one name, which only their places on a host part";
  return undefined;
}

/** What the release's own dkms makes of a tree. */
async function byDkms(world: DkmsWorld, tree: DkmsTree): Promise<DkmsOutcome> {
  const { out, source } = await layOut(world, tree, "dkms");
  const argv = [
    ...boxed(world, [
      [source, "/tree"],
      [out, "/out"],
    ]),
    ...["bash", "-c", REAL, "dkms", tree.name, tree.version, FAKE_KERNEL.release],
  ];
  const { code } = await bwrap(argv);
  const said = await readText(join(out, "said"));
  const log = `${await readText(join(out, "log"))}${said}`;
  const isScript = /Running the (?:pre|post)_build script[^\n]*bad exit status/.test(said);
  // A script's own code may be any.
  const outcome = code === 0 ? "built" : code === 77 && !isScript ? "excluded" : "failed";
  const stage = isScript ? "script" : (STAGES[code] ?? `code ${code}`);
  const named = firstFile(log, outcome);
  // Of a missing module and of a patch dkms has its own words, which our diagnosis does not know: what it then finds is
  // not the cause.
  const file = /^(?:module|patch)$/.test(stage) && named === "dkms.conf" ? "" : named;
  return { outcome, stage, ...(await modulesIn(out, outcome)), file, log };
}

/** What images/build.sh makes of it, in the same surroundings. */
async function byUs(world: DkmsWorld, tree: DkmsTree): Promise<DkmsOutcome> {
  const { out, source } = await layOut(world, tree, "ours");
  const scripts = ["build.sh", "dkms.sh", "modules.sh"].flatMap((name) => [
    "--ro-bind",
    join(CHECKOUT, "images", name),
    `/run/kmodfarm/${name}`,
  ]);
  const env = {
    KVERSION: FAKE_KERNEL.release,
    KBUILD_ARCH: "x86",
    JOBS: "1",
    COMPILER: "cp",
    KIND: "dkms",
    BUILD_DIRECTORY: "/var/lib/dkms",
    DKMS_VERSION: dkmsVersion(world.release),
    DRIVER_NAME: tree.name,
    DRIVER_VERSION: tree.version,
    MODULES: "",
  };
  const argv = [
    ...boxed(world, [
      [dirname(source), "/var/lib/dkms"],
      [out, "/output"],
    ]),
    ...scripts,
    ...Object.entries(env).flatMap(([name, value]) => ["--setenv", name, value]),
    ...["sh", "/run/kmodfarm/build.sh"],
  ];
  const { code, output: log } = await bwrap(argv);
  const excluded = existsSync(join(out, "excluded.txt"));
  const outcome = code === 0 ? "built" : excluded ? "excluded" : "failed";
  const refused =
    (await readText(join(out, "refused.txt"))) ||
    (/^kmodfarm: (the (?:build gave|patch) .*)/m.exec(log)?.[1] ?? "");
  const stage = outcome === "failed" ? stageOf(refused) : "";
  return { outcome, stage, ...(await modulesIn(out, outcome)), file: firstFile(log, outcome), log };
}

function stageOf(refusal: string): string {
  if (/does not take its dkms\.conf|no source/.test(refusal)) return "conf";
  if (/^the patch/.test(refusal)) return "patch";
  if (/^the \w+ script/.test(refusal)) return "script";
  if (/BUILD_DEPENDS/.test(refusal)) return "depends";
  return refusal === "" ? "make" : "module";
}

const placeOf = ({ place }: DkmsWorld, tree: DkmsTree, who: string) => join(place, `${tree.name}-${who}`);

async function layOut(world: DkmsWorld, tree: DkmsTree, who: string) {
  const own = placeOf(world, tree, who);
  const [source, out] = [join(own, "tree", "source"), join(own, "out")];
  await writeTree(source, tree.files);
  await mkdir(join(out, "modules"), { recursive: true });
  for (const directory of [own, source, out]) await chmod(directory, 0o755);
  return { source, out };
}

function bwrap(argv: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    const child = execFile("bwrap", argv, { timeout: 60_000, maxBuffer: 1 << 26 }, (fault, stdout, stderr) =>
      resolve({
        code: fault === null ? 0 : typeof fault.code === "number" ? fault.code : -1,
        output: `${stdout}${stderr}`,
      }),
    );
    child.stdin?.end();
  });
}

const readText = async (file: string) => readFile(file, "utf8").catch(() => "");

async function modulesIn(out: string, outcome: string): Promise<Pick<DkmsOutcome, "modules" | "stripped">> {
  if (outcome !== "built") return { modules: [], stripped: [] };
  const files = (await readdir(join(out, "modules"))).toSorted();
  const [modules, stripped]: [string[], string[]] = [[], []];
  for (const file of files) {
    const [first = "", ...rest] = (await readText(join(out, "modules", file))).split("\n");
    modules.push(first);
    const isMarked = existsSync(join(out, "strip", file.replace(/\.ko$/, "")));
    if (isMarked || rest.includes("stripped")) stripped.push(first);
  }
  return { modules: modules.toSorted(), stripped: stripped.toSorted() };
}

/** The first file of the tree that the log of a failed build complains of. */
export function firstFile(log: string, outcome: string): string {
  if (outcome !== "failed") return "";
  const directory = /\/var\/lib\/dkms\/[^/\s]+\/[^/\s]+\/build/.exec(log)?.[0] ?? "/build";
  return diagnose({ log, exitCode: 2, directory }).file ?? "";
}
