/**
 * What nodes are told of each kernel: from a published state and what was learned of kernels to the blocks of the node index.
 */
import type { Digest } from "../base/json.ts";
import { factsByKernel, factsOf } from "../kernel/facts.ts";
import { type KernelId, kernelName } from "../kernel/kernel.ts";
import { isSameEverywhere, unameWords } from "../kernel/node.ts";
import { asFreeText, isFreeText, isWord } from "../provenance/lines.ts";
import {
  type Denial,
  type IndexPlace,
  type NodeAnswer,
  type NodeArtifact,
  type NodeBlock,
  type Sized,
  type UnameRule,
  writableArtifact,
} from "../provenance/node-index.ts";
import { compareVersions, isBelow } from "../provenance/version.ts";
import { lastMove } from "./decisions.ts";
import type { AttemptNote, Decision, Index, IndexEntry, Published } from "./documents.ts";
import { standingOf } from "./standing.ts";

/** What a driver has for machines of one kind. */
export interface NodeIndexContent extends IndexPlace {
  readonly floor?: string | undefined;
  readonly blocks: readonly NodeBlock[];
}

/** What is asked for about a state: all but its place in history. */
type Content = Pick<Published, "catalog" | "facts" | "indices" | "attempts" | "decisions">;
type Kernel = Content["catalog"]["kernels"][number];

/** How large a blob is; undefined for one that is not there. */
export type SizeOf = (digest: string) => number | undefined;

/** Blobs of a state whose size its documents do not say: manifests, and modules without debugging information. */
export function unsizedBlobs({ indices }: Pick<Published, "indices">): Set<string> {
  return new Set(
    indices.flatMap(({ stable }) =>
      stable.flatMap(({ manifest, modules }) => [
        manifest,
        ...modules.flatMap(({ stripped }) => (stripped === undefined ? [] : [stripped])),
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

/** A kernel, and the best answer so far to a driver's question about it. */
interface Told {
  readonly kernel: KernelId & Partial<Pick<Kernel, "packages">>;
  readonly answer: NodeAnswer;
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

class Builder {
  readonly #state: Content;
  readonly #sizeOf: SizeOf;
  readonly #kernels: ReadonlyMap<string, Kernel>;
  readonly #facts: ReturnType<typeof factsByKernel>;
  readonly #floors: ReadonlyMap<string, string>;
  readonly #denials: ReadonlyMap<string, readonly Denial[]>;
  /** Driver → kernel's name → what it is told. */
  readonly #told = new Map<string, Map<string, Told>>();

  constructor(state: Content, sizeOf: SizeOf) {
    this.#state = state;
    this.#sizeOf = sizeOf;
    this.#kernels = new Map(state.catalog.kernels.map((kernel) => [kernelName(kernel), kernel]));
    this.#facts = factsByKernel(state.facts);
    this.#floors = floorsOf(state.decisions);
    this.#denials = denialsOf(state.decisions);
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

  #tell(driver: string, id: KernelId, answer: NodeAnswer): void {
    const name = kernelName(id);
    const ofDriver = this.#told.get(driver) ?? new Map<string, Told>();
    this.#told.set(driver, ofDriver);
    const before = ofDriver.get(name)?.answer;
    if (before !== undefined && !isBetter(answer, before)) return;
    ofDriver.set(name, { kernel: this.#kernels.get(name) ?? id, answer });
  }

  /** A stable artifact, unless nodes must not have it or could not fetch it. */
  #given(entry: IndexEntry, kernel: KernelId, builtFor?: string): NodeAnswer {
    const withheld = (why: string): NodeAnswer => ({ kind: "withheld", why: asFreeText(why) });
    if (isBelow(entry.driverVersion, this.#floors.get(entry.driver)))
      return withheld(`${entry.driverVersion} is below the least version ${this.#floors.get(entry.driver)}`);
    const artifact = this.#artifactOf(entry);
    if (artifact === undefined) return withheld("its files are not all in the registry");
    const denied = this.#denialsOf(entry.driver, kernel).find(({ module }) =>
      artifact.modules.some(({ digest }) => digest === module),
    );
    if (denied !== undefined) return withheld(denied.why);
    return builtFor === undefined ? { kind: "exact", artifact } : { kind: "loadsOn", artifact, builtFor };
  }

  #kept(entry: IndexEntry): NodeAnswer {
    const { word, reasons } = standingOf(this.#state.decisions, { entry, channel: "candidate" });
    return { kind: "withheld", why: asFreeText(reasons[0] ?? word) };
  }

  #artifactOf({
    driverVersion: version,
    manifest,
    provenance = [],
    modules,
  }: IndexEntry): NodeArtifact | undefined {
    const sized = (digest: Digest, size = this.#sizeOf(digest)): Sized[] =>
      size === undefined ? [] : [{ digest, size }];
    const [own] = sized(manifest);
    const files = modules.flatMap(({ name, digest, size, stripped, signatures = [] }) => {
      const [inserted] = stripped === undefined ? sized(digest, size) : sized(stripped);
      return inserted === undefined ? [] : [{ file: `${name}.ko`, inserted, signatures }];
    });
    if (own === undefined || files.length < modules.length) return undefined;
    return writableArtifact({
      ...{ version, manifest: own, provenance },
      modules: files.map(({ file, inserted }) => ({ file, ...inserted })),
      signatures: files.flatMap(({ file, signatures }) =>
        signatures.map(({ keyId, digest, size }) => ({ file, keyId, digest, size })),
      ),
    });
  }

  #denialsOf(driver: string, kernel: KernelId): readonly Denial[] {
    return this.#denials.get(`${driver} ${kernelName(kernel)}`) ?? [];
  }

  closed(): NodeIndexContent[] {
    this.#tellOfDenied();
    const contents = [...this.#told].flatMap(([driver, told]) =>
      [...Map.groupBy(told.values(), ({ kernel }) => kernel.architecture)].map(
        ([machine, some]): NodeIndexContent => ({
          ...{ driver, machine, blocks: this.#blocks(driver, some) },
          ...(this.#floors.has(driver) ? { floor: this.#floors.get(driver) } : {}),
        }),
      ),
    );
    const order = ({ driver, machine }: IndexPlace) => `${driver} ${machine}`;
    return contents
      .filter(({ blocks }) => blocks.length > 0)
      .toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
  }

  /** Kernels for which there is nothing any more but what nodes must not load. */
  #tellOfDenied(): void {
    for (const [place, [first]] of this.#denials) {
      const [driver = "", name = ""] = place.split(" ");
      const kernel = this.#kernels.get(name);
      if (kernel !== undefined && first !== undefined)
        this.#tell(driver, kernel, { kind: "excluded", why: first.why });
    }
  }

  /** Kernels that are the very same everywhere have one block. */
  #blocks(driver: string, told: readonly Told[]): NodeBlock[] {
    const named = told.map((one) => ({ ...one, uname: this.#unameOf(one.kernel) }));
    const groups = Map.groupBy(named, ({ kernel, uname }) =>
      uname === undefined ? kernelName(kernel) : `${kernel.kversion} ${uname.kind} ${uname.text}`,
    );
    return [...groups.values()].flatMap((group) => {
      const known = group.flatMap(({ kernel: { packages, ...id } }) =>
        packages ? [{ ...id, packages }] : [],
      );
      const isOne = group.length > 1 && known.length === group.length && isSameEverywhere(known);
      const best = group
        .toSorted((a, b) => rankOf(a.answer) - rankOf(b.answer))
        .slice(0, isOne ? 1 : undefined);
      return best.flatMap(({ kernel, uname, answer }): NodeBlock[] => {
        const { kversion: release, distribution, packageVersion } = kernel;
        if (!isWord(packageVersion)) return [];
        const denied = (isOne ? group : [{ kernel }]).flatMap((one) => this.#denialsOf(driver, one.kernel));
        return [{ ...{ release, distribution, packageVersion, uname, answer }, denied: once(denied) }];
      });
    });
  }

  #unameOf(kernel: Told["kernel"]): UnameRule | undefined {
    const { packages } = kernel;
    const text =
      packages === undefined ? undefined : factsOf(this.#facts, { ...kernel, packages }).image?.version;
    if (text !== undefined && isFreeText(text)) return { kind: "uname", text };
    const words = unameWords(kernel);
    return words === undefined || !isFreeText(words) ? undefined : { kind: "unameword", text: words };
  }
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
