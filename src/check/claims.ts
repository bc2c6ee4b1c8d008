/**
 * What the place of a module file claims: for which kernel it is, in the layouts that people keep modules in.
 */
import { ArchitectureName } from "../kernel/architecture.ts";

export interface Claim {
  /** `uname -r` */
  readonly release: string;
  readonly architecture?: ArchitectureName;
  readonly layout: "modules" | "view" | "dkms" | "falco";
  /** Where the modules of its kernel lie together; modules of one name there are one too many. */
  readonly set: string;
}

const KO = String.raw`[^/]+\.ko(?:\.(?:xz|zst|gz))?`;

/** `/lib/modules/RELEASE/…`, as kernels and distributions have it. */
const MODULES = new RegExp(`^((?:.*/)?lib/modules/([^/]+))/(?:.+/)?${KO}$`);
/** `RELEASE/kernel/…`, `RELEASE/updates/…`: the same, seen from /lib/modules. */
const BARE_MODULES = new RegExp(
  `^((?:.*/)?([0-9][^/]*))/(?:kernel|updates|extra|weak-updates)/(?:.+/)?${KO}$`,
);
/** `…/DISTRIBUTION/ARCHITECTURE/RELEASE[_PACKAGEVERSION]/name.ko`: ours, and the original pipeline's. */
const VIEW = new RegExp(`^((?:.*/)?[^/]+/(x86_64|aarch64)/([^/_]+(?:_[^/]*)?))/${KO}$`);
/** `NAME/VERSION/RELEASE/ARCHITECTURE/module/name.ko`, below /var/lib/dkms. */
const DKMS = new RegExp(`^((?:.*/)?[^/]+/[^/]+/([^/]+)/(x86_64|aarch64))/module/${KO}$`);
/** `[ARCHITECTURE/]falco_TARGET_RELEASE_NUMBER.ko`: Falco's bucket of drivers. */
const FALCO =
  /^(?:.*?\/)??(?:(x86_64|aarch64)\/)?[a-z0-9-]+_[a-z0-9.-]+_([^/]+)_\d+\.ko(?:\.(?:xz|zst|gz))?$/;

/** Undefined where the place says nothing of a kernel. */
export function claimOf(path: string): Claim | undefined {
  const named = (layout: Claim["layout"], set = "", release = "", machine?: string): Claim | undefined => {
    const architecture = ArchitectureName.safeParse(machine).data;
    // A release begins with a number; what does not is only a directory's name.
    if (!/^\d/.test(release)) return undefined;
    return { release, layout, set, ...(architecture === undefined ? {} : { architecture }) };
  };
  const dkms = DKMS.exec(path);
  if (dkms !== null) return named("dkms", dkms[1], dkms[2], dkms[3]);
  const modules = MODULES.exec(path) ?? BARE_MODULES.exec(path);
  if (modules !== null) return named("modules", modules[1], modules[2]);
  const view = VIEW.exec(path);
  // A package version follows the last underscore; releases of rpm kernels end with `.x86_64`.
  if (view !== null) return named("view", view[1], view[3]?.replace(/(?<!\.x86)_[^_]*$/, ""), view[2]);
  const falco = FALCO.exec(path);
  return falco === null ? undefined : named("falco", path, falco[2], falco[1]);
}
