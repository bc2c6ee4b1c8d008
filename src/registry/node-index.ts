/**
 * What nodes are told of each kernel: from a published state and what was learned of kernels to the blocks of the node index.
 */
import type { Digest } from "../base/json.ts";
import { vouchedBy } from "../catalog/catalog.ts";
import { factsByKernel, factsOf } from "../kernel/facts.ts";
import { type KernelId, kernelName } from "../kernel/kernel.ts";
import { isSameEverywhere, unameWords } from "../kernel/node.ts";
import { isPathSegment } from "../kernel/path-segment.ts";
import { asFreeText, isFreeText, isWord } from "../provenance/lines.ts";
import {
  type Denial,
  hasWords,
  type IndexPlace,
  type NodeAnswer,
  type NodeArtifact,
  type NodeBlock,
  type Proven,
  type Sized,
  type UnameRule,
} from "../provenance/node-index.ts";
import { proofBytes } from "../provenance/trees/linux-merkle.ts";
import { compareVersions, isBelow } from "../provenance/version.ts";
import { writableArtifact } from "../provenance/write-node-index.ts";
import { lastMove } from "./decisions.ts";
import type { AttemptNote, Decision, Edition, Index, IndexEntry, Published } from "./documents.ts";
import { leavesOf, rootOfEdition } from "./sets.ts";
import { standingOf } from "./standing.ts";

/** What a driver has for machines of one kind. */
export interface NodeIndexContent extends IndexPlace {
  readonly floor?: string | undefined;
  readonly blocks: readonly NodeBlock[];
  /** Of kernels that nobody vouches for, with nothing that is denied: the best first, as long as there is room. */
  readonly claims: readonly NodeBlock[];
}

/** What is asked for about a state: all but its place in history. */
type Content = Pick<Published, "catalog" | "facts" | "indices" | "attempts" | "decisions" | "editions">;
type Kernel = Content["catalog"]["kernels"][number];

/** How large a blob is; undefined for one that is not there. */
export type SizeOf = (digest: string) => number | undefined;

/** Blobs of a state whose size an earlier version did not write: manifests, and modules without debugging information. */
export function unsizedBlobs({ indices }: Pick<Published, "indices">): Set<string> {
  return new Set(
    indices.flatMap(({ stable }) =>
      stable.flatMap(({ manifest, manifestSize, modules }) => [
        ...(manifestSize === undefined ? [manifest] : []),
        ...modules.flatMap(({ stripped, strippedSize }) =>
          stripped === undefined || strippedSize !== undefined ? [] : [stripped],
        ),
      ]),
    ),
  );
}

/** Every index of a state, in the order of drivers and machines. Pure: one state has one index. */
export function nodeIndices(state: Content, sizeOf: SizeOf): NodeIndexContent[] {
  const builder = new Builder(state, sizeOf);
  for (const index of state.indices) builder.addIndex(index);
  for (const note of state.attempts) builder.addAttempt(note);
  return builder.closed();
}

/**
 * Where a state can have an index, with its floor: every driver and machine that it names. Needs no look at blocks, and may
 * name some that end without one.
 */
export function indexPlaces({
  indices,
  attempts,
  decisions,
}: Pick<Content, "indices" | "attempts" | "decisions">): Omit<NodeIndexContent, "blocks" | "claims">[] {
  const places = new Map<string, IndexPlace>();
  const add = (driver: string, machine: string) => places.set(`${driver} ${machine}`, { driver, machine });
  for (const { architecture, stable, candidate, loadsOn = [] } of indices) {
    for (const { driver } of [...stable, ...candidate]) add(driver, architecture);
    for (const { artifact } of loadsOn) add(artifact.driver, architecture);
  }
  for (const { element } of attempts) {
    const [driver = "", , , machine = ""] = element.split("/");
    add(driver, machine);
  }
  for (const { artifact, denied } of decisions)
    for (const kernel of denied?.kernels ?? []) add(artifact.driver, kernel.split("/")[1] ?? "");
  const floors = floorsOf(decisions);
  return [...places.values()]
    .filter(({ driver, machine }) => isPathSegment(driver) && isPathSegment(machine))
    .map((place) => ({ ...place, floor: floors.get(place.driver) }));
}

/** A kernel, and the best answer so far to a driver's question about it. */
interface Told {
  readonly kernel: KnownKernel;
  readonly answer: NodeAnswer;
  /** Whether an artifact of it passes the check `provenance`: somebody vouches for its headers. */
  readonly isProven: boolean;
}

type KnownKernel = KernelId & Partial<Pick<Kernel, "packages">>;

/** Who vouches for a kernel, from the least. */
const WORTHS = ["nobody", "provenance", "sources"] as const;
type Worth = (typeof WORTHS)[number];
const isLess = (one: Worth, other: Worth) => WORTHS.indexOf(one) < WORTHS.indexOf(other);

/** What tells a kernel from others, and what that is worth. */
interface Words {
  readonly uname: UnameRule | undefined;
  readonly worth: Worth;
}

interface WorthyBlock {
  readonly block: NodeBlock;
  readonly worth: Worth;
}

/** What is better for a node comes first. */
const RANKS: readonly NodeAnswer["kind"][] = [
  "exact",
  "loadsOn",
  "withheld",
  "building",
  "failed",
  "excluded",
];
const rankOf = ({ kind }: NodeAnswer) => RANKS.indexOf(kind);

interface InsertedFile {
  readonly file: string;
  readonly inserted: Sized;
}

interface PlacedModule {
  readonly place: Edition["places"][number];
  readonly edition: Edition;
}

class Builder {
  readonly #state: Content;
  readonly #sizeOf: SizeOf;
  readonly #kernels: ReadonlyMap<string, Kernel>;
  readonly #facts: ReturnType<typeof factsByKernel>;
  readonly #isVouchedFor: ReturnType<typeof vouchedBy>;
  readonly #floors: ReadonlyMap<string, string>;
  /** By driver and kernel. */
  readonly #denials: ReadonlyMap<string, readonly Denial[]>;
  /** The same by driver, machine and release: a node looks at all of them. */
  readonly #denialsOfRelease = new Map<string, Denial[]>();
  #catalogWords: ReadonlyMap<string, readonly Words[]> | undefined;
  /** Modules in sets, by driver, version and digest. */
  readonly #placed: ReadonlyMap<string, PlacedModule>;
  /** Driver → kernel's name → what it is told. */
  readonly #told = new Map<string, Map<string, Told>>();

  constructor(state: Content, sizeOf: SizeOf) {
    this.#state = state;
    this.#sizeOf = sizeOf;
    this.#kernels = new Map(state.catalog.kernels.map((kernel) => [kernelName(kernel), kernel]));
    this.#facts = factsByKernel(state.facts);
    this.#isVouchedFor = vouchedBy(state.catalog.sources);
    this.#floors = floorsOf(state.decisions);
    this.#placed = new Map(
      [...leavesOf(state.editions)].map(({ place, edition }) => [
        `${edition.driver} ${edition.version} ${place.digest}`,
        { place, edition },
      ]),
    );
    this.#denials = denialsOf(state.decisions);
    for (const [place, denials] of this.#denials) {
      const [driver, kernel] = this.#kernelAt(place);
      if (kernel === undefined) continue;
      const release = `${driver} ${releaseOf(kernel)}`;
      this.#denialsOfRelease.set(release, [...(this.#denialsOfRelease.get(release) ?? []), ...denials]);
    }
  }

  addIndex(index: Index): void {
    const { distribution, architecture } = index;
    for (const channel of ["stable", "candidate"] as const)
      for (const entry of index[channel]) {
        const kernel = { distribution, architecture, ...pickKernel(entry) };
        this.#tell(
          entry.driver,
          kernel,
          channel === "stable" ? this.#given(entry, kernel) : this.#kept(entry),
          entry.verdicts?.provenance === "pass",
        );
      }
    for (const { kversion, packageVersion, artifact } of index.loadsOn ?? []) {
      const own = this.#state.indices.find(
        (one) => one.distribution === artifact.distribution && one.architecture === architecture,
      );
      const entry = own?.stable.find((one) => one.manifest === artifact.manifest);
      if (entry === undefined) continue;
      const builtFor = kernelName({
        distribution: artifact.distribution,
        architecture,
        ...pickKernel(entry),
      });
      const kernel = { distribution, architecture, kversion, packageVersion };
      this.#tell(entry.driver, kernel, this.#given(entry, kernel, builtFor));
    }
  }

  addAttempt({ element, failure }: AttemptNote): void {
    const [driver = "", , distribution, architecture, kversion, ...packageVersion] = element.split("/");
    const kernel = this.#kernels.get(
      `${distribution}/${architecture}/${kversion}_${packageVersion.join("/")}`,
    );
    if (failure === undefined || kernel === undefined) return;
    this.#tell(driver, kernel, failedAnswer(failure));
  }

  #tell(driver: string, id: KernelId, said: NodeAnswer, proves = false): void {
    const name = kernelName(id);
    const ofDriver = this.#told.get(driver) ?? new Map<string, Told>();
    this.#told.set(driver, ofDriver);
    const before = ofDriver.get(name);
    const answer = before === undefined || isBetter(said, before.answer) ? said : before.answer;
    const isProven = proves || before?.isProven === true;
    ofDriver.set(name, { kernel: this.#kernels.get(name) ?? id, answer, isProven });
  }

  /** A stable artifact, unless nodes must not have it or could not fetch it. */
  #given(entry: IndexEntry, kernel: KernelId, builtFor?: string): NodeAnswer {
    const withheld = (why: string): NodeAnswer => ({ kind: "withheld", why: asFreeText(why) });
    if (isBelow(entry.driverVersion, this.#floors.get(entry.driver)))
      return withheld(`${entry.driverVersion} is below the least version ${this.#floors.get(entry.driver)}`);
    const artifact = this.#artifactOf(entry);
    if (artifact === undefined) return withheld("its files are not all in the registry");
    const denials = [
      ...this.#denialsOf(entry.driver, kernel),
      ...(this.#denialsOfRelease.get(`${entry.driver} ${releaseOf(kernel)}`) ?? []),
    ];
    const denied = denials.find(({ module }) => artifact.modules.some(({ digest }) => digest === module));
    if (denied !== undefined) return withheld(denied.why);
    if (builtFor === undefined) return { kind: "exact", artifact };
    return isWord(builtFor)
      ? { kind: "loadsOn", artifact, builtFor }
      : withheld("the name of the kernel that it was built for is none that nodes read");
  }

  #kept(entry: IndexEntry): NodeAnswer {
    const { word, reasons } = standingOf(this.#state.decisions, { entry, channel: "candidate" });
    return { kind: "withheld", why: asFreeText(reasons[0] ?? word) };
  }

  #artifactOf({
    driver,
    driverVersion: version,
    manifest,
    manifestSize,
    provenance = [],
    modules,
  }: IndexEntry): NodeArtifact | undefined {
    const sized = (digest: Digest, size = this.#sizeOf(digest)): Sized[] =>
      size === undefined ? [] : [{ digest, size }];
    const [own] = sized(manifest, manifestSize);
    const files = modules.flatMap(({ name, digest, size, stripped, strippedSize, signatures = [] }) => {
      const [inserted] = stripped === undefined ? sized(digest, size) : sized(stripped, strippedSize);
      return inserted === undefined ? [] : [{ file: `${name}.ko`, inserted, signatures }];
    });
    if (own === undefined || files.length < modules.length) return undefined;
    const proven = this.#provenBy(driver, version, files);
    return writableArtifact({
      ...{ version, manifest: own, provenance, ...(proven === undefined ? {} : { proven }) },
      modules: files.map(({ file, inserted }) => ({ file, ...inserted })),
      signatures: files.flatMap(({ file, signatures }) =>
        signatures.map(({ keyId, digest, size }) => ({ file, keyId, digest, size })),
      ),
    });
  }

  /** The editions that brought some modules, and the proofs by these. */
  #provenBy(driver: string, version: string, files: readonly InsertedFile[]): Proven | undefined {
    const placed = files.flatMap(({ file, inserted: { digest } }) => {
      const found = this.#placed.get(`${driver} ${version} ${digest}`);
      return found === undefined ? [] : [{ file, ...found }];
    });
    if (placed.length === 0) return undefined;
    const editions = [...new Set(placed.map(({ edition }) => edition))];
    return {
      sets: editions
        .toSorted((a, b) => a.edition - b.edition)
        .map((one) => ({ version, edition: one.edition, count: one.count, root: rootOfEdition(one) })),
      proofs: placed.map(({ file, place, edition }) => ({
        ...{ file, digest: place.proof, size: proofBytes(rootOfEdition(edition)) },
      })),
    };
  }

  #denialsOf(driver: string, kernel: KernelId): readonly Denial[] {
    return this.#denials.get(`${driver} ${kernelName(kernel)}`) ?? [];
  }

  closed(): NodeIndexContent[] {
    this.#tellOfDenied();
    const contents = [...this.#told].flatMap(([driver, told]) =>
      [...Map.groupBy(told.values(), ({ kernel }) => kernel.architecture)].map(
        ([machine, some]): NodeIndexContent => ({
          ...{ driver, machine, ...this.#blocks(driver, some) },
          ...(this.#floors.has(driver) ? { floor: this.#floors.get(driver) } : {}),
        }),
      ),
    );
    const order = ({ driver, machine }: IndexPlace) => `${driver} ${machine}`;
    return contents
      .filter(({ blocks, claims }) => blocks.length + claims.length > 0)
      .toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
  }

  /** Kernels for which there is nothing any more but what nodes must not load. */
  #tellOfDenied(): void {
    for (const [place, [first]] of this.#denials) {
      const [driver, kernel] = this.#kernelAt(place);
      if (kernel !== undefined && first !== undefined)
        this.#tell(driver, kernel, { kind: "excluded", why: first.why });
    }
  }

  #kernelAt(place: string): [driver: string, kernel: Kernel | undefined] {
    const [driver = "", name = ""] = place.split(" ");
    return [driver, this.#kernels.get(name)];
  }

  #blocks(driver: string, told: readonly Told[]): Pick<NodeIndexContent, "blocks" | "claims"> {
    const all = [...Map.groupBy(told, ({ kernel }) => releaseOf(kernel))].flatMap(([release, some]) =>
      this.#withoutClaimedWords(release, this.#blocksOf(driver, some)),
    );
    const isClaim = ({ worth, block }: WorthyBlock) => worth === "nobody" && block.denied.length === 0;
    const { blocks = [], claims = [] } = Object.groupBy(all, (one) => (isClaim(one) ? "claims" : "blocks"));
    return {
      blocks: blocks.map(({ block }) => block),
      claims: claims.map(({ block }) => block).toSorted((a, b) => rankOf(a.answer) - rankOf(b.answer)),
    };
  }

  /** Of kernels of one release. Those that are the very same everywhere have one block. */
  #blocksOf(driver: string, told: readonly Told[]): WorthyBlock[] {
    const named = told.map((one) => ({ ...one, ...this.#wordsOf(one.kernel, one.isProven) }));
    const groups = Map.groupBy(named, ({ kernel, uname, worth }) =>
      uname === undefined ? kernelName(kernel) : `${worth} ${uname.kind} ${uname.text}`,
    );
    return [...groups.values()].flatMap((group) => {
      const known = group.flatMap(({ kernel: { packages, ...id } }) =>
        packages ? [{ ...id, packages }] : [],
      );
      const isOne = group.length > 1 && known.length === group.length && isSameEverywhere(known);
      const best = group
        .toSorted((a, b) => rankOf(a.answer) - rankOf(b.answer))
        .slice(0, isOne ? 1 : undefined);
      return best.flatMap(({ kernel, uname, worth, answer }): WorthyBlock[] => {
        const { kversion: release, distribution, packageVersion } = kernel;
        if (!isWord(packageVersion)) return [];
        const all = (isOne ? group : [{ kernel }]).flatMap((one) => this.#denialsOf(driver, one.kernel));
        const denied = once(all);
        return [{ worth, block: { ...{ release, distribution, packageVersion, uname, answer }, denied } }];
      });
    });
  }

  /**
   * A list, or a boot image that nobody vouches for, would else keep nodes from the answer about the kernel that they run.
   * What the catalog vouches for counts even where the driver has no answer for it.
   */
  #withoutClaimedWords(release: string, blocks: readonly WorthyBlock[]): WorthyBlock[] {
    if (blocks.every(({ worth }) => worth === "sources")) return [...blocks];
    this.#catalogWords ??= this.#vouchedWords();
    const vouched = [
      ...blocks.map(({ worth, block: { uname } }) => ({ worth, uname })),
      ...(this.#catalogWords.get(release) ?? []),
    ].filter(({ worth }) => worth !== "nobody");
    return blocks.map((one) => {
      const { worth, block } = one;
      const isClaimed = vouched.some(
        (other) => isLess(worth, other.worth) && doCollide(block.uname, other.uname),
      );
      return isClaimed ? { worth, block: { ...block, uname: undefined } } : one;
    });
  }

  /** Of the catalog's kernels, by machine and release. */
  #vouchedWords(): ReadonlyMap<string, readonly Words[]> {
    const vouched = this.#state.catalog.kernels.filter(({ packages }) =>
      this.#isVouchedFor(packages.headers),
    );
    const byRelease = Map.groupBy(vouched, releaseOf);
    return new Map(
      [...byRelease].map(([release, some]) => [release, some.map((one) => this.#wordsOf(one, false))]),
    );
  }

  /** Of a kernel that somebody vouches for, a boot image counts only if he vouches for that too. */
  #wordsOf(kernel: KnownKernel, isProven: boolean): Words {
    const { packages } = kernel;
    const isVouched = packages !== undefined && this.#isVouchedFor(packages.headers);
    const worth = isVouched ? "sources" : isProven ? "provenance" : "nobody";
    const text =
      packages === undefined || (isVouched && !this.#isVouchedFor(packages.image))
        ? undefined
        : factsOf(this.#facts, { ...kernel, packages }).image?.version;
    if (text !== undefined && isFreeText(text)) return { worth, uname: { kind: "uname", text } };
    const words = unameWords(kernel);
    const isSaid = words !== undefined && isFreeText(words);
    return { worth, uname: isSaid ? { kind: "unameword", text: words } : undefined };
  }
}

/** Whether some `uname -v` could have the words of both. */
function doCollide(one: UnameRule | undefined, other: UnameRule | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  return hasWords(one.text, other.text) || hasWords(other.text, one.text);
}

/** What nodes find their leaf by, beside the driver. */
function releaseOf({ architecture, kversion }: Pick<KernelId, "architecture" | "kversion">): string {
  return `${architecture} ${kversion}`;
}

function pickKernel({ kversion, packageVersion }: IndexEntry): Pick<KernelId, "kversion" | "packageVersion"> {
  return { kversion, packageVersion };
}

/** Of several versions for one kernel nodes get the newest. */
function isBetter(one: NodeAnswer, other: NodeAnswer): boolean {
  const difference = rankOf(one) - rankOf(other);
  if (difference !== 0 || !("artifact" in one) || !("artifact" in other)) return difference < 0;
  return compareVersions(one.artifact.version, other.artifact.version) > 0;
}

/** Whether it will be tried again decides what a node may expect. */
const TRIED_AGAIN = new Set(["infra", "remote"]);

function failedAnswer({ code, blame, cause, line }: NonNullable<AttemptNote["failure"]>): NodeAnswer {
  if (code === "KERNEL_EXCLUDED") return { kind: "excluded", why: asFreeText(line) };
  if (TRIED_AGAIN.has(blame)) return { kind: "building" };
  return { kind: "failed", why: asFreeText(line === "" ? cause : line) };
}

/** The last word on each driver's least version. */
function floorsOf(decisions: readonly Decision[]): ReadonlyMap<string, string> {
  return new Map(
    decisions.flatMap(({ artifact: { driver }, floor }) => (floor === undefined ? [] : [[driver, floor]])),
  );
}

/** What nodes must not load, by driver and kernel; a promotion of the same artifact takes it back. */
function denialsOf(decisions: readonly Decision[]): ReadonlyMap<string, readonly Denial[]> {
  const byArtifact = Map.groupBy(decisions, ({ artifact: { driver, output, recipe } }) =>
    [driver, output, recipe].join("/"),
  );
  const denials = new Map<string, Denial[]>();
  for (const all of byArtifact.values()) {
    const last = lastMove(all);
    if (last?.denied === undefined) continue;
    const why = asFreeText(last.why);
    for (const kernel of last.denied.kernels) {
      const place = `${last.artifact.driver} ${kernel}`;
      const some = denials.get(place) ?? [];
      denials.set(place, [...some, ...last.denied.modules.map((module) => ({ module, why }))]);
    }
  }
  return denials;
}

function once(denied: readonly Denial[]): Denial[] {
  return [...new Map(denied.map((one) => [one.module, one])).values()];
}
