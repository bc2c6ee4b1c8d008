/**
 * Looking through a heap of modules without knowing their kernels: what each file says of itself, against what its place
 * claims and against the others that claim the same kernel. Modules of one kernel agree on its vermagic, its build salt,
 * the key that signed them and the CRC of every symbol; one that does not is another kernel's, or damaged.
 */
import { createHash } from "node:crypto";
import { FarmError, toFarmError } from "../base/error.ts";
import { openModules } from "../formats/compressed-module.ts";
import { readKernelModule } from "../formats/kernel-module.ts";
import { splitSignature } from "../formats/module-signature.ts";
import { crcText } from "../formats/module-symvers.ts";
import { type Claim, claimOf } from "./claims.ts";
import { fileModuleName } from "./format.ts";
import { readSigner, type Signer, verifySignature } from "./signature.ts";

type FindingKind = "damaged" | "misnamed" | "wrongKernel" | "cannotLoad" | "duplicate" | "noKernel";

export interface Finding {
  readonly path: string;
  readonly kind: FindingKind;
  readonly fact: string;
}

/** What is kept of one file. */
export interface AuditedFile {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  readonly claim?: Claim | undefined;
  /** Undefined for what is no whole module; `fault` says why. */
  readonly facts?: ModuleFacts;
  readonly fault?: string;
}

interface ModuleFacts {
  readonly name: string;
  readonly architecture: string;
  readonly vermagic: string;
  readonly buildSalt?: string | undefined;
  readonly depends: readonly string[];
  /** Who signed it, as it says. */
  readonly signer?: string | undefined;
  readonly versions?: ReadonlyMap<string, number> | undefined;
  readonly imports: readonly string[];
  readonly exports: readonly string[];
}

/** Certificates (DER) of the kernels that lie beside their modules, by release. */
export type KernelKeys = ReadonlyMap<string, readonly Uint8Array[]>;

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
  signersOf: (release: string) => readonly Signer[] | undefined,
  place = "",
): Promise<AuditedFile[]> {
  const opened = await openModules(inputs.map(({ path, bytes }) => ({ bytes, what: path })));
  return inputs.map(({ path, bytes }, index) => {
    const claim = claimOf(path) ?? claimOf(`${place}/${path}`);
    const base = {
      path,
      claim,
      size: bytes.length,
      digest: createHash("sha256").update(bytes).digest("hex"),
    };
    const plain = opened[index] as Buffer | FarmError;
    try {
      if (plain instanceof FarmError) throw plain;
      return { ...base, ...readFacts(path, plain, signersOf(claim?.release ?? "")) };
    } catch (thrown) {
      const error = toFarmError(thrown);
      if (error.code !== "MODULE_MALFORMED") throw error;
      return { ...base, fault: error.message.replace(`${path}: `, "") };
    }
  });
}

/** A file that is listed, and whose bytes nobody can have. */
export function unreadable(path: string, fault: string): AuditedFile {
  return { path, claim: claimOf(path), size: 0, digest: "", fault };
}

/** @throws FarmError MODULE_MALFORMED */
function readFacts(
  path: string,
  bytes: Buffer,
  signers: readonly Signer[] | undefined,
): Pick<AuditedFile, "facts" | "fault"> {
  const { name, architecture, vermagic, buildSalt, depends, versions, signature, imports, exports } =
    readKernelModule(bytes, path);
  const cms = signature?.kind === "pkcs7" ? signature.cms.signer : undefined;
  if (cms !== undefined && signers !== undefined) {
    const found = verifySignature(splitSignature(bytes, path), signers);
    // Whoever signed it otherwise is looked at beside the others of its kernel.
    if (found.kind === "bad" && !found.isUnknownKey) return { fault: found.fact };
  }
  const signer =
    cms === undefined ? undefined : "serial" in cms ? cms.serial : Buffer.from(cms.keyId).toString("hex");
  return {
    facts: {
      ...{ name, architecture, vermagic, buildSalt, versions, signer, imports },
      depends: [...depends],
      exports: exports.map((one) => one.name),
    },
  };
}

/** Signers of each release's keys, made once; undefined where they are not known, or not all of them can be read. */
export function signersByRelease(keys: KernelKeys): (release: string) => readonly Signer[] | undefined {
  const known = new Map<string, readonly Signer[] | undefined>();
  return (release) => {
    if (!known.has(release)) known.set(release, signersOf(keys.get(release), release));
    return known.get(release);
  };
}

function signersOf(
  certificates: ReturnType<KernelKeys["get"]>,
  release: string,
): readonly Signer[] | undefined {
  try {
    return certificates?.map((der) => readSigner(Buffer.from(der), release));
  } catch (thrown) {
    // An image whose keys are none says nothing about modules.
    if (thrown instanceof FarmError && thrown.code === "MODULE_MALFORMED") return undefined;
    throw thrown;
  }
}

export interface AuditContext {
  /** Releases of kernels that there are, where somebody knows them. */
  readonly kernels?: ReadonlySet<string> | undefined;
  /** Modules that are part of the kernel itself, by release: where they are known, a set is whole. */
  readonly builtin: ReadonlyMap<string, ReadonlySet<string>>;
  /** What the kernel itself exports, by release, where somebody knows. */
  readonly exports: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Everything that is wrong, by path; a file that is damaged is only that. */
export function findings(files: readonly AuditedFile[], context: AuditContext): Finding[] {
  const groups = Map.groupBy(files, ({ claim }) => (claim === undefined ? "" : groupKey(claim)));
  const found = [
    ...files.flatMap(ownFaults),
    ...[...groups].flatMap(([key, group]) => (key === "" ? [] : groupFaults(group, context))),
    ...duplicates(files),
  ];
  return found.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

function groupKey({ release, architecture }: Claim): string {
  return `${release} ${architecture ?? ""}`;
}

/** What a file says of itself against its name and its place. */
function ownFaults({ path, claim, facts, fault }: AuditedFile): Finding[] {
  if (facts === undefined) return [{ path, kind: "damaged", fact: fault ?? "it cannot be read" }];
  const found: Finding[] = [];
  const file = fileName(path);
  // Falco's file names are not its module's.
  if (claim?.layout !== "falco" && file !== facts.name)
    found.push({ path, kind: "misnamed", fact: `it is the module ${facts.name}` });
  if (claim === undefined) return found;
  const [release = ""] = facts.vermagic.split(" ");
  if (claim.architecture !== undefined && claim.architecture !== facts.architecture)
    found.push({
      path,
      kind: "wrongKernel",
      fact: `it is for ${facts.architecture}, not for ${claim.architecture}`,
    });
  else if (release !== claim.release && !isNamedOtherwise(claim, release))
    found.push({ path, kind: "wrongKernel", fact: `it was built for ${release}, not for ${claim.release}` });
  return found;
}

/** The module that a file should be by its name. */
function fileName(path: string): string {
  return fileModuleName(path.split("/").at(-1) ?? "");
}

/** Falco writes `~` and `+` of releases as they are, other tools do not. */
function isNamedOtherwise({ layout, release }: Claim, built: string): boolean {
  return (
    layout === "falco" && release.replaceAll(/[^A-Za-z0-9]/g, "") === built.replaceAll(/[^A-Za-z0-9]/g, "")
  );
}

/** What files that claim one kernel disagree about, and what they lack of it. */
function groupFaults(group: readonly AuditedFile[], { kernels, builtin, exports }: AuditContext): Finding[] {
  const release = group[0]?.claim?.release ?? "";
  const whole = group.flatMap(({ path, claim, facts }) =>
    facts === undefined ||
    ownFaults({ path, claim, facts, digest: "", size: 0 }).some(({ kind }) => kind === "wrongKernel")
      ? []
      : [{ path, facts }],
  );
  const lacking = kernels === undefined || kernels.has(release) ? [] : group.slice(0, 1);
  const consensus = crcsOf(whole.map(({ facts }) => facts));
  const most = {
    architecture: majority(whole.map(({ facts }) => facts.architecture)),
    vermagic: majority(whole.map(({ facts }) => facts.vermagic)),
    buildSalt: majority(whole.flatMap(({ facts }) => facts.buildSalt ?? [])),
    signer: majority(whole.flatMap(({ facts }) => facts.signer ?? [])),
  };
  const inKernel = builtin.get(release);
  const ofKernel = exports.get(release);
  const exported = new Set(ofKernel === undefined ? [] : whole.flatMap(({ facts }) => facts.exports));
  // One that is damaged is told of itself, not by all that need it.
  const names = new Set(group.map(({ path }) => fileName(path)));
  return [
    ...lacking.map(
      ({ path }): Finding => ({ path, kind: "noKernel", fact: `there is no kernel ${release}` }),
    ),
    ...whole.flatMap(({ path, facts }): Finding[] => {
      const wrong = (fact: string): Finding[] => [{ path, kind: "wrongKernel", fact }];
      const { architecture, vermagic, buildSalt, signer, versions, depends, imports } = facts;
      if (most.architecture !== undefined && architecture !== most.architecture)
        return wrong(`it is for ${architecture}, and the others of ${release} for ${most.architecture}`);
      if (most.vermagic !== undefined && vermagic !== most.vermagic)
        return wrong(
          `its vermagic is "${vermagic}", and that of the others of ${release} "${most.vermagic}"`,
        );
      if (most.buildSalt !== undefined && buildSalt !== undefined && buildSalt !== most.buildSalt)
        return wrong(
          `its build salt is "${buildSalt}", and that of the others of ${release} "${most.buildSalt}"`,
        );
      if (most.signer !== undefined && signer !== undefined && signer !== most.signer)
        return wrong(`it is signed by key ${signer}, and the others of ${release} by ${most.signer}`);
      const crc = [...(versions ?? [])].find(([symbol, value]) => (consensus.get(symbol) ?? value) !== value);
      if (crc !== undefined)
        return [
          {
            path,
            kind: "cannotLoad",
            fact: `${crc[0]} has CRC ${crcText(crc[1])} in it, and ${crcText(consensus.get(crc[0]) ?? 0)} in the others of ${release}`,
          },
        ];
      const cannotLoad = (fact: string): Finding[] => [{ path, kind: "cannotLoad", fact }];
      const missing =
        inKernel === undefined ? undefined : depends.find((name) => !names.has(name) && !inKernel.has(name));
      if (missing !== undefined)
        return cannotLoad(`it needs the module ${missing}, which ${release} does not have`);
      // Who needs a module that is damaged, or not here, gets symbols from nobody knows where.
      const isAlone = depends.every((name) => whole.some((one) => one.facts.name === name));
      const unknown =
        ofKernel === undefined || !isAlone
          ? undefined
          : imports.find((symbol) => !ofKernel.has(symbol) && !exported.has(symbol));
      return unknown === undefined
        ? []
        : cannotLoad(`it needs the symbol ${unknown}, which neither ${release} nor its modules export`);
    }),
  ];
}

/** The CRC of each symbol that more than half of those who import it agree on; two alone agree on nothing. */
function crcsOf(modules: readonly ModuleFacts[]): ReadonlyMap<string, number> {
  const votes = new Map<string, Map<number, number>>();
  for (const { versions } of modules)
    for (const [symbol, crc] of versions ?? []) {
      const known = votes.get(symbol) ?? new Map<number, number>();
      known.set(crc, (known.get(crc) ?? 0) + 1);
      votes.set(symbol, known);
    }
  const agreed = new Map<string, number>();
  for (const [symbol, counts] of votes) {
    if (counts.size === 1) continue;
    const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
    const winner = [...counts].find(([, count]) => count * 2 > total);
    if (winner !== undefined) agreed.set(symbol, winner[0]);
  }
  return agreed;
}

/** What more than half of some say; undefined when there is no such thing, or nobody to disagree. */
function majority(values: readonly string[]): string | undefined {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  if (counts.size < 2) return undefined;
  return [...counts].find(([, count]) => count * 2 > values.length)?.[0];
}

function withoutPacking(path: string): string {
  return path.replace(/\.(xz|zst|gz)$/, "");
}

/**
 * Two modules of one name for one kernel, and one file for two kernels. What is wrong otherwise is the double, else the
 * later path.
 */
function duplicates(files: readonly AuditedFile[]): Finding[] {
  const found: Finding[] = [];
  const [names, digests] = [new Map<string, AuditedFile>(), new Map<string, AuditedFile>()];
  const [right, wrong] = [
    files.filter((file) => ownFaults(file).length === 0),
    files.filter((file) => ownFaults(file).length > 0),
  ];
  for (const file of [...right, ...wrong]) {
    const { path, claim, digest, facts } = file;
    const twin = digests.get(digest);
    if (digest === "") continue;
    if (twin === undefined) digests.set(digest, file);
    else found.push({ path, kind: "duplicate", fact: `it has the very bytes of ${twin.path}` });
    if (facts === undefined || claim === undefined || twin !== undefined) continue;
    const place = `${claim.set} ${facts.name}`;
    const namesake = names.get(place);
    if (namesake === undefined) names.set(place, file);
    // A view has a module in each shape that nodes want.
    else if (claim.layout === "view" && withoutPacking(path) === withoutPacking(namesake.path)) continue;
    else found.push({ path, kind: "duplicate", fact: `${namesake.path} is the module ${facts.name} too` });
  }
  return found;
}
