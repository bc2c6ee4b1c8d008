/**
 * `kmodfarm check`: whether modules belong to a kernel, check by check.
 */
import { FarmError } from "../../base/error.ts";
import { sha256 } from "../../base/json.ts";
import { exists } from "../../base/scratch.ts";
import { type CatalogKernel, findKernel } from "../../catalog/catalog.ts";
import type { ModuleFile } from "../../check/format.ts";
import { guestPackages } from "../../check/guest-tools.ts";
import type { Verdict } from "../../check/verdict.ts";
import { type CheckReport, checkModules } from "../../farm/check.ts";
import { listAll } from "../../farm/gate.ts";
import { type Farm, openInputs } from "../../farm/open.ts";
import { readCertificate } from "../../farm/policy-file.ts";
import { kernelName } from "../../kernel/kernel.ts";
import { readBlob, readManifest } from "../../registry/artifact.ts";
import { laterEvidence } from "../../registry/decisions.ts";
import type { Published } from "../../registry/documents.ts";
import { readPublished } from "../../registry/generations.ts";
import { artifactNamed } from "../artifact-names.ts";
import { explain } from "../explain.ts";
import { readModuleFiles } from "../module-files.ts";
import { type PlaceOptions, stopSignal, withFarm } from "../options.ts";
import { print, printJson, table } from "../output.ts";

interface CheckOptions extends PlaceOptions {
  readonly kernel?: string;
  readonly moduleVersion?: string;
  readonly signer?: readonly string[];
  readonly load: boolean;
  readonly explain?: boolean;
}

export async function check(subjects: readonly string[], options: CheckOptions): Promise<number> {
  const given = options.kernel === undefined ? undefined : await readModuleFiles(subjects);
  const signers = await Promise.all((options.signer ?? []).map(readCertificate));
  return withFarm(options, async (farm) => {
    const state = await readPublished(farm.store, "candidate");
    const { catalog } = state;
    const {
      kernel,
      files: named,
      recorded = [],
    } = given === undefined || options.kernel === undefined
      ? await publishedModules(subjects, state, farm)
      : { kernel: findKernel(catalog, options.kernel), files: given };
    const { scratch, cache } = farm;
    const context = { scratch, cache, inputs: openInputs(farm, catalog, { archived: "none" }) };
    const found = await checkModules(
      {
        ...{ kernel, files: named, signers },
        guest: guestPackages(catalog.guests, kernel),
        moduleVersion: options.moduleVersion,
        isLoaded: options.load,
      },
      context,
      stopSignal(),
    );
    const report = { ...found, verdicts: withRecord(found.verdicts, recorded) };
    const name = kernelName(kernel);
    if (options.json) await printJson(toJson(name, named, report));
    else if (options.explain) await print(explain(name, named, report));
    else await print(toText(name, report));
    return exitOf(report.verdicts);
  });
}

interface Subject {
  readonly kernel: CatalogKernel;
  readonly files: readonly ModuleFile[];
  /** What the store knows of an artifact. */
  readonly recorded?: readonly Verdict[];
}

/** Without a kernel, words name an artifact of the store: its modules as nodes get them, and its own kernel. */
async function publishedModules(
  subjects: readonly string[],
  { catalog, indices, decisions }: Published,
  { store }: Farm,
): Promise<Subject> {
  const [words = ""] = subjects;
  if (subjects.length > 1 || (await exists(words)))
    throw new FarmError("USAGE", {
      detail: "files are checked against a kernel, and --kernel does not name one",
      hint: "Give --kernel DISTRIBUTION/ARCHITECTURE/RELEASE, or, without it, the name of one artifact of the store.",
    });
  const { index, entry } = artifactNamed(listAll(indices), words);
  const { kversion, packageVersion, modules } = entry;
  const kernel = findKernel(
    catalog,
    `${index.distribution}/${index.architecture}/${kversion}_${packageVersion}`,
  );
  const files = modules.map(async ({ name, digest, stripped, compressed }) => ({
    name: compressed?.file ?? `${name}.ko`,
    bytes: await readBlob(store, compressed?.digest ?? stripped ?? digest),
  }));
  const { verdicts } = await readManifest(store, entry);
  const recorded = [...verdicts, ...laterEvidence(decisions, entry)];
  return { kernel, files: await Promise.all(files), recorded };
}

/**
 * What is on record of an artifact and was not asked again. A load test that failed stays failed: it had the driver's own
 * script.
 */
function withRecord(asked: readonly Verdict[], recorded: readonly Verdict[]): Verdict[] {
  const kept = recorded.filter(
    ({ check: name, verdict }) =>
      !asked.some((one) => one.check === name) || (name === "load" && verdict === "fail"),
  );
  const told = kept.map((one) => ({ ...one, reasons: one.reasons.map((reason) => `on record: ${reason}`) }));
  return [...new Map([...asked, ...told].map((one) => [one.check, one])).values()];
}

/** A fault outranks what nobody could find out. */
export function exitOf(verdicts: readonly Verdict[]): number {
  if (verdicts.some(({ verdict }) => verdict === "fail")) return 1;
  return verdicts.some(({ verdict }) => verdict === "unknown") ? 3 : 0;
}

function toText(kernel: string, { verdicts, answer }: CheckReport): string {
  const rows = verdicts.flatMap(({ check: name, verdict, reasons }) =>
    reasons.map((reason, index) => (index === 0 ? [name, verdict, reason] : ["", "", reason])),
  );
  const [first] = answer?.reasons ?? [];
  const failed = verdicts.filter(({ verdict }) => verdict === "fail").map(({ check: name }) => name);
  const but = answer?.answer === "loads" && failed.length > 0 ? `; yet it fails ${failed.join(", ")}` : "";
  const last = answer === undefined ? "" : `\n${kernel}: ${answer.answer}, ${first ?? ""}${but}\n`;
  return `${table(["CHECK", "VERDICT", "WHY"], rows)}${last}`;
}

function toJson(kernel: string, files: readonly { name: string; bytes: Buffer }[], report: CheckReport) {
  const { verdicts, answer, log } = report;
  return {
    schema: "kmodfarm.check/1",
    kernel,
    files: files.map(({ name, bytes }) => ({ name, sha256: sha256(bytes), size: bytes.length })),
    verdicts,
    answer,
    ...(log === undefined ? {} : { log: log.split("\n") }),
  };
}
