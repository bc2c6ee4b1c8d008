/**
 * Writes the node index: what no reader takes is refused or left out, so that nodes can read whatever is published.
 */
import { FarmError } from "../base/error.ts";
import { type Digest, hexOf, sha256 } from "../base/json.ts";
import { Lines, toText } from "./lines.ts";
import {
  BUILDING,
  HEADING,
  HEADING_WITH_SETS,
  type IndexPlace,
  keyOf,
  leafPrefix,
  levelsOf,
  MOST_DENIED,
  NODE_LIMIT_BYTES,
  type NodeAnswer,
  type NodeArtifact,
  type NodeBlock,
  orderOf,
  readAnswer,
  type Sized,
  WIDTHS,
} from "./node-index.ts";

/** Leaves are kept well below their limit, so that few nodes fetch much of what concerns others. */
const LEAF_GOAL_BYTES = 12 << 10;
const DEEPEST = WIDTHS[WIDTHS.length - 1] as string;

export interface WrittenIndex {
  readonly widths: string;
  readonly top: Digest;
  /** By their digests. Files that did not change have the digests that they had. */
  readonly files: ReadonlyMap<Digest, string>;
  /** How many of the claims are left out. */
  readonly cut: number;
}

/**
 * The tree of some blocks, as deep as they need. Of claims, what nodes are told of kernels that nobody vouches for, a leaf has
 * as many as it has room for: the first ones, and never in place of a block.
 * @throws FarmError REGISTRY_TOO_LARGE for blocks that no reader would take, however deep the tree
 */
export function writeIndex(
  place: IndexPlace,
  blocks: readonly NodeBlock[],
  claims: readonly NodeBlock[] = [],
): WrittenIndex {
  const [needed, claimed] = [keyedTexts(place, blocks), keyedTexts(place, claims)];
  const texts = [...needed, ...claimed];
  const widths = widthsFor(texts);
  requireRoom(place, needed, widths);
  const kept = fitting(place, texts, widths);
  return { ...plantTree(place, kept, widths), cut: texts.length - kept.length };
}

/** Whether all blocks could be written. @throws FarmError REGISTRY_TOO_LARGE */
export function requireWritable(place: IndexPlace, blocks: readonly NodeBlock[]): void {
  const needed = keyedTexts(place, blocks);
  requireRoom(place, needed, widthsFor(needed));
}

interface KeyedText {
  readonly hasSets: boolean;
  readonly key: string;
  readonly order: string;
  readonly text: string;
}

function keyedTexts(place: IndexPlace, blocks: readonly NodeBlock[]): KeyedText[] {
  return blocks.map((block) => {
    const { release, denied } = block;
    if (denied.length > MOST_DENIED)
      throw tooLarge(
        place,
        `${denied.length} modules are denied for ${release}, and nodes read no more than ${MOST_DENIED}`,
        "Nothing was published. Raise the least version with `kmodfarm floor`: nodes then use none that is older.",
      );
    return {
      ...{ hasSets: hasSets(block.answer), key: keyOf({ ...place, release }) },
      ...{ order: orderOf(block), text: blockText(place, block) },
    };
  });
}

function widthsFor(texts: readonly KeyedText[]): string {
  const isSmall = (widths: string) =>
    [...sizesOfLeaves(texts, widths).values()].every((size) => size <= LEAF_GOAL_BYTES);
  return WIDTHS.find(isSmall) ?? DEEPEST;
}

function sizesOfLeaves(texts: readonly KeyedText[], widths: string): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const { key, text } of texts) {
    const prefix = leafPrefix(widths, key);
    sizes.set(prefix, (sizes.get(prefix) ?? 0) + text.length);
  }
  return sizes;
}

function requireRoom(place: IndexPlace, needed: readonly KeyedText[], widths: string): void {
  const room = roomOfLeaf(place);
  for (const [prefix, size] of sizesOfLeaves(needed, widths)) {
    if (size <= room) continue;
    const releases = needed
      .filter(({ key }) => key.startsWith(prefix))
      .map(({ order }) => order.split(" ")[0]);
    throw tooLarge(
      place,
      `what nodes would be told of ${[...new Set(releases)].join(", ")} has ${size} bytes, and they read no more than ${room}`,
      "Nothing was published. Withdraw artifacts that these nodes do not need, or give the driver fewer modules or keys.",
    );
  }
}

/** As many of some blocks as leaves have room for, the first ones first. */
function fitting(place: IndexPlace, texts: readonly KeyedText[], widths: string): KeyedText[] {
  const sizes = new Map<string, number>();
  return texts.filter(({ key, text }) => {
    const prefix = leafPrefix(widths, key);
    const size = (sizes.get(prefix) ?? 0) + text.length;
    if (size > roomOfLeaf(place)) return false;
    sizes.set(prefix, size);
    return true;
  });
}

function roomOfLeaf(place: IndexPlace): number {
  const longest = leafPrefix(DEEPEST, "0".repeat(64));
  return NODE_LIMIT_BYTES - leafHeading(place, longest, true).length;
}

function leafHeading({ driver, machine }: IndexPlace, prefix: string, withSets: boolean): string {
  return toText([withSets ? HEADING_WITH_SETS : HEADING, `leaf ${driver} ${machine} ${prefix}`]);
}

function tooLarge({ driver, machine }: IndexPlace, detail: string, hint: string): FarmError {
  const about = `the node index of ${driver} for ${machine}`;
  return new FarmError("REGISTRY_TOO_LARGE", { about, detail, hint });
}

function plantTree(
  place: IndexPlace,
  texts: readonly KeyedText[],
  widths: string,
): Omit<WrittenIndex, "cut"> {
  const { driver, machine } = place;
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
        `${leafHeading(
          place,
          prefix,
          some.some((one) => one.hasSets),
        )}${some.map(({ text }) => text).join("")}`,
      );
    const end = prefix.length + width;
    const children = [...Map.groupBy(some, ({ key }) => key.slice(prefix.length, end))]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([digits, below]) => `${digits} ${hexOf(grow(below, `${prefix}${digits}`, deeper))}`);
    return add(toText([HEADING, `node ${driver} ${machine} ${prefix === "" ? "-" : prefix}`, ...children]));
  };
  const inOrder = texts.toSorted((a, b) => (a.order < b.order ? -1 : 1));
  return { widths, top: grow(inOrder, "", levelsOf(widths)), files };
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

function hasSets(answer: NodeAnswer): boolean {
  return "artifact" in answer && answer.artifact.proven !== undefined;
}

function answerLines(answer: NodeAnswer): string[] {
  if (answer.kind === "building") return [BUILDING];
  if (answer.kind !== "exact" && answer.kind !== "loadsOn") return [`answer ${answer.kind} ${answer.why}`];
  const { version, manifest, provenance, modules, signatures, proven } = answer.artifact;
  const sized = ({ digest, size }: Sized) => `${hexOf(digest)} ${size}`;
  return [
    answer.kind === "exact" ? `answer exact ${version}` : `answer loadsOn ${version} ${answer.builtFor}`,
    `manifest ${sized(manifest)}`,
    ...provenance.map((one) => `provenance ${sized(one)}`),
    ...modules.map((one) => `module ${one.file} ${sized(one)}`),
    ...signatures.map((one) => `signature ${one.file} ${one.keyId} ${sized(one)}`),
    ...(proven?.sets ?? []).map(
      ({ root: { levels, hash }, ...of }) =>
        `set ${of.version} ${of.edition} ${of.count} ${levels} ${Buffer.from(hash).toString("hex")}`,
    ),
    ...(proven?.proofs ?? []).map((one) => `proof ${one.file} ${sized(one)}`),
  ];
}

/** An artifact that readers take, or undefined: it has too much of something, or names that files may not have. */
export function writableArtifact(artifact: NodeArtifact): NodeArtifact | undefined {
  const text = toText(answerLines({ kind: "exact", artifact }));
  try {
    const lines = new Lines(text, NODE_LIMIT_BYTES, "an artifact");
    readAnswer(lines, true);
    lines.end();
    return artifact;
  } catch {
    return undefined;
  }
}
