/**
 * What the place of a module file claims: for which kernel it is, in the layouts that people keep modules in.
 */
import { ArchitectureName } from "../kernel/architecture.ts";
import { type Fit, fitOfListedName } from "../kernel/listed-name.ts";

export interface Claim {
  /** The kernel as the place calls it: `uname -r`, or a list's name of it where there is a `target`. */
  readonly release: string;
  readonly architecture?: ArchitectureName;
  readonly layout: "modules" | "view" | "dkms" | "bucket";
  /** Where the modules of its kernel lie together; modules of one name there are one too many. */
  readonly set: string;
  /** kernel-crawler's word for the distribution: the release is called as its lists call it. */
  readonly target?: string;
  /** The place also keeps modules of other releases that nodes may load. */
  readonly mayBeOther?: true;
}

const ENDING = String.raw`\.ko(?:\.(?:xz|zst|gz))?`;
const KO = `[^/]+${ENDING}`;
const MACHINE = "x86_64|aarch64";

/** `/lib/modules/RELEASE/…`, as kernels and distributions have it. */
const MODULES = new RegExp(`^((?:.*/)?lib/modules/([^/]+))/(?:.+/)?${KO}$`);
/** `RELEASE/kernel/…`, `RELEASE/updates/…`: the same, seen from /lib/modules. */
const BARE_MODULES = new RegExp(
  `^((?:.*/)?([0-9][^/]*))/(?:kernel|updates|extra|weak-updates|misc|addon|dkms|ubuntu|extramodules)/(?:.+/)?${KO}$`,
);
/** `…/DISTRIBUTION/ARCHITECTURE/RELEASE[_PACKAGEVERSION]/name.ko`: ours, and the original pipeline's. */
const VIEW = new RegExp(`^((?:.*/)?[^/]+/(${MACHINE})/([^/_]+(?:_[^/]*)?))/${KO}$`);
/** `NAME/VERSION/RELEASE/ARCHITECTURE/module/name.ko`, below /var/lib/dkms; what it replaced is kept beside. */
const DKMS = new RegExp(
  `^((?:.*/)?[^/]+/(?:[^/]+/([^/]+)/(${MACHINE})/module|original_module/([^/]+)/(${MACHINE})))/${KO}$`,
);
/** `[ARCHITECTURE/]NAME_TARGET_RELEASE_NUMBER.ko`: Falco's bucket of drivers, and everything built with driverkit. */
const FALCO = new RegExp(
  `^(?:.*/)?[^/]+?_(${[
    ...["almalinux", "alinux", "amazonlinux\\d*", "arch", "bottlerocket", "centos", "debian", "fedora"],
    ...["flatcar", "minikube", "ol\\d*", "opensuse(?:-[a-z]+)?", "oracle\\d*", "photon(?:OS)?", "redhat"],
    ...["rhel", "rocky", "sles", "talos", "ubuntu(?:-[a-z0-9.-]+)?", "vanilla"],
  ].join("|")})_(\\d[^/]*?)_(1_v?\\d+\\.[^/_]*|\\d[^/_]*)${ENDING}$`,
);
/** What this program does not know by its target, in a bucket of Falco's. */
const FALCO_OTHER = new RegExp(`^(?:.*/)?falco_([a-z0-9.-]+)_(\\d[^/]*)_(\\d[^/_]*)${ENDING}$`);
/** `collector-RELEASE.ko.gz`: StackRox's bucket. */
const STACKROX = new RegExp(`^(?:.*/)?collector-(\\d[^/]*?)${ENDING}$`);
/** `sysdig-probe-VERSION-ARCHITECTURE-RELEASE-DIGEST.ko`: Sysdig's bucket, and Falco's first one. */
const SYSDIG = new RegExp(`^(?:.*/)?[a-z][^/]*?-\\d[^/-]*-(${MACHINE})-(\\d[^/]*)-[0-9a-f]{32}${ENDING}$`);

type Layout = (path: string) => Omit<Claim, "architecture"> & { readonly machine?: string | undefined };

/** The first that fits counts. */
const LAYOUTS: readonly (readonly [RegExp, (match: RegExpExecArray) => ReturnType<Layout>])[] = [
  [
    DKMS,
    ([, set = "", release, machine, original, itsMachine]) => ({
      ...{ layout: "dkms", set, release: release ?? original ?? "", machine: machine ?? itsMachine },
    }),
  ],
  [MODULES, ([path, set = "", release = ""]) => modulesOf(path, set, release)],
  [BARE_MODULES, ([path, set = "", release = ""]) => modulesOf(path, set, release)],
  [
    VIEW,
    ([, set = "", machine, name = ""]) => ({ layout: "view", set, machine, release: releaseInView(name) }),
  ],
  [FALCO, ([path, target = "", release = ""]) => bucketOf(path, release, { target })],
  [FALCO_OTHER, ([path, target = "", release = ""]) => bucketOf(path, release, { target })],
  [STACKROX, ([path, release = ""]) => bucketOf(path, release.replace(/~\d\d\.\d\d$/, ""), {})],
  [SYSDIG, ([path, machine, release = ""]) => bucketOf(path, release, { machine })],
];

/** Undefined where the place says nothing of a kernel. */
export function claimOf(path: string): Claim | undefined {
  for (const [expression, read] of LAYOUTS) {
    const match = expression.exec(path);
    if (match === null) continue;
    const { machine, ...claim } = read(match);
    // A release begins with a number; what does not is only a directory's name.
    if (!/^\d/.test(claim.release)) return undefined;
    const architecture = ArchitectureName.safeParse(machine ?? machineAbove(claim, path)).data;
    return architecture === undefined ? claim : { ...claim, architecture };
  }
  return undefined;
}

/** Buckets have a directory for each architecture. */
function machineAbove({ layout }: Pick<Claim, "layout">, path: string): string | undefined {
  return layout === "bucket" ? new RegExp(`(?:^|/)(${MACHINE})/[^/]+$`).exec(path)?.[1] : undefined;
}

/** Modules of other releases with the same kABI lie in weak-updates, as links, or as files where a server follows them. */
function modulesOf(path: string, set: string, release: string): ReturnType<Layout> {
  const isWeak = path.startsWith("weak-updates/", set.length + 1);
  return { layout: "modules", set, release, ...(isWeak ? { mayBeOther: true } : {}) };
}

function bucketOf(
  path: string,
  release: string,
  rest: { readonly target?: string; readonly machine?: string | undefined },
): ReturnType<Layout> {
  return { layout: "bucket", set: path, release, ...rest };
}

/** A package version follows the architecture of an rpm release, else the last underscore. */
function releaseInView(name: string): string {
  const rpm = /^([^_]+(?:_[^_.]+)?\.(?:x86_64|aarch64)(?:\+[^_]+)?)(?:_.*)?$/.exec(name)?.[1];
  return rpm ?? name.replace(/_[^_]*$/, "");
}

/** Whether a module that was built for a release is where it belongs. */
export function fitOf({ release, layout, target, mayBeOther }: Claim, built: string): Fit {
  if (release === built) return "same";
  if (mayBeOther) return "possible";
  if (target !== undefined) return fitOfListedName(target, release, built);
  const letters = (name: string) => name.replaceAll(/[^A-Za-z0-9]/g, "");
  return layout === "bucket" && letters(release) === letters(built) ? "same" : "other";
}
