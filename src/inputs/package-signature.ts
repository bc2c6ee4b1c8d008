/**
 * What a package's own signature is worth, as it is remembered and judged. It says who made these bytes, wherever they
 * came from; whether they are what somebody calls them is compared with what the signed header says.
 */
import { z } from "zod";
import type { Package } from "../kernel/kernel.ts";

/** Why a signature proves nothing, or that the package is not what was signed. */
export const SIGNATURE_FAULTS = [
  /** There is none, but digests, which anybody can make. */
  "unsigned",
  /** Only over header and payload, as it was before 2018, or only over a header that does not name its payload. */
  "legacySignature",
  /** More than one: which of them was meant, different readers would answer differently. */
  "severalSignatures",
  "strangeKey",
  "expiredSignature",
  "revokedKey",
  /** With a digest that others can find a second document for. */
  "weakSignature",
  /** The header is not what was signed, or the payload not what the signed header says. */
  "changedHeader",
  "changedPayload",
  /** It is something else than what the catalog calls it. */
  "otherPackage",
  "unreadableSignature",
  /** Nothing is known of it: the keys, or the package, cannot be had. */
  "noKeys",
  "notRead",
] as const;
export type SignatureFault = (typeof SIGNATURE_FAULTS)[number];

/** The package is not what its distribution made, or not what it is called; the other faults prove nothing either way. */
const FORGED: readonly SignatureFault[] = ["changedHeader", "changedPayload", "otherPackage"];

const Hex = z.string().regex(/^[0-9a-f]{64,128}$/);
/** Strangers wrote it: what is longer than any real word is not kept. */
const Word = z.string().max(256);

export const SignedPackage = z.object({
  kind: z.literal("signed"),
  /** Fingerprint of the primary key. */
  key: z.string().regex(/^(?:[0-9A-F]{40}|[0-9A-F]{64})$/),
  /** SHA-256 of the header, which is what is signed. */
  header: Hex,
  /** Of the payload, as the signed header says it and as it is. */
  payload: Hex,
  /** What the signed header says that the package is, in the words of a catalog. */
  name: Word,
  version: Word,
  architecture: Word,
  /** Each `uname -r` that it says it is for. */
  releases: z.array(Word),
});
export type SignedPackage = z.infer<typeof SignedPackage>;

export const PackageSignature = z.discriminatedUnion("kind", [
  SignedPackage,
  z.object({ kind: z.literal("refused"), why: z.enum(SIGNATURE_FAULTS), fact: z.string() }),
]);
export type PackageSignature = z.infer<typeof PackageSignature>;
type Refused = Extract<PackageSignature, { kind: "refused" }>;

export function refused(why: SignatureFault, fact: string): Refused {
  return { kind: "refused", why, fact };
}

export function isForged({ why }: Refused): boolean {
  return FORGED.includes(why);
}

/**
 * Whether a package is vouched for by its own signature: by one of the keys that count for its release, as what the
 * catalog calls it, for the kernel that it is used for. Else a mirror could show an older package, as signed as any,
 * under a newer one's name.
 */
export function judgeSignature(
  signature: PackageSignature,
  listed: Pick<Package, "name" | "version" | "architecture">,
  { keys, kversion }: { readonly keys: readonly string[]; readonly kversion: string | undefined },
): PackageSignature {
  if (signature.kind === "refused") return signature;
  const { key, name, version, architecture, releases } = signature;
  if (!keys.includes(key))
    return refused("strangeKey", `it is signed with ${key}, which is not a key of its release`);
  const [said, called] = [{ name, version, architecture }, listed].map(wordsOf);
  if (said !== called) return refused("otherPackage", `its signed header says that it is ${said}`);
  if (kversion === undefined || isFor(kversion, version, architecture, releases)) return signature;
  const own = releases.length === 0 ? `${version} on ${architecture}` : releases.join(", ");
  return refused("otherPackage", `its signed header says that it is for ${own}, not for ${kversion}`);
}

function wordsOf({
  name,
  version,
  architecture,
}: Pick<SignedPackage, "name" | "version" | "architecture">): string {
  return `${name}-${version}.${architecture}`;
}

/** Where a package does not say for which `uname -r` it is, that begins with its own version. */
function isFor(
  kversion: string,
  version: string,
  architecture: string,
  releases: readonly string[],
): boolean {
  if (releases.length > 0) return releases.includes(kversion);
  const own = version.replace(/^\d+:/, "");
  return kversion.startsWith(architecture === "all" ? own : `${own}.${architecture}`);
}
