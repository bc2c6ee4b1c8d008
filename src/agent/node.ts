/** What a node says of itself: which kernel runs or is to run, and what that demands of modules. */
import { machine, release, version } from "node:os";
import { FarmError } from "../base/error.ts";
import { readBanner, versionInBanner } from "../formats/vmlinuz.ts";
import { readIfThere } from "./state.ts";

/** In the words of `uname`. */
export interface NodeKernel {
  readonly release: string;
  readonly version: string;
  readonly machine: string;
}

/** `host` is the node's `/` in a container, or empty. @throws FarmError REMOTE_UNAVAILABLE for a `next` that cannot be read */
export async function kernelOf(host: string, next: string | undefined): Promise<NodeKernel> {
  if (next !== undefined) return { release: next, version: await versionOf(host, next), machine: machine() };
  const said = await Promise.all(
    ["osrelease", "version"].map((name) => line(`${host}/proc/sys/kernel/${name}`)),
  );
  const [itsRelease = "", itsVersion = ""] = host === "" ? [] : said;
  return itsVersion === ""
    ? { release: release(), version: version(), machine: machine() }
    : { release: itsRelease, version: itsVersion, machine: machine() };
}

/** What `uname -v` will say, by the words in the boot image. */
async function versionOf(host: string, next: string): Promise<string> {
  let image = `${host}/boot/vmlinuz-${next}`;
  let bytes = await readIfThere(image);
  // Where packages have it: the one below /boot is a copy that is made later, or never.
  if (bytes === undefined) {
    image = `${host}/lib/modules/${next}/vmlinuz`;
    bytes = await readIfThere(image);
  }
  const banner = bytes === undefined ? undefined : await readBanner(bytes, image, refuseToUnpack);
  const said = banner?.startsWith(`Linux version ${next} (`) === true ? versionInBanner(banner) : undefined;
  if (said === undefined)
    throw new FarmError("REMOTE_UNAVAILABLE", {
      detail: `${image} cannot be read here: run this again once that kernel is booted`,
    });
  return said;
}

/** Programs that undo xz and lz4 are not on every node. */
async function refuseToUnpack(): Promise<Buffer> {
  throw new Error("not unpacked here");
}

export interface SignatureRules {
  /** Where it stands that the kernel loads signed modules only; undefined if it loads others too. */
  readonly enforcedBy: string | undefined;
  /** Whether the kernel has the certificate with that subject key id. */
  readonly hasKey: (keyId: string) => boolean;
}

const ENFORCERS = ["sys/module/module/parameters/sig_enforce", "sys/kernel/security/lockdown"];

/** Of the kernel that runs, also where another one is prepared for. */
export async function signatureRulesOf(host: string): Promise<SignatureRules> {
  const texts = await Promise.all(ENFORCERS.map((path) => text(`${host}/${path}`)));
  const at = texts.findIndex((one) => /^Y|\[(integrity|confidentiality)\]/m.test(one));
  const keys = await text(`${host}/proc/keys`);
  return {
    enforcedBy: ENFORCERS[at]?.split("/").at(-1),
    hasKey: (keyId) => keys.includes(`: ${keyId}: X509`),
  };
}

async function text(path: string): Promise<string> {
  return (await readIfThere(path))?.toString("latin1") ?? "";
}

async function line(path: string): Promise<string> {
  return (await text(path)).split("\n", 1)[0] ?? "";
}
