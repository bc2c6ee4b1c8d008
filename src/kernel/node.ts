/**
 * From what a node says of itself to the kernel it runs: exactly one, or the reason why not.
 *
 * `uname` decides. os-release only breaks ties: after an upgrade without a reboot, and inside a container,
 * it tells of another system than the kernel that runs.
 */
import { ArchitectureName } from "./architecture.ts";
import { type KernelId, kernelName } from "./kernel.ts";

export interface Node {
  /** `uname -r` */
  readonly release: string;
  /** `uname -v` */
  readonly version: string;
  /** `uname -m` */
  readonly machine: string;
  /** ID and VERSION_ID of os-release, where they are known. */
  readonly osId?: string | undefined;
  readonly osVersion?: string | undefined;
}

export type NodeAnswer<K> =
  /** `same`: other distribution releases that publish the very same packages; any of them is right. */
  | { readonly kind: "found"; readonly kernel: K; readonly same: readonly K[] }
  /** Nothing in the catalog is this kernel. `near` is what only looks like it. */
  | { readonly kind: "unknown"; readonly reason: string; readonly near: readonly K[] }
  | { readonly kind: "ambiguous"; readonly reason: string; readonly kernels: readonly K[] };

/** A kernel as far as a node's words can tell it from others. */
export interface KnownKernel extends KernelId {
  readonly packages: { readonly headers: readonly { readonly sha256?: string | undefined }[] };
}

/** How distributions whose release does not name the build put the build into `uname -v`. */
interface VersionRule {
  readonly distribution: string;
  readonly expression: RegExp;
  readonly fits: (packageVersion: string, said: string) => boolean;
  /** What `uname -v` says of a package version, between blanks; undefined where it cannot be told. */
  readonly words: (packageVersion: string) => string | undefined;
}

const VERSION_RULES: readonly VersionRule[] = [
  // #1 SMP PREEMPT_DYNAMIC Debian 6.1.170-3 (2026-05-01)
  {
    distribution: "debian",
    expression: /\bDebian (\S+)/,
    fits: (packageVersion, said) => packageVersion === said,
    words: (packageVersion) => `Debian ${packageVersion}`,
  },
  // #26~22.04.1-Ubuntu SMP Tue …: the last part of the package version 5.15.0-26.26~22.04.1
  {
    distribution: "ubuntu",
    expression: /^#(\S+)-Ubuntu\b/,
    fits: (packageVersion, said) => packageVersion.endsWith(`.${said}`),
    words: (packageVersion) => {
      const upload = /-\d+\.(\S+)$/.exec(packageVersion)?.[1];
      return upload === undefined ? undefined : `#${upload}-Ubuntu`;
    },
  },
];

/** The kernel that a node runs. Pure: the node's words are data. */
export function resolveNode<K extends KnownKernel>(kernels: Iterable<K>, node: Node): NodeAnswer<K> {
  const architecture = ArchitectureName.safeParse(node.machine);
  if (!architecture.success) {
    return { kind: "unknown", reason: `no kernel for the machine '${node.machine}' is known`, near: [] };
  }
  const named = [...kernels].filter(
    (kernel) => kernel.kversion === node.release && kernel.architecture === architecture.data,
  );
  if (named.length === 0) {
    return {
      kind: "unknown",
      reason: `no kernel with the release '${node.release}' for ${architecture.data} was ever seen`,
      near: [],
    };
  }
  const built = named.filter((kernel) => isThatBuild(kernel, node));
  if (built.length === 0) {
    const reason =
      node.version === ""
        ? `the release '${node.release}' does not name its build: what does uname -v say?`
        : `uname -v ('${node.version}') names none of the builds known under '${node.release}'`;
    return { kind: "unknown", reason, near: named };
  }
  return breakTie(built, node);
}

function isThatBuild(kernel: KernelId, { version }: Pick<Node, "version">): boolean {
  // If the kernel's origin is unknown, the node's own words say which rule to apply.
  const rule = VERSION_RULES.find(({ distribution, expression }) =>
    kernel.distribution === "unknown"
      ? expression.test(version)
      : kernel.distribution.startsWith(distribution),
  );
  if (rule === undefined) return true; // An rpm kernel's release names its build.
  const said = rule.expression.exec(version)?.[1];
  return said !== undefined && rule.fits(kernel.packageVersion, said);
}

/** Whether a node's own words are those of a kernel, as far as its distribution puts builds into them. */
export function isSaidBy(kernel: KernelId, node: Pick<Node, "release" | "version" | "machine">): boolean {
  return (
    kernel.kversion === node.release && kernel.architecture === node.machine && isThatBuild(kernel, node)
  );
}

/** Whether `uname -v` is that of a distribution whose releases do not name the build. */
export function saysItsBuild({ version }: Pick<Node, "version">): boolean {
  return VERSION_RULES.some(({ expression }) => expression.test(version));
}

/** Words of `uname -v` that only this build of its release says; undefined where no rule knows any. */
export function unameWords({ distribution, packageVersion }: KernelId): string | undefined {
  return VERSION_RULES.find((rule) => distribution.startsWith(rule.distribution))?.words(packageVersion);
}

function breakTie<K extends KnownKernel>(kernels: readonly K[], node: Node): NodeAnswer<K> {
  const first = kernels[0] as K;
  if (kernels.length === 1) return { kind: "found", kernel: first, same: [] };
  const { osId, osVersion } = node;
  const ofSystem =
    osId === undefined ? [] : kernels.filter(({ distribution }) => isReleaseOf(distribution, osId));
  const ofRelease = ofSystem.filter(
    ({ distribution }) => distribution === `${normalId(osId ?? "")}${osVersion ?? ""}`,
  );
  for (const group of [ofRelease, ofSystem, kernels]) {
    const [best] = group;
    if (best === undefined) continue;
    if (group.length === 1 || isSameEverywhere(group))
      return { kind: "found", kernel: best, same: group.slice(1) };
  }
  const names = kernels.map(kernelName).join(", ");
  return {
    kind: "ambiguous",
    reason: `uname says the same for ${names}, and os-release does not decide`,
    kernels,
  };
}

/** One release key belongs to one os-release id: the id, then a version or nothing. */
function isReleaseOf(distribution: string, osId: string): boolean {
  const id = normalId(osId);
  return distribution.startsWith(id) && /^(\d|sid$|$)/.test(distribution.slice(id.length));
}

/** The one alias between os-release and release keys: Amazon calls itself `amzn`. */
function normalId(osId: string): string {
  return osId === "amzn" ? "amazonlinux" : osId;
}

/** Several releases may carry the very same packages (testing and unstable): any of them is right. */
export function isSameEverywhere(kernels: readonly KnownKernel[]): boolean {
  const contents = kernels.map(({ packages }) => packages.headers.map(({ sha256 }) => sha256 ?? "").join());
  return contents.every((content) => content === contents[0] && !content.split(",").includes(""));
}

/** ID and VERSION_ID of an os-release file. */
export function parseOsRelease(text: string): Pick<Node, "osId" | "osVersion"> {
  const field = (name: string) => new RegExp(`^${name}=["']?([^"'\\n]*)["']?$`, "m").exec(text)?.[1];
  return { osId: field("ID"), osVersion: field("VERSION_ID") };
}
