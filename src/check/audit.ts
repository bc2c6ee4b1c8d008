/**
 * Looking through a heap of modules without knowing their kernels: what each file says of itself. audit-findings.ts
 * compares that with what its place claims, and with the others that claim the same kernel.
 */

import { createHash } from "node:crypto";
import { UNPACK } from "../base/decompress.ts";
import { FarmError, toFarmError } from "../base/error.ts";
import { openedModules, type Packing, packingOf } from "../formats/compressed-module.ts";
import { readKernelModule } from "../formats/kernel-module.ts";
import { splitSignature } from "../formats/module-signature.ts";
import type { Vmlinuz } from "../formats/vmlinuz.ts";
import { type LinuxRoot, rootOfKernel } from "../provenance/trees/linux-merkle.ts";
import { type Claim, claimOf } from "./claims.ts";
import { readSigner, type Signer, verifySignature } from "./signature.ts";

/** What is kept of one file. */
export interface AuditedFile {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  readonly claim?: Claim | undefined;
  /** How its bytes are compressed, whatever its name says. */
  readonly packing?: Packing | undefined;
  /** Why its bytes could not be had; nothing is known of it then. */
  readonly unread?: string;
  /** Undefined for what is no whole module; `fault` says why. */
  readonly facts?: ModuleFacts;
  readonly fault?: string;
}

export interface ModuleFacts {
  readonly name: string;
  readonly architecture: string;
  readonly vermagic: string;
  readonly buildSalt?: string | undefined;
  readonly depends: readonly string[];
  /** Whether it says that it is part of the kernel's own tree. */
  readonly isInTree: boolean;
  readonly isSigned: boolean;
  /** It has a Merkle proof, and the root of its kernel is not known. */
  readonly isUnproven?: boolean;
  /** Who signed it, as it says. */
  readonly signer?: string | undefined;
  readonly versions?: ReadonlyMap<string, number> | undefined;
  readonly imports: readonly string[];
  readonly exports: readonly string[];
}

/** What the boot images of kernels that lie beside their modules say, by release. */
export type KernelKeys = ReadonlyMap<string, Pick<Vmlinuz, "certificates" | "moduleHashes">>;

/** What modules of a kernel are judged by. */
interface Trusted {
  /** Undefined where not all of its certificates can be read. */
  readonly signers: readonly Signer[] | undefined;
  readonly root: LinuxRoot | undefined;
}
type TrustedBy = (release: string) => Trusted | undefined;

export interface AuditInput {
  readonly path: string;
  readonly bytes: Buffer;
}

/**
 * Reads files; whatever is wrong with one is told, not thrown. What a path does not say of its kernel, the place may that
 * all of them are below.
 */
export async function auditFiles(
  inputs: readonly AuditInput[],
  trustedBy: TrustedBy,
  place = "",
): Promise<AuditedFile[]> {
  const files = inputs.map(({ path, bytes }) => ({ bytes, what: path }));
  const audited: AuditedFile[] = [];
  for await (const [index, plain] of openedModules(files, UNPACK))
    audited[index] = auditedFile(inputs[index] as AuditInput, plain, trustedBy, place);
  return audited;
}

function auditedFile(
  { path, bytes }: AuditInput,
  plain: Buffer | FarmError,
  trustedBy: TrustedBy,
  place: string,
): AuditedFile {
  const claim = claimOf(path) ?? claimOf(`${place}/${path}`);
  const base = {
    path,
    claim,
    size: bytes.length,
    packing: packingOf(bytes),
    digest: createHash("sha256").update(bytes).digest("hex"),
  };
  try {
    if (plain instanceof FarmError) throw plain;
    return { ...base, ...readFacts(path, plain, trustedBy(claim?.release ?? "")) };
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.code !== "MODULE_MALFORMED") throw error;
    return { ...base, fault: error.factAbout(path) };
  }
}

/** A file that its place does not have, though it lists it. */
export function absent(path: string): AuditedFile {
  return { path, claim: claimOf(path), size: 0, digest: "", fault: "it is listed but does not exist" };
}

/** A file whose bytes could not be had, which says nothing about it. */
export function unread(path: string, why: string): AuditedFile {
  return { path, claim: claimOf(path), size: 0, digest: "", unread: why };
}

/** @throws FarmError MODULE_MALFORMED */
function readFacts(
  path: string,
  bytes: Buffer,
  { signers, root }: Trusted = { signers: undefined, root: undefined },
): Pick<AuditedFile, "facts" | "fault"> {
  const { name, architecture, vermagic, buildSalt, depends, versions, signature, imports, exports, modinfo } =
    readKernelModule(bytes, path);
  const cms = signature?.kind === "pkcs7" ? signature.cms.signer : undefined;
  const isJudged = cms !== undefined ? signers !== undefined : signature !== undefined;
  const found = isJudged ? verifySignature(splitSignature(bytes, path), signers ?? [], root) : undefined;
  // A different signer is compared with the others of its kernel.
  if (found?.kind === "bad" && found.code !== "unknownKey") return { fault: found.fact };
  const signer =
    cms === undefined ? undefined : "serial" in cms ? cms.serial : Buffer.from(cms.keyId).toString("hex");
  return {
    facts: {
      ...{ name, architecture, vermagic, buildSalt, versions, signer, imports },
      isInTree: modinfo.some(([key]) => key === "intree"),
      isSigned: signature !== undefined,
      ...(found?.kind === "unjudged" ? { isUnproven: true } : {}),
      depends: [...depends],
      exports: exports.map((one) => one.name),
    },
  };
}

/** What each release's kernel trusts, made once; undefined where its boot image is not known. */
export function trustedByRelease(keys: KernelKeys): TrustedBy {
  const known = new Map<string, Trusted | undefined>();
  return (release) => {
    const said = keys.get(release);
    if (!known.has(release))
      known.set(
        release,
        said && { signers: signersOf(said.certificates, release), root: rootOfKernel(said.moduleHashes) },
      );
    return known.get(release);
  };
}

function signersOf(certificates: readonly Uint8Array[], release: string): readonly Signer[] | undefined {
  try {
    return certificates.map((der) => readSigner(Buffer.from(der), release));
  } catch (thrown) {
    // An image whose keys are none says nothing about modules.
    if (thrown instanceof FarmError && thrown.code === "MODULE_MALFORMED") return undefined;
    throw thrown;
  }
}
