/**
 * The node index: what a node needs to find its driver by `uname`, and nothing else. It is a tree of small files under their
 * digests, one for each driver and machine. A node hashes its driver, machine and release; the first digits of the hash choose
 * a line of the top node, the next ones a line of the node below, and so on to a leaf. A leaf has a block for each kernel.
 */
import { createHash } from "node:crypto";
import type { Digest } from "../base/json.ts";
import { Lines } from "./lines.ts";
import { asLinuxHash, type LinuxRoot, levelsFor, proofBytes } from "./trees/linux-merkle.ts";

/** A file among the blobs. */
export interface Sized {
  readonly digest: Digest;
  readonly size: number;
}

export interface NodeModule extends Sized {
  /** `doorbell.ko`: what a node inserts, unsigned and uncompressed. */
  readonly file: string;
}

export interface NodeSignature extends Sized {
  /** The module that it is of: appended to that, it makes the signed module. */
  readonly file: string;
  /** Subject key id of the certificate, as /proc/keys shows it. */
  readonly keyId: string;
}

/** An edition of the set of a driver's version (docs/sets.md), by whose root modules are proven. */
interface NodeSet {
  readonly version: string;
  readonly edition: number;
  /** Modules of the set so far. */
  readonly count: number;
  readonly root: LinuxRoot;
}

interface NodeProof extends Sized {
  /** The module that it is of: what is beside that as `doorbell.ko.merkle`. */
  readonly file: string;
}

/** By which sets modules are proven. */
export interface Proven {
  /** The editions that brought them, oldest first. */
  readonly sets: readonly NodeSet[];
  readonly proofs: readonly NodeProof[];
}

/** What a node gets. */
export interface NodeArtifact {
  readonly version: string;
  readonly manifest: Sized;
  readonly provenance: readonly Sized[];
  /** In the order in which they are inserted. */
  readonly modules: readonly NodeModule[];
  readonly signatures: readonly NodeSignature[];
  /** Absent where no set has them: in an index of format 1, or where their bytes were missing when they became stable. */
  readonly proven?: Proven | undefined;
}

export type NodeAnswer =
  | { readonly kind: "exact"; readonly artifact: NodeArtifact }
  /** `builtFor` is the kernel that its modules were built for. */
  | { readonly kind: "loadsOn"; readonly artifact: NodeArtifact; readonly builtFor: string }
  | { readonly kind: "building" }
  | { readonly kind: "failed" | "excluded" | "withheld"; readonly why: string };

/** How a node knows that a kernel is the one that it runs. */
export type UnameRule =
  /** All of `uname -v`. */
  | { readonly kind: "uname"; readonly text: string }
  /** Words of it, where nobody had the kernel's image: `Debian 6.1.170-3`. */
  | { readonly kind: "unameword"; readonly text: string };

/** A module that nodes must not load any more, whatever they have of it. */
export interface Denial {
  readonly module: Digest;
  readonly why: string;
}

/** What a driver has for one kernel. */
export interface NodeBlock {
  /** `uname -r` */
  readonly release: string;
  readonly distribution: string;
  readonly packageVersion: string;
  /** Absent where nothing is known that tells this kernel from others of its release: then no node gets its answer. */
  readonly uname?: UnameRule | undefined;
  readonly answer: NodeAnswer;
  readonly denied: readonly Denial[];
}

/** Which index: of a driver, for machines of one kind. */
export interface IndexPlace {
  readonly driver: string;
  /** `uname -m` */
  readonly machine: string;
}

export interface NodeQuestion extends IndexPlace {
  /** `uname -r` */
  readonly release: string;
  /** `uname -v` */
  readonly version: string;
}

export type FoundAnswer =
  | { readonly kind: "found"; readonly block: NodeBlock }
  /** `near`: kernels of the same release, which are not the one that runs. */
  | { readonly kind: "neverSeen"; readonly near: readonly NodeBlock[] }
  /** Several kernels say the same of themselves. */
  | { readonly kind: "ambiguous"; readonly near: readonly NodeBlock[] };

export const NODE_LIMIT_BYTES = 64 << 10;
/** Only leaves that name sets are of format 2: clients that know format 1 alone read all others. */
export const [HEADING, HEADING_WITH_SETS] = ["kmodfarm index v1", "kmodfarm index v2"];
const MOST_MODULES = 64;
const MOST_SIGNATURES = 512;
const MOST_BUNDLES = 16;
/** Each module may have come with another edition. */
const MOST_SETS = MOST_MODULES;
export const MOST_DENIED = 256;
const MODULE_FILE = /^[A-Za-z0-9][A-Za-z0-9._+~-]{0,124}\.ko$/;
const KEY_ID = /^[0-9a-f]{8,128}$/;
export const BUILDING = "answer building";
const WHYS = ["failed", "excluded", "withheld"] as const;

/** Digits of the hash that each level takes, from the fewest files to the most. */
export const WIDTHS = ["1", "2", "2+1", "2+2", "2+2+1"] as const;

export function isWidths(text: string): boolean {
  return (WIDTHS as readonly string[]).includes(text);
}

export function levelsOf(widths: string): readonly number[] {
  return widths.split("+").map(Number);
}

/** What a node is found by, 64 hexadecimal digits. */
export function keyOf({
  driver,
  machine,
  release,
}: Pick<NodeQuestion, "driver" | "machine" | "release">): string {
  return createHash("sha256").update(`${driver}\n${machine}\n${release}\n`).digest("hex");
}

// --- Reading --------------------------------------------------------------------------------------------------------

/** The files that lead to a question's leaf: how many digits of its key each is named by, and the next ones choose. */
export function wayTo(
  widths: string,
  key: string,
): readonly { readonly prefix: string; readonly next: string }[] {
  let at = 0;
  return levelsOf(widths).map((width) => {
    const step = { prefix: key.slice(0, at), next: key.slice(at, at + width) };
    at += width;
    return step;
  });
}

/** The prefix of the leaf that answers for a key. */
export function leafPrefix(widths: string, key: string): string {
  return key.slice(
    0,
    levelsOf(widths).reduce((sum, width) => sum + width, 0),
  );
}

/** What a node of the tree leads to, by the next digits. @throws FarmError NOTE_MALFORMED */
export function readNode(
  bytes: Uint8Array,
  { driver, machine }: IndexPlace,
  prefix: string,
  width: number,
  what: string,
): ReadonlyMap<string, Digest> {
  const lines = new Lines(bytes, NODE_LIMIT_BYTES, what);
  lines.exactly(HEADING);
  lines.exactly(`node ${driver} ${machine} ${prefix === "" ? "-" : prefix}`);
  const children = new Map<string, Digest>();
  for (let last = ""; !lines.isAtEnd; ) {
    const [digits = "", digest, ...more] = lines.any().split(" ");
    if (digits.length !== width || !/^[0-9a-f]+$/.test(digits) || more.length > 0)
      throw lines.fault(`it is not ${width} hexadecimal digits and a digest`);
    if (digits <= last) throw lines.fault("digits are in their order, each once");
    last = digits;
    children.set(digits, lines.digest(digest));
  }
  return children;
}

/** The blocks of a leaf. @throws FarmError NOTE_MALFORMED */
export function readLeaf(
  bytes: Uint8Array,
  place: IndexPlace,
  prefix: string,
  what: string,
): readonly NodeBlock[] {
  const lines = new Lines(bytes, NODE_LIMIT_BYTES, what);
  const hasSets = lines.takes(HEADING_WITH_SETS);
  if (!hasSets) lines.exactly(HEADING);
  lines.exactly(`leaf ${place.driver} ${place.machine} ${prefix}`);
  const blocks: NodeBlock[] = [];
  for (let last = ""; !lines.isAtEnd; ) {
    const block = readBlock(lines, place, hasSets);
    if (!keyOf({ ...place, release: block.release }).startsWith(prefix))
      throw lines.fault(`the kernel ${block.release} belongs into another leaf`);
    if (orderOf(block) <= last) throw lines.fault("kernels are in their order, each once");
    last = orderOf(block);
    blocks.push(block);
  }
  return blocks;
}

function readBlock(lines: Lines, place: IndexPlace, hasSets: boolean): NodeBlock {
  const [driver, machine, release, distribution, packageVersion = ""] = lines.fields("kernel", 5);
  if (driver !== place.driver || machine !== place.machine)
    throw lines.fault(`it is not of ${place.driver} for ${place.machine}`);
  const kernel = { release: lines.name(release), distribution: lines.name(distribution), packageVersion };
  const uname = readUname(lines);
  const answer = readAnswer(lines, hasSets);
  const denied: Denial[] = [];
  for (let last = ""; lines.has("deny"); ) {
    const [[digest], why] = lines.fieldsAndText("deny", 1);
    const module = lines.digest(digest);
    if (module <= last) throw lines.fault("denied modules are in the order of their digests, each once");
    last = module;
    if (denied.push({ module, why }) > MOST_DENIED) throw lines.fault("too many modules are denied");
  }
  return { ...kernel, ...(uname === undefined ? {} : { uname }), answer, denied };
}

/** Blanks sort before everything that a field may hold. */
export function orderOf({ release, distribution, packageVersion }: NodeBlock): string {
  return `${release} ${distribution} ${packageVersion}`;
}

function readUname(lines: Lines): UnameRule | undefined {
  for (const kind of ["uname", "unameword"] as const)
    if (lines.has(kind)) return { kind, text: lines.textOf(kind) };
  return undefined;
}

export function readAnswer(lines: Lines, hasSets: boolean): NodeAnswer {
  if (lines.takes(BUILDING)) return { kind: "building" };
  const [[kind], rest] = lines.fieldsAndText("answer", 1);
  const whyKind = WHYS.find((one) => one === kind);
  if (whyKind !== undefined) return { kind: whyKind, why: rest };
  const [version, builtFor, ...more] = rest.split(" ");
  const isExact = kind === "exact" && builtFor === undefined;
  if ((!isExact && (kind !== "loadsOn" || builtFor === undefined)) || more.length > 0)
    throw lines.fault("it is not an answer");
  const name = lines.name(version);
  const artifact = readArtifact(lines, name, hasSets);
  return isExact
    ? { kind: "exact", artifact }
    : { kind: "loadsOn", artifact, builtFor: lines.word(builtFor) };
}

function readArtifact(lines: Lines, version: string, hasSets: boolean): NodeArtifact {
  const sized = ([digest, size]: string[]): Sized => ({
    digest: lines.digest(digest),
    size: lines.number(size),
  });
  const manifest = sized(lines.fields("manifest", 2));
  const provenance: Sized[] = [];
  while (lines.has("provenance"))
    if (provenance.push(sized(lines.fields("provenance", 2))) > MOST_BUNDLES)
      throw lines.fault("there are too many statements");
  const modules: NodeModule[] = [];
  while (lines.has("module")) {
    const [file = "", ...one] = lines.fields("module", 3);
    if (!MODULE_FILE.test(file))
      throw lines.fault(`${JSON.stringify(file)} is not the name of a module's file`);
    if (modules.some((other) => other.file === file)) throw lines.fault(`${file} is there twice`);
    if (modules.push({ file, ...sized(one) }) > MOST_MODULES) throw lines.fault("there are too many modules");
  }
  if (modules.length === 0) throw lines.fault("no module follows");
  const signatures = readSignatures(lines, modules);
  const proven = hasSets && lines.has("set") ? readProven(lines, modules) : undefined;
  return { version, manifest, provenance, modules, signatures, ...(proven === undefined ? {} : { proven }) };
}

function readProven(lines: Lines, modules: readonly NodeModule[]): Proven {
  const sets: NodeSet[] = [];
  while (lines.has("set")) {
    const [version, edition, count, levels, root] = lines.fields("set", 5);
    const of = { version: lines.name(version), edition: lines.number(edition), count: lines.number(count) };
    if (of.edition <= (sets.at(-1)?.edition ?? 0))
      throw lines.fault("editions are in their order, each once");
    if (of.count === 0 || lines.number(levels) !== levelsFor(of.count))
      throw lines.fault(`${of.count} modules have no tree of ${levels} levels`);
    const hash = asLinuxHash(Buffer.from(lines.digest(root).slice("sha256:".length), "hex"));
    if (sets.push({ ...of, root: { levels: Number(levels), hash } }) > MOST_SETS)
      throw lines.fault("there are too many sets");
  }
  const proofs: NodeProof[] = [];
  while (lines.has("proof")) {
    const [file = "", digest, size] = lines.fields("proof", 3);
    if (!modules.some((one) => one.file === file)) throw lines.fault(`there is no module ${file}`);
    if (proofs.some((one) => one.file === file)) throw lines.fault(`${file} has two proofs`);
    const proof = { file, digest: lines.digest(digest), size: lines.number(size) };
    if (!sets.some(({ root }) => proofBytes(root) === proof.size))
      throw lines.fault("no set has proofs of that size");
    proofs.push(proof);
  }
  if (proofs.length === 0) throw lines.fault("no proof follows");
  return { sets, proofs };
}

function readSignatures(lines: Lines, modules: readonly NodeModule[]): readonly NodeSignature[] {
  const signatures: NodeSignature[] = [];
  while (lines.has("signature")) {
    const [file = "", keyId = "", digest, size] = lines.fields("signature", 4);
    if (!modules.some((one) => one.file === file)) throw lines.fault(`there is no module ${file}`);
    if (!KEY_ID.test(keyId)) throw lines.fault(`${JSON.stringify(keyId)} is not a key's id`);
    if (signatures.some((one) => one.file === file && one.keyId === keyId))
      throw lines.fault(`${file} has two signatures of one key`);
    const one = { file, keyId, digest: lines.digest(digest), size: lines.number(size) };
    if (signatures.push(one) > MOST_SIGNATURES) throw lines.fault("there are too many signatures");
  }
  return signatures;
}

/** What a leaf's blocks answer to a node. */
export function answerFrom(blocks: readonly NodeBlock[], { release, version }: NodeQuestion): FoundAnswer {
  const near = blocks.filter((block) => block.release === release);
  for (const kind of ["uname", "unameword"] as const) {
    const fitting = near.filter(({ uname }) => uname?.kind === kind && isSaid(uname, version));
    const [block] = fitting;
    if (fitting.length > 1) return { kind: "ambiguous", near: fitting };
    if (block !== undefined) return { kind: "found", block };
  }
  return { kind: "neverSeen", near };
}

function isSaid({ kind, text }: UnameRule, version: string): boolean {
  return kind === "uname" ? version === text : hasWords(version, text);
}

/** Whether words stand in a text, between blanks. */
export function hasWords(text: string, words: string): boolean {
  return ` ${text} `.includes(` ${words} `);
}

/** What a node of that release must not load, whichever of its blocks answers, and if none does. */
export function denialsOf(
  blocks: readonly NodeBlock[],
  { release }: Pick<NodeQuestion, "release">,
): readonly Denial[] {
  return blocks.filter((block) => block.release === release).flatMap(({ denied }) => denied);
}
