/**
 * What this machine has of what the farm needs, and what its sandboxes truly keep. Nothing is taken for granted
 * that can be tried; no server is asked.
 */

import { constants } from "node:fs";
import { access, mkdtemp, rmdir, stat, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { requireCache } from "../base/cache.ts";
import { counted } from "../base/counted.ts";
import { toFarmError } from "../base/error.ts";
import { isInstalled } from "../base/programs.ts";
import { formatSize } from "../base/size.ts";
import { isSsh } from "../builder/origins/origin.ts";
import { groupPlaces } from "../builder/sandboxes/cgroup.ts";
import { SANDBOXES } from "../builder/sandboxes/index.ts";
import { GUARDED, proveSandbox } from "../builder/sandboxes/prove.ts";
import type { Sandbox } from "../builder/sandboxes/sandbox.ts";
import { boxFault } from "../builder/toolchains/roots/box.ts";
import { readHostMirrors } from "../catalog/apt-host.ts";
import type { Source } from "../catalog/ask.ts";
import { probeAccelerator } from "../check/guest/qemu.ts";
import { ARCHITECTURES, type Architecture } from "../kernel/architecture.ts";
import { openStore, type StorePlace } from "../registry/stores/index.ts";
import type { FarmConfig } from "./config/index.ts";
import type { Finding } from "./finding.ts";
import { keyFindings } from "./signing/key-findings.ts";
import { catalogSources } from "./sources.ts";

const LITTLE_SPACE_BYTES = 5 * 1024 ** 3;
const NODE_WANTED = 24;

/** Looks at everything; the sandboxes take a few seconds. */
export async function examine(config: FarmConfig, signal?: AbortSignal): Promise<Finding[]> {
  const host = await readHostMirrors();
  const sources = config.sources.flatMap((source) => catalogSources(source, host));
  const all = [
    nodeFinding(),
    ...programFindings(sources, config),
    ...(await Promise.all(wantedArchitectures(config).map(guestFinding))),
    await storeFinding(config.store),
    await cacheFinding(config),
    ...(await Promise.all(keyringFindings(sources))),
    sourcesFinding(sources, config),
    ...(await keyFindings(config)),
    await groupFinding(),
    await rootFinding(signal),
  ];
  // One after the other: each tries to take too much of this machine.
  for (const sandbox of SANDBOXES) all.push(await sandboxFinding(sandbox, config, signal));
  return all;
}

function nodeFinding(): Finding {
  const [major] = process.versions.node.split(".").map(Number);
  const fact = `Node.js ${process.versions.node}`;
  return (major ?? 0) >= NODE_WANTED
    ? { subject: "node", state: "good", fact }
    : {
        subject: "node",
        state: "problem",
        fact,
        next: `Node.js ${NODE_WANTED} or newer is needed; npm ci installs it.`,
      };
}

interface Tool {
  readonly program: string;
  readonly package: string;
  /** Whether something that is configured needs it. */
  readonly isNeeded: boolean;
}

/** Programs and their packages in Debian, whatever sandbox builds. */
export const TOOLS = {
  always: [
    ["bwrap", "bubblewrap"],
    ["setpriv", "util-linux"],
    ["openssl", "openssl"],
    ["mount", "mount"],
    ["tar", "tar"],
    ["xz", "xz-utils"],
    ["lz4", "lz4"],
    ["zstd", "zstd"],
    ["bzip2", "bzip2"],
    ["gpgv", "gpgv"],
  ],
  forDeb: [
    ["apt-get", "apt"],
    ["dpkg-deb", "dpkg"],
  ],
  forRpm: [
    ["dnf", "dnf"],
    ["rpm", "rpm"],
    ["rpm2archive", "rpm2cpio"],
    ["gpg", "gpg"],
  ],
} as const;

function programFindings(sources: readonly Source[], config: FarmConfig): Finding[] {
  const has = (kind: Source["kind"]) => sources.some((source) => source.kind === kind);
  const repositories = config.drivers.flatMap(({ source }) =>
    typeof source === "object" && "git" in source ? [source.git] : [],
  );
  const list = (tools: readonly (readonly [string, string])[], isNeeded: boolean) =>
    tools.map(([program, debianPackage]): Tool => ({ program, package: debianPackage, isNeeded }));
  return [
    ...list(TOOLS.always, true),
    ...list(TOOLS.forDeb, has("apt")),
    ...list(TOOLS.forRpm, has("rpm-md")),
    ...list([["git", "git"]], repositories.length > 0),
    ...(repositories.some(isSsh) ? list([["ssh", "openssh-client"]], true) : []),
  ].map(toolFinding);
}

function toolFinding({ program, package: debianPackage, isNeeded }: Tool): Finding {
  const subject = program;
  if (isInstalled(program)) return { subject, state: "good", fact: `installed (${debianPackage})` };
  const next = `apt-get install --no-install-recommends ${debianPackage}`;
  return isNeeded
    ? { subject, state: "problem", fact: "not installed", next }
    : { subject, state: "note", fact: `not installed, but nothing configured needs it (${debianPackage})` };
}

function wantedArchitectures({ select }: FarmConfig): Architecture[] {
  return ARCHITECTURES.filter(({ name }) =>
    select.some(({ architectures }) => architectures?.includes(name) ?? true),
  );
}

async function guestFinding({ name, qemu }: Architecture): Promise<Finding> {
  const subject = `load tests, ${name}`;
  if (!isInstalled(qemu.program)) {
    const next = `apt-get install --no-install-recommends ${qemu.package}`;
    return { subject, state: "problem", fact: `${qemu.program} is not installed`, next };
  }
  if ((await probeAccelerator(name)) === "kvm")
    return { subject, state: "good", fact: `${qemu.program} with KVM` };
  const isThere = await access("/dev/kvm").then(
    () => true,
    () => false,
  );
  const why = isThere ? "/dev/kvm does not work" : "there is no /dev/kvm";
  return { subject, state: "good", fact: `${qemu.program} by emulation: ${why}` };
}

/** By making something there, not by looking at permission bits; what is not there yet would be made. */
async function placeFinding(subject: string, place: string): Promise<Finding> {
  try {
    const there = await nearest(place);
    await access(there, constants.W_OK);
    await rmdir(await mkdtemp(join(there, ".kmodfarm-doctor-")));
    const { bavail, bsize } = await statfs(there);
    const fact = `${place}${there === place ? "" : " (will be created)"}, ${formatSize(bavail * bsize)} free`;
    if (bavail * bsize >= LITTLE_SPACE_BYTES) return { subject, state: "good", fact };
    return { subject, state: "note", fact: `${fact}; a single toolchain root takes 0.5 to 1 GiB` };
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException;
    const next = `Choose another directory with --${subject}, or fix its permissions.`;
    return { subject, state: "problem", fact: `${place} cannot be written to (${code ?? message})`, next };
  }
}

async function cacheFinding({ cache, file, base }: FarmConfig): Promise<Finding> {
  const finding = await placeFinding("cache", cache);
  if (finding.state === "problem") return finding;
  try {
    await requireCache(cache, [file, base]);
    return finding;
  } catch (thrown) {
    const { message, hint } = toFarmError(thrown);
    return { subject: "cache", state: "problem", fact: message, next: hint };
  }
}

/** A bucket is written to: eight writers try to create one object, which is removed again. */
async function storeFinding(place: StorePlace): Promise<Finding> {
  const subject = "store";
  if (typeof place === "string") return placeFinding(subject, place);
  const store = await openStore(place);
  try {
    await store.prepare();
    return { subject, state: "good", fact: `${store.place}, tried: it keeps writers apart` };
  } catch (thrown) {
    const { message, hint } = toFarmError(thrown);
    return { subject, state: "problem", fact: message, next: hint };
  } finally {
    await store.close();
  }
}

async function nearest(place: string): Promise<string> {
  const isThere = await stat(place).then(
    (status) => {
      if (!status.isDirectory()) throw Object.assign(new Error("a file is in the way"), { code: "ENOTDIR" });
      return true;
    },
    (fault: NodeJS.ErrnoException) => {
      if (fault.code !== "ENOENT") throw fault;
      return false;
    },
  );
  return isThere || dirname(place) === place ? place : nearest(dirname(place));
}

function keyringFindings(sources: readonly Source[]): Promise<Finding>[] {
  const packages = new Map<string, string | undefined>();
  for (const source of sources) {
    const keyring = source.kind === "apt" ? source.keyring : source.keys?.file;
    if (keyring === undefined) continue;
    const own = source.kind === "apt" ? source.distribution.keyring : undefined;
    packages.set(keyring, own?.path === keyring ? own.package : undefined);
  }
  return [...packages].map(async ([path, debianPackage]): Promise<Finding> => {
    const subject = "keyring";
    const isReadable = await access(path, constants.R_OK).then(
      () => true,
      () => false,
    );
    if (isReadable) return { subject, state: "good", fact: path };
    const next =
      debianPackage === undefined
        ? "Correct the source's `keyring` in the configuration."
        : `apt-get install --no-install-recommends ${debianPackage}`;
    return { subject, state: "problem", fact: `${path} cannot be read`, next };
  });
}

function sourcesFinding(sources: readonly Source[], { sources: configured }: FarmConfig): Finding {
  const subject = "sources";
  const lists = configured.filter(({ kind }) => kind === "kernel-crawler").length;
  if (sources.length + lists === 0)
    return { subject, state: "problem", fact: "none", next: "Configure `sources`." };
  const urls = sources.flatMap((source) => (source.kind === "apt" ? [source.url] : source.location.urls));
  const hosts = new Set(urls.map((url) => URL.parse(url)?.host ?? url));
  const releases = new Set(sources.map(({ release }) => release));
  const fact = `${counted(sources.length, "repository")} of ${counted(releases.size, "release")} at ${[...hosts].join(", ")}; ${counted(lists, "list")} (not queried)`;
  return { subject, state: "good", fact };
}

async function groupFinding(): Promise<Finding> {
  const subject = "control groups";
  const places = await groupPlaces();
  const kept = new Set(places.flatMap(({ controllers }) => controllers));
  const where = places.map(({ version, controllers }) => `${controllers.join(" and ")} (version ${version})`);
  if (kept.has("memory") && kept.has("pids"))
    return { subject, state: "good", fact: `the kernel enforces limits of ${where.join(", ")}` };
  const missing = ["memory", "pids"].filter((name) => !kept.has(name as "memory" | "pids"));
  return {
    subject,
    state: "note",
    fact: `none can be created for ${missing.join(" and ")}: those limits are only checked twice a second, so builds are not fully isolated from each other`,
    next: "Run as root outside a container, or as a service with Delegate=yes.",
  };
}

async function rootFinding(signal?: AbortSignal): Promise<Finding> {
  const subject = "toolchain roots";
  try {
    const fault = await boxFault(signal);
    if (fault === undefined)
      return {
        subject,
        state: "good",
        fact: "tested: packages are installed in a user namespace with its own ids, without network",
      };
    const next =
      "Run as root where root may give ids to user namespaces: outside a container, or in a privileged one. The sysctl user.max_user_namespaces must not be 0.";
    return { subject, state: "problem", fact: `tested: packages cannot be installed here: ${fault}`, next };
  } catch (thrown) {
    const { code, message, hint } = toFarmError(thrown);
    if (code === "INTERRUPTED") throw thrown;
    return { subject, state: "problem", fact: message, next: hint };
  }
}

async function sandboxFinding(sandbox: Sandbox, config: FarmConfig, signal?: AbortSignal): Promise<Finding> {
  const isChosen = sandbox.name === config.sandbox;
  const subject = `sandbox ${sandbox.name}${isChosen ? " (chosen)" : ""}`;
  const bad = isChosen ? "problem" : "note";
  try {
    const kept = await proveSandbox(sandbox, await mkdtemp(join(tmpdir(), "kmodfarm-doctor-")), signal);
    const lost = GUARDED.filter((one) => !kept.has(one));
    if (lost.length === 0)
      return { subject, state: "good", fact: `tested: it enforces ${GUARDED.join(", ")}` };
    const next = "Do not build drivers here that you do not trust, or choose another sandbox.";
    return { subject, state: bad, fact: `tested: it does not enforce ${lost.join(", ")}`, next };
  } catch (thrown) {
    const { code, message, hint } = toFarmError(thrown);
    if (code === "INTERRUPTED") throw thrown;
    // Where a build cannot start, its error sends people here.
    const next =
      code === "TOOL_FAILED"
        ? "Allow it what it says that it needs (docs/isolation.md), or choose another sandbox with `sandbox`."
        : hint;
    return { subject, state: bad, fact: message, next };
  }
}
