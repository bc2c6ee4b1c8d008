/**
 * The node index: what a node needs to find its driver by `uname`, and nothing else. It is a tree of small files under their
 * digests, one for each driver and machine. A node hashes its driver, machine and release; the first digits of the hash choose
 * a line of the top node, the next ones a line of the node below, and so on to a leaf. A leaf has a block for each kernel.
 */
import { createHash } from "node:crypto";
import { type Digest, hexOf, sha256 } from "../base/json.ts";
import { Lines, toText } from "./lines.ts";

/** A file among the blobs. */
export interface Sized {
  readonly digest: Digest;
  readonly size: number;
}

interface NodeModule extends Sized {
  /** `doorbell.ko`: what a node inserts, unsigned and uncompressed. */
  readonly file: string;
}

interface NodeSignature extends Sized {
  /** The module that it is of: appended to that, it makes the signed module. */
  readonly file: string;
  /** Subject key id of the certificate, as /proc/keys shows it. */
  readonly keyId: string;
}

/** What a node gets. */
export interface NodeArtifact {
  readonly version: string;
  readonly manifest: Sized;
  readonly provenance: readonly Sized[];
  /** In the order in which they are inserted. */
  readonly modules: readonly NodeModule[];
  readonly signatures: readonly NodeSignature[];
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
const HEADING = "kmodfarm index v1";
const MOST_MODULES = 64;
const MOST_SIGNATURES = 512;
const MOST_BUNDLES = 16;
const MOST_DENIED = 256;
const MODULE_FILE = /^[A-Za-z0-9][A-Za-z0-9._+~-]{0,124}\.ko$/;
const KEY_ID = /^[0-9a-f]{8,128}$/;
const BUILDING = "answer building";
const WHYS = ["failed", "excluded", "withheld"] as const;

/** Digits of the hash that each level takes, from the fewest files to the most. */
const WIDTHS = ["1", "2", "2+1", "2+2", "2+2+1"] as const;
/** Leaves are kept well below their limit, so that few nodes fetch much of what concerns others. */
const LEAF_GOAL_BYTES = 12 << 10;

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
  lines.exactly(HEADING);
  lines.exactly(`leaf ${place.driver} ${place.machine} ${prefix}`);
  const blocks: NodeBlock[] = [];
  for (let last = ""; !lines.isAtEnd; ) {
    const block = readBlock(lines, place);
    if (!keyOf({ ...place, release: block.release }).startsWith(prefix))
      throw lines.fault(`the kernel ${block.release} belongs into another leaf`);
    if (orderOf(block) <= last) throw lines.fault("kernels are in their order, each once");
    last = orderOf(block);
    blocks.push(block);
  }
  return blocks;
}

function readBlock(lines: Lines, place: IndexPlace): NodeBlock {
  const [driver, machine, release, distribution, packageVersion = ""] = lines.fields("kernel", 5);
  if (driver !== place.driver || machine !== place.machine)
    throw lines.fault(`it is not of ${place.driver} for ${place.machine}`);
  const kernel = { release: lines.name(release), distribution: lines.name(distribution), packageVersion };
  const uname = readUname(lines);
  const answer = readAnswer(lines);
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

function readUname(lines: Lines): UnameRule | undefined {
  for (const kind of ["uname", "unameword"] as const)
    if (lines.has(kind)) return { kind, text: lines.textOf(kind) };
  return undefined;
}

function readAnswer(lines: Lines): NodeAnswer {
  if (lines.takes(BUILDING)) return { kind: "building" };
  const [[kind], rest] = lines.fieldsAndText("answer", 1);
  const whyKind = WHYS.find((one) => one === kind);
  if (whyKind !== undefined) return { kind: whyKind, why: rest };
  const [version, builtFor, ...more] = rest.split(" ");
  const isExact = kind === "exact" && builtFor === undefined;
  if ((!isExact && (kind !== "loadsOn" || builtFor === undefined)) || more.length > 0)
    throw lines.fault("it is not an answer");
  const name = lines.name(version);
  const artifact = readArtifact(lines, name);
  return isExact
    ? { kind: "exact", artifact }
    : { kind: "loadsOn", artifact, builtFor: lines.word(builtFor) };
}

function readArtifact(lines: Lines, version: string): NodeArtifact {
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
  return { version, manifest, provenance, modules, signatures: readSignatures(lines, modules) };
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
  return kind === "uname" ? version === text : ` ${version} `.includes(` ${text} `);
}

// --- Writing --------------------------------------------------------------------------------------------------------

export interface WrittenIndex {
  readonly widths: string;
  readonly top: Digest;
  /** By their digests. Files that did not change have the digests that they had. */
  readonly files: ReadonlyMap<Digest, string>;
}

/**
 * The tree of some blocks, as deep as they need.
 * @throws FarmError NOTE_MALFORMED for blocks that no reader would take; LIMIT_EXCEEDED if a leaf is too large however deep
 */
export function writeIndex(place: IndexPlace, blocks: readonly NodeBlock[]): WrittenIndex {
  const texts = blocks
    .map((block) => ({ key: keyOf({ ...place, release: block.release }), order: orderOf(block), block }))
    .toSorted((a, b) => (a.order < b.order ? -1 : 1))
    .map(({ key, block }) => ({ key, text: blockText(place, block) }));
  const widths =
    WIDTHS.find((one) => largestLeaf(texts, one) <= LEAF_GOAL_BYTES) ?? WIDTHS[WIDTHS.length - 1];
  return plantTree(place, texts, widths as string);
}

interface KeyedText {
  readonly key: string;
  readonly text: string;
}

function largestLeaf(texts: readonly KeyedText[], widths: string): number {
  const sizes = new Map<string, number>();
  for (const { key, text } of texts) {
    const prefix = leafPrefix(widths, key);
    sizes.set(prefix, (sizes.get(prefix) ?? 0) + text.length);
  }
  return Math.max(0, ...sizes.values());
}

function plantTree(
  { driver, machine }: IndexPlace,
  texts: readonly KeyedText[],
  widths: string,
): WrittenIndex {
  const files = new Map<Digest, string>();
  const add = (text: string): Digest => {
    const digest = sha256(text);
    files.set(digest, text);
    return digest;
  };
  const grow = (
    some: readonly KeyedText[],
    prefix: string,
    [width, ...deeper]: readonly number[],
  ): Digest => {
    if (width === undefined)
      return add(
        `${toText([HEADING, `leaf ${driver} ${machine} ${prefix}`])}${some.map(({ text }) => text).join("")}`,
      );
    const end = prefix.length + width;
    const children = [...Map.groupBy(some, ({ key }) => key.slice(prefix.length, end))]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([digits, below]) => `${digits} ${hexOf(grow(below, `${prefix}${digits}`, deeper))}`);
    return add(toText([HEADING, `node ${driver} ${machine} ${prefix === "" ? "-" : prefix}`, ...children]));
  };
  return { widths, top: grow(texts, "", levelsOf(widths)), files };
}

function blockText({ driver, machine }: IndexPlace, block: NodeBlock): string {
  const { release, distribution, packageVersion, uname, answer, denied } = block;
  return toText([
    `kernel ${driver} ${machine} ${release} ${distribution} ${packageVersion}`,
    ...(uname === undefined ? [] : [`${uname.kind} ${uname.text}`]),
    ...answerLines(answer),
    ...denied
      .toSorted((a, b) => (a.module < b.module ? -1 : 1))
      .map(({ module, why }) => `deny ${hexOf(module)} ${why}`),
  ]);
}

function answerLines(answer: NodeAnswer): string[] {
  if (answer.kind === "building") return [BUILDING];
  if (answer.kind !== "exact" && answer.kind !== "loadsOn") return [`answer ${answer.kind} ${answer.why}`];
  const { version, manifest, provenance, modules, signatures } = answer.artifact;
  const sized = ({ digest, size }: Sized) => `${hexOf(digest)} ${size}`;
  return [
    answer.kind === "exact" ? `answer exact ${version}` : `answer loadsOn ${version} ${answer.builtFor}`,
    `manifest ${sized(manifest)}`,
    ...provenance.map((one) => `provenance ${sized(one)}`),
    ...modules.map((one) => `module ${one.file} ${sized(one)}`),
    ...signatures.map((one) => `signature ${one.file} ${one.keyId} ${sized(one)}`),
  ];
}

/** Blanks sort before everything that a field may hold. */
function orderOf({ release, distribution, packageVersion }: NodeBlock): string {
  return `${release} ${distribution} ${packageVersion}`;
}

/** An artifact that readers take, or undefined: it has too much of something, or names that files may not have. */
export function writableArtifact(artifact: NodeArtifact): NodeArtifact | undefined {
  const text = toText(answerLines({ kind: "exact", artifact }));
  try {
    const lines = new Lines(text, NODE_LIMIT_BYTES, "an artifact");
    readAnswer(lines);
    lines.end();
    return artifact;
  } catch {
    return undefined;
  }
}
