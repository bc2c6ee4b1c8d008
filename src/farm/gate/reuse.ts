/**
 * Modules for kernels that they were not built for: proven, kernel by kernel, and published only where the policy allows
 * it. What a policy asks of what was built is asked here too, of the other kernel, and besides that kernel must compare
 * CRCs and have taken the modules in. Only `identity` is let go of, which is another kernel's by intent.
 */
import { type CatalogKernel, findKernel } from "../../catalog/catalog.ts";
import { commonReason, textsOf, type Verdict } from "../../check/verdict.ts";
import { keepsAbi } from "../../kernel/distributions/index.ts";
import { type KernelFacts, withAllLearned } from "../../kernel/facts.ts";
import { kernelName } from "../../kernel/kernel.ts";
import { partsOfRelease } from "../../kernel/release-rules.ts";
import { readManifest } from "../../registry/artifact.ts";
import { laterEvidence, withDecision } from "../../registry/decisions.ts";
import type { Published } from "../../registry/documents.ts";
import { loadsOnOf, servedOf, withoutReuse, withReuse } from "../../registry/reuse.ts";
import { type Listed, listAll } from "../../registry/standing.ts";
import { viewPath } from "../../registry/view-path.ts";
import { needsIn } from "../needs.ts";
import type { Farm } from "../open.ts";
import { readOwn } from "../signing/heads.ts";
import { checkArtifact } from "./artifact-check.ts";
import type { CheckReport } from "./check.ts";
import { type Gate, kernelNameOf, openGate } from "./gate.ts";
import { byHand, change, type Move, type Moves, type Person } from "./moves.ts";

export interface ReuseRequest extends Person {
  readonly choose: (listed: readonly Listed[]) => Listed;
  /** As `findKernel` takes them. */
  readonly kernels: readonly string[];
}

/**
 * Lets a stable artifact serve further kernels. Each is proven first, while others publish what they like; what was
 * proven counts if the artifact is still stable then.
 * @throws FarmError KERNEL_UNKNOWN, NOT_FETCHABLE without a kernel's headers
 */
export async function reuse(
  farm: Farm,
  { choose, kernels, by, why }: ReuseRequest,
  now: () => Date,
  signal: AbortSignal,
): Promise<Moves> {
  const state = await readOwn(farm, now);
  const gate = await openGate(farm, () => state, now);
  const listed = choose(listAll(state.indices));
  const proofs = new Map<CatalogKernel, Proof>();
  // All are found before the first is tried.
  for (const kernel of kernels.map((words) => findKernel(state.catalog, words)))
    if (whyNeedless(state, listed, kernel) === undefined)
      proofs.set(kernel, await prove({ farm, state, gate }, listed, kernel, signal));
  return change(farm, { who: by, what: "reuse", now }, async (today) => {
    const moves: Move[] = [];
    let { indices, decisions } = today;
    for (const kernel of kernels.map((words) => findKernel(today.catalog, words))) {
      const tell = (result: Move["result"], reasons: readonly string[]) =>
        moves.push(moveOf(listed, result, kernelName(kernel), reasons));
      const needless = whyNeedless(today, listed, kernel);
      if (needless !== undefined) {
        tell("nothing to do", [needless]);
        continue;
      }
      const proof = [...proofs].find(([proven]) => kernelName(proven) === kernelName(kernel))?.[1];
      const { refusals, verdicts } = stillProven(today, listed, proof);
      const action = refusals.length === 0 ? "reuse" : "refuse";
      decisions = withDecision(decisions, {
        ...byHand(action, listed.entry, { by, why }, now()),
        kernel: kernelName(kernel),
        policy: gate.policyDigest,
        verdicts: [...verdicts],
      });
      if (action === "reuse") indices = withReuse(indices, kernel, loadsOnOf(listed, kernel));
      tell(action === "reuse" ? "reused" : "refused", action === "reuse" ? proofOf(verdicts) : refusals);
    }
    const facts = withAllLearned(
      today.facts,
      [...proofs.values()].flatMap((proof) => proof.facts ?? []),
    );
    return { state: { ...today, indices, decisions, facts }, moves, warnings: gate.strangeNames() };
  });
}

/** A proof is of one manifest, and of what was stable when it was made. */
function stillProven({ indices }: Published, listed: Listed, proof: Proof | undefined): Proof {
  const again = "run the same command again";
  if (proof === undefined) return { refusals: [`it was not tested: ${again}`], verdicts: [] };
  if (listed.channel !== "stable") return proof;
  const isStable = listAll(indices).some(
    ({ channel, entry }) => channel === "stable" && entry.manifest === listed.entry.manifest,
  );
  if (isStable) return proof;
  return { ...proof, refusals: [...proof.refusals, `it is no longer stable: ${again}`] };
}

/** Takes back what an artifact gives to some kernels, and nothing else of it. */
export async function endReuse(
  farm: Farm,
  { choose, kernels, by, why }: ReuseRequest,
  now: () => Date,
): Promise<Moves> {
  return change(farm, { who: by, what: "reuse --end", now }, async (state) => {
    const listed = choose(listAll(state.indices));
    const wanted = new Set(kernels.map((words) => kernelName(findKernel(state.catalog, words))));
    const moves: Move[] = [];
    let { indices, decisions } = state;
    for (const { index, served } of servedOf(state.indices, listed)) {
      const kernel = kernelName({ ...index, ...served });
      if (!wanted.delete(kernel)) continue;
      indices = withoutReuse(indices, index, served);
      decisions = withDecision(decisions, {
        ...byHand("endReuse", listed.entry, { by, why }, now()),
        kernel,
      });
      moves.push(moveOf(listed, "reuse ended", kernel, [`by ${by}: ${why}`]));
    }
    for (const kernel of wanted)
      moves.push(moveOf(listed, "nothing to do", kernel, ["it is not served to that kernel"]));
    return { state: { ...state, indices, decisions }, moves };
  });
}

function moveOf({ entry }: Listed, result: Move["result"], kernel: string, reasons: readonly string[]): Move {
  return { entry, place: viewPath(entry), result, kernel, reasons };
}

function whyNeedless(
  { indices }: Published,
  { index, entry }: Listed,
  kernel: CatalogKernel,
): string | undefined {
  if (kernelName(kernel) === kernelNameOf(index, entry)) return "it was built for that kernel itself";
  const own = listAll(indices).find(
    (one) =>
      one.channel === "stable" &&
      one.entry.driver === entry.driver &&
      kernelNameOf(one.index, one.entry) === kernelName(kernel),
  );
  return own === undefined ? undefined : `${viewPath(own.entry)} was built for that kernel`;
}

interface Proving {
  readonly farm: Farm;
  readonly state: Published;
  readonly gate: Gate;
}

interface Proof {
  /** Why not, one line each; none for what is proven. */
  readonly refusals: readonly string[];
  /** What the checks say of the modules and the other kernel. */
  readonly verdicts: readonly Verdict[];
  /** What was learned of the kernel on the way. */
  readonly facts?: readonly KernelFacts[];
}

async function prove(
  { farm, state, gate }: Proving,
  listed: Listed,
  kernel: CatalogKernel,
  signal: AbortSignal,
): Promise<Proof> {
  const { index, entry, channel } = listed;
  const refused = (fact: string): Proof => ({ refusals: [fact], verdicts: [] });
  if (channel !== "stable") return refused("the artifact itself is not stable");
  for (const { distribution } of [index, kernel])
    if (!keepsAbi(distribution))
      return refused(
        `${distribution} does not belong to the Enterprise Linux family: its kernels promise no stable ABI`,
      );
    else if (!gate.allowsReuse(distribution))
      return refused(`the policy does not list ${distribution} under loadsOn`);

  const manifest = await readManifest(farm.store, entry);
  const needs = needsIn(manifest).map(({ name }) => name);
  if (needs.length > 0)
    return refused(`it needs ${needs.join(", ")}, and only a driver without needs can be reused`);
  const asked = { signers: gate.signers, isLoaded: true };
  const report = await checkArtifact(farm, state, listed, kernel, asked, signal);
  const today = [
    await gate.provenanceToday(listed, manifest),
    await gate.reproducibleToday(listed, manifest),
  ];
  const ofBuild = [
    ...[...manifest.verdicts, ...laterEvidence(state.decisions, entry)].filter(({ check }) =>
      OF_THE_BUILD.includes(check),
    ),
    ...today.flatMap((one) => one ?? []),
  ];
  const verdicts = [...ofBuild, ...report.verdicts.map(withoutIdentity)];
  const { driver, driverVersion: driverversion } = entry;
  const { distribution, architecture, flavour, kversion, packageVersion } = kernel;
  const { refusals } = await gate.judge(
    {
      ...{ driver, driverversion, distribution, architecture, flavour, kversion, packageVersion },
      distributionId: partsOfRelease(distribution).id,
    },
    entry.modules,
    verdicts,
    // No stand-in is a proof that modules of one kernel fit another.
    undefined,
  );
  return { refusals: [...new Set([...refusals, ...doubts(report)])], verdicts, facts: report.facts };
}

/** Whatever the kernel. */
const OF_THE_BUILD: readonly string[] = ["provenance", "reproducible"];

/** They are another kernel's, and that is the point. */
function withoutIdentity(one: Verdict): Verdict {
  if (one.check !== "identity" || one.verdict !== "fail") return one;
  const why = commonReason("builtForAnother", "built for another kernel, as the policy's loadsOn allows");
  return { ...one, verdict: "waived", reasons: [...one.reasons, why] };
}

/** What keeps from a proof, whatever a policy says: no exception and no stand-in is one. */
function doubts({ answer, record, verdicts }: CheckReport): string[] {
  const load = verdicts.find(({ check }) => check === "load");
  return [
    ...(record.symvers?.hasVersions === true
      ? []
      : ["the kernel does not compare CRCs, so nothing proves that another kernel's modules fit"]),
    ...(answer?.answer === "loads" ? [] : (answer?.reasons ?? [])),
    ...(load === undefined || load.verdict === "pass"
      ? []
      : [`load: ${load.verdict}: ${textsOf(load).join("; ")}`]),
  ];
}

function proofOf(verdicts: readonly Verdict[]): string[] {
  return verdicts.filter(({ check }) => check === "symbols" || check === "load").flatMap(textsOf);
}
