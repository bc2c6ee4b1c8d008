/**
 * The gate at work: the configured policy, applied by every publisher, with what the store and the machine know.
 */
import type { Digest } from "../../base/json.ts";
import type { Recipe } from "../../builder/records.ts";
import { findKernel, upcomingIn } from "../../catalog/catalog.ts";
import type { Origin } from "../../check/checks/check.ts";
import { KEYED_CHECKS, type KeyedCheckName } from "../../check/checks/index.ts";
import { provenance } from "../../check/checks/provenance.ts";
import { reproducible } from "../../check/checks/reproducible.ts";
import { signature } from "../../check/checks/signature.ts";
import {
  allowsReuse,
  type Judged,
  judge,
  type Policy,
  policyDigest,
  refusalsByNote,
  requiredChecks,
  unknownNames,
  withExceptions,
} from "../../check/policy.ts";
import type { RebuildRule } from "../../check/rebuilds.ts";
import type { Signer } from "../../check/signature.ts";
import { heldTo, type NodeModule } from "../../check/subject.ts";
import type { Verdict } from "../../check/verdict.ts";
import { type KernelId, kernelName } from "../../kernel/kernel.ts";
import { partsOfRelease } from "../../kernel/release-rules.ts";
import type { Filtered } from "../../matrix/element-filter.ts";
import type { TrustedBuilder } from "../../provenance/builder.ts";
import type { PublicKey } from "../../provenance/public-key.ts";
import { readManifest, readModules } from "../../registry/artifact.ts";
import { artifactName, laterEvidence } from "../../registry/decisions.ts";
import type { Decision, IndexEntry, Manifest, Published } from "../../registry/documents.ts";
import { type Listed, listAll, type Standing, standingOf } from "../../registry/standing.ts";
import { isImport, readRebuilds, readStated } from "../../registry/stated.ts";
import { needsIn, waitingToday, withWaiting } from "../needs.ts";
import { configuredSources, type Farm, readingContext } from "../open.ts";
import { ownBuilders } from "../signing/statements.ts";
import { judgeModules, withSignatures } from "./judge.ts";
import { type ConfiguredPolicy, defaultPolicy, readPolicy } from "./policy-file.ts";

/** An element as it is judged: what a policy looks at, and its very kernel. */
type Subject = Filtered & Pick<KernelId, "packageVersion">;

/** What an index notes of a judgement. */
type Note = Pick<IndexEntry, "verdicts" | "judged">;

interface JudgedArtifact extends Judged {
  readonly noted: Note;
}

export class Gate {
  /** Whose signatures count. */
  readonly signers: readonly Signer[];
  /** Whose statements of how something was built count. */
  readonly builders: readonly TrustedBuilder[];
  /** Whose statements of rebuilds are kept, and which of them count. */
  readonly rebuilders: readonly PublicKey[];
  readonly rebuilds: RebuildRule;
  readonly #policy: Policy;
  readonly #farm: Farm;
  readonly #now: () => Date;
  readonly #state: () => Published;

  constructor(
    { policy, signers, builders, rebuilders, rebuilds }: ConfiguredPolicy,
    farm: Farm,
    state: () => Published,
    now: () => Date,
  ) {
    this.#policy = policy;
    this.signers = signers;
    this.builders = builders;
    this.rebuilders = rebuilders;
    this.rebuilds = rebuilds;
    this.#farm = farm;
    this.#state = state;
    this.#now = now;
    this.policyDigest = policyDigest(policy, { signers, builders, rebuilds });
  }

  /**
   * Decides by the policy about these modules, with what is published as further evidence. Verdicts count as far as they
   * are about the bytes that nodes get. `source` is what the driver was built from; where nobody knows it, no sibling
   * can stand in.
   */
  async judge(
    subject: Subject,
    modules: readonly NodeModule[],
    found: readonly Verdict[],
    source: Digest | undefined,
  ): Promise<Judged> {
    const judged = await this.#byPolicy(subject, modules, found, source);
    return this.isUpcoming(subject) ? asUpcoming(judged) : judged;
  }

  /** Whether no user has a kernel yet: what is built for it is for nobody's nodes, whatever the policy says. */
  isUpcoming(kernel: KernelId): boolean {
    const { sources, kernels } = this.#state().catalog;
    if (!sources.some(({ upcoming }) => upcoming === true)) return false;
    const name = kernelName(kernel);
    const listed = kernels.find((one) => kernelName(one) === name);
    return listed !== undefined && upcomingIn(sources)(listed);
  }

  async #byPolicy(
    subject: Subject,
    modules: readonly NodeModule[],
    found: readonly Verdict[],
    source: Digest | undefined,
  ): Promise<Judged> {
    const verdicts = heldTo(modules, found);
    const first = judge(this.#policy, subject, { verdicts }, this.#now());
    const { load } = this.#policy.standIns;
    if (first.isStable || source === undefined || !load.includes("siblingLoad")) return first;
    const sibling = await this.#loadedSibling(subject, source);
    return judge(this.#policy, subject, { verdicts, sibling }, this.#now());
  }

  /**
   * Decides about what is published, as of today. Whose signatures and statements count may have changed since it was
   * checked, so that is asked again.
   * @throws FarmError STORE_CORRUPT
   */
  async judgePublished(listed: Listed): Promise<JudgedArtifact> {
    const manifest = await readManifest(this.#farm.store, listed.entry);
    const subject = subjectOf(listed, manifest);
    const required = requiredChecks(this.#policy, subject);
    const today: Record<KeyedCheckName, () => Promise<Verdict | undefined>> = {
      signature: () => this.#signatureToday(listed, manifest),
      provenance: () => this.provenanceToday(listed, manifest),
      reproducible: () => this.reproducibleToday(listed, manifest),
    };
    const verdicts = [...manifest.verdicts, ...laterEvidence(this.#state().decisions, listed.entry)];
    for (const check of KEYED_CHECKS) {
      // What others state who built it again is told, required or not.
      if (!required.includes(check) && check !== "reproducible") continue;
      const verdict = await today[check]();
      if (verdict !== undefined) verdicts.push(verdict);
    }
    const judged = await this.judge(subject, listed.entry.modules, verdicts, manifest.identity.driver.source);
    const needs = needsIn(manifest);
    return {
      ...withWaiting(judged, waitingToday(listed, needs)),
      noted: this.noted(judged, needs.length === 0),
    };
  }

  /**
   * Where an artifact stands, as of today: a stable one that the policy would refuse by now stays, and that is reported; a
   * candidate has today's reasons.
   */
  async standing(listed: Listed): Promise<Standing> {
    const standing = standingOf(this.#state().decisions, listed);
    if (standing.word === "withdrawn") return standing;
    const refusals = this.#refusalsByNote(listed) ?? (await this.judgePublished(listed)).refusals;
    if (standing.word === "candidate")
      return { word: "candidate", reasons: refusals.length > 0 ? refusals : [PROMOTABLE] };
    return refusals.length === 0
      ? standing
      : { word: "stable", reasons: refusals.map((fact) => `now ${fact}`) };
  }

  /** What an index notes of a judgement; `isAlone`: the artifact needs no other driver. */
  noted({ words, until, isOpen }: Judged, isAlone: boolean): Note {
    if (isOpen || !isAlone) return { verdicts: words };
    const policy = this.policyDigest;
    return { verdicts: words, judged: { policy, ...(until === undefined ? {} : { until }) } };
  }

  /** Undefined where the index does not tell: then the manifest does. */
  #refusalsByNote({ index, entry, channel }: Listed): readonly string[] | undefined {
    const { verdicts: words, judged, reasons = [] } = entry;
    const isTold = judged !== undefined && words !== undefined;
    if (!isTold || laterEvidence(this.#state().decisions, entry).length > 0) return undefined;
    const refusals = channel === "candidate" ? reasons : [];
    const subject = { ...subjectIn(index, entry), distributionId: partsOfRelease(index.distribution).id };
    return refusalsByNote(
      this.#policy,
      this.policyDigest,
      subject,
      { words, refusals, ...judged },
      this.#now(),
    );
  }

  /** Verdicts, with those waived that have an exception, whether the policy requires them or not. */
  async withExceptions(listed: Listed, verdicts: readonly Verdict[]): Promise<Verdict[]> {
    const manifest = await readManifest(this.#farm.store, listed.entry);
    return withExceptions(this.#policy, subjectOf(listed, manifest), verdicts, this.#now());
  }

  /** Changes with whatever may change a decision. */
  readonly policyDigest: Digest;

  /** Whether kernels are asked for their keys, to tell where artifacts stand. */
  get asksKernels(): boolean {
    const { require, distributions } = this.#policy;
    return [require, ...Object.values(distributions).map((own) => own.require)].flat().includes("signature");
  }

  /** Whether a release's kernels may be served by others' modules. */
  allowsReuse(distribution: string): boolean {
    return allowsReuse(this.#policy, { distribution, distributionId: partsOfRelease(distribution).id });
  }

  decision(entry: IndexEntry, judged: Judged, by: string, why = "the policy"): Decision {
    return {
      at: this.#now().toISOString(),
      action: judged.isStable ? "promote" : "refuse",
      artifact: artifactName(entry),
      ...{ by, why },
      policy: this.policyDigest,
      manifest: entry.manifest,
      verdicts: judged.verdicts.filter(({ verdict }) => verdict !== "pass"),
    };
  }

  /** Names in the policy that nothing here bears: most likely misspelt, and then without effect. */
  strangeNames(): string[] {
    const { catalog, indices } = this.#state();
    const { drivers } = this.#farm.config;
    return unknownNames(this.#policy, {
      distributions: new Set(
        catalog.kernels.flatMap(({ distribution }) => [distribution, partsOfRelease(distribution).id]),
      ),
      drivers: new Set([
        ...drivers.map(({ name }) => name),
        ...listAll(indices).map(({ entry }) => entry.driver),
      ]),
    });
  }

  /**
   * What the statements that an artifact comes with are worth today; undefined for an import without any, of which the
   * record says all. @throws FarmError STORE_CORRUPT
   */
  async provenanceToday({ index, entry }: Listed, known?: Manifest): Promise<Verdict | undefined> {
    const { store } = this.#farm;
    const manifest = known ?? (await readManifest(store, entry));
    const { architecture } = index;
    const isOthers = isImport(manifest);
    if (isOthers && entry.provenance === undefined) return undefined;
    const stated = await readStated(store, entry, manifest, this.builders);
    if (isOthers) return provenance.judge({ files: [], kernel: { architecture }, stated });
    return provenance.judge({
      files: [],
      kernel: { architecture },
      stated,
      origin: await this.#originOf(index, entry, stated.build.materials?.recipe.headers ?? []),
    });
  }

  /** What those who built it again state; undefined where nobody did. @throws FarmError STORE_CORRUPT */
  async reproducibleToday({ index, entry }: Listed, known?: Manifest): Promise<Verdict | undefined> {
    if (entry.rebuilds === undefined) return undefined;
    const { store } = this.#farm;
    const manifest = known ?? (await readManifest(store, entry));
    const rebuilds = await readRebuilds(store, entry, manifest, this);
    return reproducible.judge({ files: [], kernel: { architecture: index.architecture }, rebuilds });
  }

  /** What it was built of, and who lists that by now. */
  async #originOf(index: Listed["index"], entry: IndexEntry, headers: Recipe["headers"]): Promise<Origin> {
    const { catalog } = this.#state();
    const name = kernelNameOf(index, entry);
    const listed = catalog.kernels.find((one) => kernelName(one) === name)?.packages;
    const booted = [...(listed?.image ?? []), ...(listed?.modules ?? [])];
    const sources = configuredSources(this.#farm, catalog);
    const signers = this.#farm.signersOf(index.distribution)?.fingerprints ?? [];
    const origin: Origin = { kind: "built", used: [...headers, ...booted], listed, sources, signers };
    return withSignatures(origin, readingContext(this.#farm, catalog).inputs);
  }

  async #signatureToday({ index, entry }: Listed, { verdicts }: Manifest): Promise<Verdict | undefined> {
    const then = verdicts.findLast(({ check }) => check === "signature");
    if (then === undefined || then.verdict === "notApplicable") return undefined;
    const { catalog } = this.#state();
    const kernel = findKernel(catalog, kernelNameOf(index, entry));
    const context = readingContext(this.#farm, catalog);
    const { architecture, packages } = kernel;
    const files = await readModules(this.#farm.store, entry);
    const asked = { files, signers: this.signers, kernel: { architecture }, packages };
    const [today] = await judgeModules(asked, context, undefined, [signature]);
    return today;
  }

  /**
   * The same driver version, of the very source, in a kernel of the same kind, which was loaded itself. A version is
   * only a name: other source under it is another driver.
   */
  async #loadedSibling(subject: Subject, source: Digest): Promise<string | undefined> {
    const { distribution, architecture, driver, driverversion, flavour } = subject;
    const index = this.#state().indices.find(
      (one) => one.distribution === distribution && one.architecture === architecture,
    );
    for (const entry of index?.stable ?? []) {
      if (entry.driver !== driver || entry.driverVersion !== driverversion || entry.flavour !== flavour)
        continue;
      if (entry.verdicts !== undefined && entry.verdicts.load !== "pass") continue;
      const { verdicts, identity } = await readManifest(this.#farm.store, entry);
      if (
        identity.driver.source === source &&
        heldTo(entry.modules, verdicts).some(({ check, verdict }) => check === "load" && verdict === "pass")
      )
        return entry.kversion;
    }
    return undefined;
  }
}

const UPCOMING = "kernel: no user has it yet: only sources that the configuration calls upcoming list it";

/** It may become stable as soon as another source lists the kernel, so nothing of it is noted as final. */
function asUpcoming(judged: Judged): Judged {
  return { ...judged, ...{ isStable: false, isOpen: true }, refusals: [...judged.refusals, UPCOMING] };
}

const PROMOTABLE = "the policy now allows it: run `kmodfarm promote` to make it stable";

/** @throws FarmError CONFIG_INVALID, FILE_UNREADABLE */
export async function openGate(farm: Farm, state: () => Published, now: () => Date): Promise<Gate> {
  const { policy: policyFile } = farm.config;
  const own = () => ownBuilders(farm);
  const policy = policyFile === undefined ? defaultPolicy(await own()) : await readPolicy(policyFile, own);
  return new Gate(policy, farm, state, now);
}

/** The kernel of an artifact, as `findKernel` takes it. */
export function kernelNameOf(
  { distribution, architecture }: Listed["index"],
  { kversion, packageVersion }: IndexEntry,
): string {
  return `${distribution}/${architecture}/${kversion}_${packageVersion}`;
}

function subjectOf({ entry, index }: Listed, { identity }: Manifest): Subject {
  return { ...subjectIn(index, entry), distributionId: identity.distribution.id };
}

function subjectIn(index: Listed["index"], entry: IndexEntry): Omit<Subject, "distributionId"> {
  const { driver, driverVersion: driverversion, flavour, kversion, packageVersion } = entry;
  const { distribution, architecture } = index;
  return { driver, driverversion, flavour, kversion, packageVersion, distribution, architecture };
}
