/**
 * What is wrong with modules that were read: against what their places claim, and against the others that claim the same
 * kernel. Modules of one kernel agree on its vermagic, its build salt, the key that signed them and the CRC of every
 * symbol; one that does not is another kernel's, or damaged. What cannot be judged is said to be so.
 */
import { crcText } from "../formats/module-symvers.ts";
import type { AuditedFile, ModuleFacts } from "./audit.ts";
import { fileModuleName } from "./checks/format.ts";
import { type Claim, fitOf } from "./claims.ts";

type FindingKind =
  | "damaged"
  | "misnamed"
  | "wrongKernel"
  | "cannotLoad"
  | "unsigned"
  | "duplicate"
  | "noKernel";

export interface Finding {
  readonly path: string;
  readonly kind: FindingKind;
  readonly fact: string;
}

export interface AuditContext {
  /** Releases of the kernels that exist, if known. */
  readonly kernels?: ReadonlySet<string> | undefined;
  /** Modules that are part of the kernel itself, by release: where they are known, a set is whole. */
  readonly builtin: ReadonlyMap<string, ReadonlySet<string>>;
  /** What the kernel itself exports, by release, if known. */
  readonly exports: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Everything that is wrong, by path; a file that is damaged is only that, and one that was not read is nothing. */
export function findings(files: readonly AuditedFile[], context: AuditContext): Finding[] {
  const judged = files
    .filter((file) => file.unread === undefined)
    .map((file) => ({ file, own: ownFaults(file) }));
  const groups = Map.groupBy(files, ({ claim }) => (claim === undefined ? "" : groupKey(claim)));
  const found = [
    ...judged.flatMap(({ own }) => own),
    ...[...groups].flatMap(([key, group]) => (key === "" ? [] : groupFaults(group, context))),
    ...duplicates([
      ...judged.flatMap(({ file, own }) => (own.length === 0 ? [file] : [])),
      ...judged.flatMap(({ file, own }) => (own.length === 0 ? [] : [file])),
    ]),
  ];
  return found.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

export interface Unjudged {
  readonly path: string;
  readonly why: string;
}

/** Whole modules of which nobody can say whether they are their kernel's: their places do not say which it is, or not enough. */
export function unjudged(files: readonly AuditedFile[]): Unjudged[] {
  return files.flatMap(({ path, claim, facts }) => {
    if (facts === undefined) return [];
    if (claim === undefined) return [{ path, why: "the path does not show which kernel the module is for" }];
    if (facts.isUnproven) return [{ path, why: UNPROVEN }];
    return fitOf(claim, builtFor(facts)) === "possible" && !isOtherArchitecture(claim, facts)
      ? [{ path, why: POSSIBLE }]
      : [];
  });
}

const UNPROVEN = "it has a Merkle proof, and the root that this leads to is in no boot image next to it";
const POSSIBLE =
  "the path does not give the kernel's release as `uname -r` does; what it does give is consistent";

function groupKey({ release, architecture }: Claim): string {
  return `${release} ${architecture ?? ""}`;
}

function builtFor({ vermagic }: ModuleFacts): string {
  return vermagic.split(" ")[0] ?? "";
}

function isOtherArchitecture(claim: Claim, { architecture }: ModuleFacts): boolean {
  return claim.architecture !== undefined && claim.architecture !== architecture;
}

/** What a file says of itself against its name and its place. */
function ownFaults(file: AuditedFile): Finding[] {
  const { path, claim, facts, fault } = file;
  if (facts === undefined) return [{ path, kind: "damaged", fact: fault ?? "it cannot be read" }];
  const names = misnomers(file, facts).map((fact): Finding => ({ path, kind: "misnamed", fact }));
  if (claim === undefined) return names;
  const wrong = (fact: string): Finding[] => [...names, { path, kind: "wrongKernel", fact }];
  if (isOtherArchitecture(claim, facts))
    return wrong(`it is for ${facts.architecture}, not for ${claim.architecture}`);
  const built = builtFor(facts);
  return fitOf(claim, built) === "other"
    ? wrong(`it was built for ${built}, not for ${claim.release}`)
    : names;
}

function misnomers({ path, claim, packing }: AuditedFile, { name }: ModuleFacts): string[] {
  const file = fileName(path);
  const said = /\.(xz|zst|gz)$/.exec(path)?.[1];
  const is = packing === undefined ? "not compressed" : `compressed as ${packing}`;
  return [
    ...(isNamedByModule(claim, file, name) || file === name ? [] : [`it contains the module ${name}`]),
    ...(said === packing ? [] : [`it is ${is}, contrary to its name`]),
  ];
}

/** Files of buckets are named after their kernels; in an unknown layout, a file's name may hold more than the module's. */
function isNamedByModule(claim: Claim | undefined, file: string, module: string): boolean {
  if (claim !== undefined) return claim.layout === "bucket";
  return file.includes(".") || file.includes(module);
}

/** The module that a file should be by its name. */
function fileName(path: string): string {
  return fileModuleName(path.split("/").at(-1) ?? "");
}

interface Whole {
  readonly path: string;
  readonly facts: ModuleFacts;
}

/** The files that claim one kernel, and what most of them say. */
interface Group {
  readonly release: string;
  readonly whole: readonly Whole[];
  /** Of every file here: a damaged one is reported itself, not by all that need it. */
  readonly names: ReadonlySet<string>;
  readonly crcs: ReadonlyMap<string, number>;
  readonly most: Readonly<Record<keyof typeof TRAITS, string | undefined>>;
  readonly inKernel: ReadonlySet<string> | undefined;
  readonly ofKernel: ReadonlySet<string> | undefined;
  readonly exported: ReadonlySet<string>;
}

/** What all modules of one kernel have in common; undefined where a module does not have to have it. */
const TRAITS = {
  architecture: ({ architecture }: ModuleFacts) => architecture,
  vermagic: ({ vermagic }: ModuleFacts) => vermagic,
  buildSalt: ({ buildSalt }: ModuleFacts) => buildSalt,
  // A module from elsewhere may be signed by its owner.
  signer: ({ signer, isInTree }: ModuleFacts) => (isInTree ? signer : undefined),
  isSigned: ({ isSigned }: ModuleFacts) => (isSigned ? "signed" : "unsigned"),
} satisfies Record<string, (facts: ModuleFacts) => string | undefined>;

type Fault = Pick<Finding, "kind" | "fact">;

/** What files that claim one kernel disagree about, and what they need that it does not have. */
function groupFaults(files: readonly AuditedFile[], context: AuditContext): Finding[] {
  const whole = files.flatMap(({ path, claim, facts }) =>
    facts === undefined ||
    claim === undefined ||
    isOtherArchitecture(claim, facts) ||
    fitOf(claim, builtFor(facts)) === "other"
      ? []
      : [{ path, facts }],
  );
  const group = groupOf(files, whole, context);
  return [
    ...withoutKernel(files, context),
    ...whole.flatMap(({ path, facts }) => {
      for (const look of LOOKS) {
        const fault = look(facts, group);
        if (fault !== undefined) return [{ path, ...fault }];
      }
      return [];
    }),
  ];
}

function groupOf(files: readonly AuditedFile[], whole: readonly Whole[], context: AuditContext): Group {
  const release = files[0]?.claim?.release ?? "";
  const most = (trait: keyof typeof TRAITS) =>
    majority(whole.flatMap(({ facts }) => TRAITS[trait](facts) ?? []));
  const ofKernel = context.exports.get(release);
  return {
    release,
    whole,
    names: new Set(files.map(({ path }) => fileName(path))),
    crcs: crcsOf(whole.map(({ facts }) => facts)),
    most: {
      architecture: most("architecture"),
      vermagic: most("vermagic"),
      buildSalt: most("buildSalt"),
      signer: most("signer"),
      isSigned: most("isSigned"),
    },
    inKernel: context.builtin.get(release),
    ofKernel,
    exported: new Set(ofKernel === undefined ? [] : whole.flatMap(({ facts }) => facts.exports)),
  };
}

/** Reported once for each kernel, with the first of its modules. */
function withoutKernel(files: readonly AuditedFile[], { kernels }: AuditContext): Finding[] {
  const first = files.find(({ facts }) => facts !== undefined);
  const claim = first?.claim;
  if (first === undefined || claim === undefined || kernels === undefined) return [];
  // A list's name of a kernel is not one that others know it by.
  if (kernels.has(claim.release) || claim.target !== undefined) return [];
  return [{ path: first.path, kind: "noKernel", fact: `there is no kernel ${claim.release}` }];
}

/** The first fault counts: a module of another kernel disagrees about everything else too. */
const LOOKS: readonly ((facts: ModuleFacts, group: Group) => Fault | undefined)[] = [
  otherKernel,
  otherCrc,
  missingModule,
  missingSymbol,
  notSigned,
];

function otherKernel(facts: ModuleFacts, { most, release }: Group): Fault | undefined {
  const of = (trait: keyof typeof TRAITS) => {
    const [own, others] = [TRAITS[trait](facts), most[trait]];
    return own === undefined || others === undefined || own === others ? undefined : { own, others };
  };
  const wrong = (fact: string): Fault => ({ kind: "wrongKernel", fact });
  const [architecture, vermagic] = [of("architecture"), of("vermagic")];
  const [salt, signer] = [of("buildSalt"), of("signer")];
  if (architecture !== undefined)
    return wrong(
      `it is for ${architecture.own}, but the other modules of ${release} are for ${architecture.others}`,
    );
  if (vermagic !== undefined)
    return wrong(
      `its vermagic is "${vermagic.own}", but that of the other modules of ${release} is "${vermagic.others}"`,
    );
  if (salt !== undefined)
    return wrong(
      `its build salt is "${salt.own}", but that of the other modules of ${release} is "${salt.others}"`,
    );
  if (signer !== undefined)
    return wrong(
      `it is signed with key ${signer.own}, but the other modules of ${release} with ${signer.others}`,
    );
  return undefined;
}

function otherCrc({ versions }: ModuleFacts, { crcs, release }: Group): Fault | undefined {
  for (const [symbol, own] of versions ?? []) {
    const others = crcs.get(symbol) ?? own;
    if (own === others) continue;
    return {
      kind: "cannotLoad",
      fact: `it expects CRC ${crcText(own)} for ${symbol}, but the other modules of ${release} expect ${crcText(others)}`,
    };
  }
  return undefined;
}

function missingModule({ depends }: ModuleFacts, { names, inKernel, release }: Group): Fault | undefined {
  const missing =
    inKernel === undefined ? undefined : depends.find((name) => !names.has(name) && !inKernel.has(name));
  return missing === undefined
    ? undefined
    : { kind: "cannotLoad", fact: `it needs the module ${missing}, which ${release} does not have` };
}

function missingSymbol({ depends, imports }: ModuleFacts, group: Group): Fault | undefined {
  const { ofKernel, exported, whole, release } = group;
  if (ofKernel === undefined) return undefined;
  const unknown = imports.find((symbol) => !ofKernel.has(symbol) && !exported.has(symbol));
  if (unknown === undefined) return undefined;
  // A module that needs a damaged or absent one gets symbols from a place that is not known.
  if (!depends.every((name) => whole.some(({ facts }) => facts.name === name))) return undefined;
  const fact = `it needs the symbol ${unknown}, which neither ${release} nor its modules export`;
  return { kind: "cannotLoad", fact };
}

function notSigned({ isSigned }: ModuleFacts, { most, release }: Group): Fault | undefined {
  if (isSigned || most.isSigned !== "signed") return undefined;
  const fact = `it is not signed, but the other modules of ${release} are; it does not load where signatures are enforced`;
  return { kind: "unsigned", fact };
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

/** The value that more than half have; undefined if there is none, or if no value differs. */
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
 * Two modules of one name for one kernel, and one file twice. Right ones come first, so that the duplicate is the one with
 * another fault, else the later path.
 */
function duplicates(files: readonly AuditedFile[]): Finding[] {
  const found: Finding[] = [];
  const [names, digests] = [new Map<string, AuditedFile>(), new Map<string, AuditedFile>()];
  for (const file of files) {
    const { path, claim, digest, facts } = file;
    if (facts === undefined) continue;
    const twin = digests.get(digest);
    if (twin === undefined) digests.set(digest, file);
    // Two releases may publish one kernel, a bucket has a kernel under each name that lists have for it, and what is
    // another kernel's is reported as that.
    else if (claim === undefined || claim.set === twin.claim?.set) {
      found.push({ path, kind: "duplicate", fact: `it is identical to ${twin.path}` });
      continue;
    }
    if (claim === undefined) continue;
    const place = `${claim.set} ${facts.name}`;
    const namesake = names.get(place);
    if (namesake === undefined) names.set(place, file);
    // A view has a module in each shape that nodes want.
    else if (claim.layout === "view" && withoutPacking(path) === withoutPacking(namesake.path)) continue;
    else found.push({ path, kind: "duplicate", fact: `${namesake.path} is also the module ${facts.name}` });
  }
  return found;
}
