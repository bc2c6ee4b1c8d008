/**
 * `kmodfarm audit`: reports bad modules among existing ones. Needs no store and no configuration.
 */

import { counted } from "../../../base/counted.ts";
import { FarmError, toFarmError } from "../../../base/error.ts";
import { ERRORS } from "../../../base/error-codes.ts";
import type { AuditedFile, KernelKeys } from "../../../check/audit.ts";
import type { Finding } from "../../../check/audit-findings.ts";
import { type AuditReport, auditPlace } from "../../../farm/audit/audit.ts";
import { openPlace } from "../../../farm/audit/place.ts";
import type { Gap } from "../../../farm/audit/web-listing.ts";
import { withTask } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { print, printJson, table } from "../../output.ts";
import type { AUDIT } from "./command.ts";

/** Exit code 3 where not everything could be read: what is there and was not seen may be wrong too. */
export async function audit(place: string, options: OptionsOf<typeof AUDIT>): Promise<number> {
  await using files = await openPlace(place);
  const kernels = options.kernels === undefined ? undefined : await releasesOf(options.kernels);
  const report = await withTask(options, `auditing ${place}`, () => auditPlace(files, kernels));
  if (report.files.length + report.unjudged.length + report.gaps.length === 0)
    throw new FarmError("USAGE", {
      detail: `there are no modules (.ko, .ko.xz, .ko.zst, .ko.gz) below ${place}`,
      hint: "Name the directory or address that holds the modules; links are not followed.",
    });
  if (options.json) await printJson(toJson(place, report));
  else await print(toText(report));
  if (report.gaps.length > 0) return ERRORS.REMOTE_UNAVAILABLE.exit;
  return report.findings.length > 0 ? 1 : 0;
}

/** Releases in a catalog, a matrix, or a kernel list. */
async function releasesOf(place: string): Promise<ReadonlySet<string>> {
  const { readCatalog } = await import("../../catalog-io.ts");
  try {
    const { catalog } = await readCatalog(place);
    return new Set(catalog.kernels.map(({ kversion }) => kversion));
  } catch (thrown) {
    const { code, message, cause } = toFarmError(thrown);
    if (code !== "DOCUMENT_INVALID") throw thrown;
    const hint =
      "Give --kernels a catalog (`kmodfarm catalog export > FILE`), a kernel-crawler list or driverkit configurations.";
    throw new FarmError(code, { detail: message, hint, cause });
  }
}

function toText({ files, findings: found, unjudged: unknown, gaps, keys }: AuditReport): string {
  const claimed = new Set(files.flatMap(({ claim }) => claim?.release ?? []));
  const rows = found.map(({ kind, path, fact }) => [WORDS[kind], path, fact]);
  const shown = rows.length === 0 ? "" : `${table(["WHAT", "FILE", "WHY"], rows)}\n`;
  const unseen = unverified(files, keys);
  const lines = [
    `${counted(files.length, "module")} for ${counted(claimed.size, "kernel")}: ${factOf(found, gaps)}.`,
    ...[...Map.groupBy(unknown, ({ why }) => why)].map(
      ([why, of]) =>
        `For ${of.length} no verdict is possible (${examples(of.map(({ path }) => path))}): ${why}.`,
    ),
    ...(unseen === 0
      ? []
      : [
          `The signatures of ${counted(unseen, "module")} were not verified: the key is in the kernel's boot image, which is not next to them.`,
        ]),
    ...(gaps.length === 0
      ? []
      : [
          "The audit is incomplete:",
          ...gaps.slice(0, MOST_GAPS).map(({ place, why }) => `  ${place}: ${why}`),
          ...(gaps.length > MOST_GAPS
            ? [`  and ${gaps.length - MOST_GAPS} more (--json names them all)`]
            : []),
        ]),
  ];
  return `${shown}${lines.join("\n")}\n`;
}

const MOST_GAPS = 20;

function factOf(found: readonly Finding[], gaps: readonly Gap[]): string {
  const kinds = [...Map.groupBy(found, ({ kind }) => kind)].map(
    ([kind, of]) => `${of.length} ${WORDS[kind]}`,
  );
  const wrong = new Set(found.map(({ path }) => path)).size;
  if (wrong > 0) return `${wrong} ${wrong === 1 ? "is" : "are"} wrong (${kinds.join(", ")})`;
  return gaps.length > 0 ? "no problems in what could be read" : "no problems";
}

function examples(paths: readonly string[]): string {
  const [shown, rest] = [paths.slice(0, 3).join(", "), paths.length - 3];
  return rest > 0 ? `${shown} and ${rest} more` : shown;
}

/** How many are signed with an unknown key. */
function unverified(files: readonly AuditedFile[], keys: KernelKeys): number {
  return files.filter(({ claim, facts }) => facts?.signer !== undefined && !keys.has(claim?.release ?? ""))
    .length;
}

const WORDS: Readonly<Record<Finding["kind"], string>> = {
  damaged: "damaged",
  misnamed: "misnamed",
  wrongKernel: "wrong kernel",
  cannotLoad: "cannot load",
  unsigned: "unsigned",
  duplicate: "duplicate",
  noKernel: "no kernel",
};

function toJson(place: string, { files, findings: found, unjudged: unknown, gaps, keys }: AuditReport) {
  return {
    schema: "kmodfarm.audit/1" as const,
    place,
    modules: files.length,
    kernels: [...new Set(files.flatMap(({ claim }) => claim?.release ?? []))].sort(),
    unclaimed: files.filter(({ claim }) => claim === undefined).map(({ path }) => path),
    unjudged: unknown,
    unread: gaps,
    signaturesUnverified: unverified(files, keys),
    findings: found,
  };
}
