/**
 * `kmodfarm check`: whether modules belong to a kernel, check by check.
 */

import { sha256 } from "../../base/json.ts";
import { findKernel } from "../../catalog/catalog.ts";
import { guestPackages } from "../../check/guest-tools.ts";
import type { Verdict } from "../../check/verdict.ts";
import { type CheckReport, checkModules } from "../../farm/check.ts";
import { openInputs } from "../../farm/open.ts";
import { readCertificate } from "../../farm/policy-file.ts";
import { kernelName } from "../../kernel/kernel.ts";
import { readPublished } from "../../registry/generations.ts";
import { explain } from "../explain.ts";
import { readModuleFiles } from "../module-files.ts";
import { type PlaceOptions, stopSignal, withFarm } from "../options.ts";
import { print, printJson, table } from "../output.ts";

interface CheckOptions extends PlaceOptions {
  readonly kernel: string;
  readonly moduleVersion?: string;
  readonly signer?: readonly string[];
  readonly load: boolean;
  readonly explain?: boolean;
}

export async function check(files: readonly string[], options: CheckOptions): Promise<number> {
  const named = await readModuleFiles(files);
  const signers = await Promise.all((options.signer ?? []).map(readCertificate));
  return withFarm(options, async (farm) => {
    const { catalog } = await readPublished(farm.store, "candidate");
    const kernel = findKernel(catalog, options.kernel);
    const { scratch, cache } = farm;
    const context = { scratch, cache, inputs: openInputs(farm, catalog, { archived: "none" }) };
    const report = await checkModules(
      {
        ...{ kernel, files: named, signers },
        guest: guestPackages(catalog.guests, kernel),
        moduleVersion: options.moduleVersion,
        isLoaded: options.load,
      },
      context,
      stopSignal(),
    );
    const name = kernelName(kernel);
    if (options.json) await printJson(toJson(name, named, report));
    else if (options.explain) await print(explain(name, named, report));
    else await print(toText(name, report));
    return exitOf(report.verdicts);
  });
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
