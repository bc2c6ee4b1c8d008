/**
 * Modules that were built elsewhere: checked like any others, and stored as a candidate. How they were built is known if
 * their builder states it, and the policy believes that builder.
 */
import { FarmError } from "../../base/error.ts";
import { checkNames } from "../../builder/outputs.ts";
import { findKernel } from "../../catalog/catalog.ts";
import { format } from "../../check/checks/format.ts";
import { verdictsOn } from "../../check/checks/index.ts";
import { untested } from "../../check/checks/load.ts";
import { guestPackages } from "../../check/guest/tools.ts";
import { type ModuleFile, openModuleFiles } from "../../check/opened-modules.ts";
import { boundedTexts } from "../../check/verdict.ts";
import { factsByKernel, withAllLearned } from "../../kernel/facts.ts";
import { pathSegment } from "../../kernel/path-segment.ts";
import type { Element } from "../../matrix/element.ts";
import { generateMatrix } from "../../matrix/generate.ts";
import { readBundle } from "../../provenance/bundle.ts";
import { statedSource } from "../../provenance/judge.ts";
import { readStatement } from "../../provenance/statement.ts";
import { readManifest, storeArtifact } from "../../registry/artifact.ts";
import { identityOf, importedContent, listedModules } from "../../registry/artifact-content.ts";
import { artifactName, withDecision } from "../../registry/decisions.ts";
import type { Published } from "../../registry/documents.ts";
import { withArtifact } from "../../registry/publish.ts";
import { seenModule, unsignedModule } from "../../registry/stated.ts";
import type { Store } from "../../registry/stores/store.ts";
import { viewPath } from "../../registry/view-path.ts";
import { type Farm, readingContext } from "../open.ts";
import { readOwn } from "../signing/heads.ts";
import { checkModules } from "./check.ts";
import { openGate } from "./gate.ts";
import { change, type Moves, type Person } from "./moves.ts";

export interface ImportRequest extends Person {
  readonly modules: readonly ModuleFile[];
  /** The kernel that they are for, as `findKernel` takes it. */
  readonly target: string;
  readonly name: string;
  readonly version: string;
  readonly isLoaded: boolean;
  /** A bundle with their builder's statement of how they were built. */
  readonly provenance?: ModuleFile | undefined;
}

/**
 * Checks modules and publishes them as a candidate. While they are checked others publish what they like.
 * @throws FarmError MODULE_MALFORMED for what is no module, PROVENANCE_MALFORMED, KERNEL_UNKNOWN, USAGE where something
 * was built here
 */
export async function importArtifact(
  farm: Farm,
  request: ImportRequest,
  now: () => Date,
  signal: AbortSignal,
): Promise<Moves> {
  const { store } = farm;
  const { modules: files, name, version, by, why, isLoaded, provenance } = request;
  // They become paths of the view.
  pathSegment(name, "driver");
  pathSegment(version, "driver version");
  if (provenance !== undefined)
    readStatement(readBundle(provenance.bytes, provenance.name).payload, provenance.name);
  const state = await readOwn(farm, now);
  const kernel = findKernel(state.catalog, request.target);
  const [element] = generateMatrix(
    { ...state.catalog, kernels: [kernel] },
    [{ name, version }],
    [{}],
    factsByKernel(state.facts),
  );
  if (element === undefined)
    throw new FarmError("KERNEL_UNKNOWN", { detail: `nothing can be built for ${request.target}` });
  const gate = await openGate(farm, () => state, now);
  const { signers } = gate;
  await refuseTaken(store, state, name, element);
  const context = readingContext(farm, state.catalog);
  const guest = guestPackages(state.catalog.guests, kernel);
  const opened = await openModuleFiles(files);
  const faults = opened.flatMap(({ fault }) => fault ?? []);
  if (faults.length > 0) throw new FarmError("MODULE_MALFORMED", { detail: boundedTexts(faults).join("; ") });
  // Nodes get them as they are inside, and that is what is checked; the files that were given are looked at besides.
  const modules = opened.flatMap(({ opened: one }) => one ?? []);
  checkNames(modules.map(({ module }) => module.name));
  const plain = modules.map(({ module, bytes }) => ({ name: `${module.name}.ko`, bytes }));
  const bundles = provenance === undefined ? [] : [provenance.bytes];
  const [source] = bundles.flatMap((one) => statedSource(one, gate.builders) ?? []);
  const content = importedContent({ name, version, source }, element, modules);
  const listed = listedModules(content);
  const stated = {
    ...{ bundles, builders: gate.builders, of: listed.map(seenModule) },
    build: { identity: identityOf(element, content.driver), modules: modules.map(unsignedModule) },
  };

  const report = await checkModules(
    {
      ...{ kernel, guest, signers, isLoaded, files: plain },
      origin: { kind: "imported", by, why },
      stated,
      ...(isLoaded ? {} : { loaded: untested("skipped: import it again without --no-load") }),
    },
    context,
    signal,
  );
  const given = verdictsOn({ files: opened, kernel: report.record }, [format]);
  const verdicts = [...given, ...report.verdicts.filter(({ check }) => check !== format.name)];
  // Even with an exception it is promoted by hand: an import is only a candidate.
  const log = `Imported by ${by}: ${why}\n${report.log ?? ""}\n`;
  const judged = await gate.judge(element, listed, verdicts, undefined);
  const { refusals } = judged;
  const reasons = refusals.length > 0 ? refusals : [`imported by ${by}: ${why}`];
  const noted = gate.noted(judged, true);
  const evidence = { verdicts, refusals: reasons, kernel: report.record, noted, bundles };
  const entry = await storeArtifact(store, element, { ...content, log: Buffer.from(log) }, evidence);
  const decision = {
    at: now().toISOString(),
    action: "import" as const,
    artifact: artifactName(entry),
    ...{ by, why, verdicts },
  };
  const failed = judged.verdicts.flatMap(({ check, verdict }) => (verdict === "fail" ? [check] : []));
  const move = { entry, place: viewPath(entry), result: "imported" as const, reasons, failed };
  return change(farm, { who: by, what: "import", now }, async (today) => {
    await refuseTaken(store, today, name, element);
    const indices = withArtifact(today.indices, element, entry, false);
    const decisions = withDecision(today.decisions, decision);
    const facts = withAllLearned(today.facts, report.facts);
    return { state: { ...today, indices, decisions, facts }, moves: [move] };
  });
}

/** What is built here does not share its place with what is not. @throws FarmError USAGE */
async function refuseTaken(
  store: Store,
  { indices }: Published,
  name: string,
  { output }: Element,
): Promise<void> {
  const entries = indices.flatMap(({ stable, candidate }) => [...stable, ...candidate]);
  for (const entry of entries.filter((one) => one.driver === name && one.output === output)) {
    const { recipe } = await readManifest(store, entry);
    if (recipe.schema !== "kmodfarm.import/1")
      throw new FarmError("USAGE", {
        detail: `${viewPath(entry)} already exists and was built here`,
        hint: "Import it under another driver name.",
      });
  }
}
