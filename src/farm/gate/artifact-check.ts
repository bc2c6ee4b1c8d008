/**
 * Checking an artifact of the store again: its modules as nodes get them, with all that its build and its load test had
 * that is still known, so that the same modules get the same verdicts.
 */
import type { CatalogKernel } from "../../catalog/catalog.ts";
import { guestPackages } from "../../check/guest/tools.ts";
import { type Verdict, withTexts } from "../../check/verdict.ts";
import { readManifest, readModules } from "../../registry/artifact.ts";
import { readBlob } from "../../registry/blobs.ts";
import { laterEvidence } from "../../registry/decisions.ts";
import type { Manifest, Published } from "../../registry/documents.ts";
import type { Listed } from "../../registry/standing.ts";
import type { Store } from "../../registry/stores/store.ts";
import { needsIn } from "../needs.ts";
import { type Farm, readingContext } from "../open.ts";
import { type CheckReport, type CheckRequest, checkModules } from "./check.ts";

type Asked = Pick<CheckRequest, "signers" | "moduleVersion" | "isLoaded">;

/** Checks an artifact against a kernel: its own, or another one that it may serve. */
export async function checkArtifact(
  farm: Farm,
  { catalog }: Published,
  { entry }: Listed,
  kernel: CatalogKernel,
  asked: Asked,
  signal: AbortSignal,
): Promise<CheckReport> {
  const { store, config } = farm;
  const driver = config.drivers.find(
    ({ name, versions }) => name === entry.driver && versions.includes(entry.driverVersion),
  );
  const request = {
    ...{ kernel, guest: guestPackages(catalog.guests, kernel) },
    files: await readModules(store, entry),
    needed: await neededModulesOf(store, await readManifest(store, entry)),
    settings: driver?.load,
    ...asked,
    moduleVersion: asked.moduleVersion ?? driver?.moduleVersion?.replaceAll("{version}", entry.driverVersion),
  };
  return checkModules(request, readingContext(farm, catalog), signal);
}

/** The modules of other drivers that an artifact was built against, as nodes insert them. */
function neededModulesOf(store: Store, manifest: Manifest): Promise<{ name: string; bytes: Buffer }[]> {
  const modules = needsIn(manifest).flatMap((need) => need.modules);
  return Promise.all(
    modules.map(async ({ name, sha256 }) => ({ name, bytes: await readBlob(store, sha256) })),
  );
}

/** What is on record of an artifact: what its manifest says, and what was found out since. @throws FarmError STORE_CORRUPT */
export async function recordedVerdicts(
  store: Store,
  { decisions }: Pick<Published, "decisions">,
  { entry }: Listed,
): Promise<Verdict[]> {
  const { verdicts } = await readManifest(store, entry);
  return [...verdicts, ...laterEvidence(decisions, entry)];
}

/**
 * What was asked, and what is on record and was not asked again. A load test that failed stays failed: it had the driver's
 * own script.
 */
export function withRecord(asked: readonly Verdict[], recorded: readonly Verdict[]): Verdict[] {
  const kept = recorded.filter(
    ({ check: name, verdict: word }) =>
      !asked.some((one) => one.check === name) || (name === "load" && word === "fail"),
  );
  const told = kept.map((one) => withTexts(one, (text) => `on record: ${text}`));
  return [...new Map([...asked, ...told].map((one) => [one.check, one])).values()];
}
