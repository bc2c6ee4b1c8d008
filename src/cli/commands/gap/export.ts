/**
 * `kmodfarm gap export`: verdicts on kernels for other tools.
 */
import { digestOf, hexOf } from "../../../base/json.ts";
import { thisPerson } from "../../../farm/gate/moves.ts";
import { toCsv, toNdjson } from "../../../gap/exports/lines.ts";
import { toOpenVex, type VexProduct } from "../../../gap/exports/openvex.ts";
import { toOsv } from "../../../gap/exports/osv.ts";
import { Gap } from "../../../gap/gap.ts";
import type { Target } from "../../../gap/target.ts";
import type { Verdict } from "../../../gap/verdict.ts";
import { findRelease } from "../../../kernel/distributions/index.ts";
import { purl } from "../../../provenance/build.ts";
import type { OptionsOf } from "../../command.ts";
import { type Knowledge, newestKernels, targetNamed, withKnowledge } from "../../gap-book.ts";
import { print, printDocument, say } from "../../output.ts";
import type { EXPORT } from "./command.ts";

type ExportOptions = OptionsOf<typeof EXPORT>;

export async function exportVerdicts(names: readonly string[], options: ExportOptions): Promise<number> {
  return withKnowledge(options, async (known) => {
    const gap = new Gap(known.book);
    const targets = names.length > 0 ? names.map((name) => targetNamed(name, known)) : newestTargets(known);
    const ids = options.cve ?? gap.book.cves.map(({ id }) => id);
    if (targets.length === 0 || ids.length === 0) {
      say(
        targets.length === 0
          ? "nothing to export: feeds that are named know no kernels of the farm; name some, for example 6.1.119"
          : "nothing to export: no feed has CVEs, so nothing is known of any kernel",
      );
      return 3;
    }
    gap.prepare(targets);
    const kernels = targets.map((target) => ({ target, verdicts: gap.ofKernel(target) }));
    const verdicts = function* (): Generator<Verdict> {
      for (const kernel of kernels) for (const id of ids) yield kernel.verdicts.of(id);
    };
    const now = new Date().toISOString();
    switch (options.format) {
      case "csv":
        // Whoever reads it takes either end of lines; a terminal would be steered by the other one.
        await inPortions(toCsv(verdicts()), (text) => print(text.replaceAll("\r\n", "\n")));
        break;
      case "ndjson":
        await inPortions(toNdjson(verdicts()), printDocument);
        break;
      case "osv":
        await inPortions(records(), printDocument);
        break;
      case "openvex": {
        const all = [...verdicts()];
        const id = `urn:kmodfarm:vex:${hexOf(digestOf(all))}`;
        const products = new Map(targets.map((target) => [target.name, productOfTarget(target)]));
        const productOf = (target: string) => products.get(target) as VexProduct;
        const vex = toOpenVex(all, { id, author: thisPerson(), timestamp: now, productOf }) ?? {};
        await printDocument(`${JSON.stringify(vex, null, 2)}\n`);
      }
    }
    return 0;

    function* records(): Generator<string> {
      for (const id of ids) {
        const judged = kernels.map((kernel) => ({ target: kernel.target, verdict: kernel.verdicts.of(id) }));
        const record = toOsv(id, judged, gap.book, { modified: now, ecosystemOf });
        if (record !== undefined) yield `${JSON.stringify(record)}\n`;
      }
    }
  });
}

function newestTargets(known: Knowledge): Target[] {
  return newestKernels(known).map(({ target }) => target);
}

const PORTION_CHARACTERS = 1 << 20;

async function inPortions(lines: Iterable<string>, write: (text: string) => Promise<void>): Promise<void> {
  let portion = "";
  for (const line of lines) {
    portion += line;
    if (portion.length < PORTION_CHARACTERS) continue;
    await write(portion);
    portion = "";
  }
  if (portion !== "") await write(portion);
}

function productOfTarget(target: Target): VexProduct {
  const { node } = target;
  return { purl: purlOf(target), ...(node === undefined ? {} : { node: node.name }) };
}

/** The kernel as a package URL. */
function purlOf({ name, distribution, packageVersion, packages: [source = "linux"] }: Target): string {
  return distribution === undefined || packageVersion === undefined
    ? `pkg:generic/linux@${encodeURIComponent(name)}`
    : purl(distribution, source, packageVersion);
}

const ECOSYSTEMS: Readonly<Record<string, string>> = {
  debian: "Debian",
  ubuntu: "Ubuntu",
  almalinux: "AlmaLinux",
  rocky: "Rocky Linux",
};

/** OSV names Debian and Ubuntu by release, the others by their major one. */
function ecosystemOf(distribution: string): string | undefined {
  const known = findRelease(distribution);
  const ecosystem = known === undefined ? undefined : ECOSYSTEMS[known.distribution.id];
  if (known === undefined || ecosystem === undefined) return undefined;
  const { version } = known.release;
  return `${ecosystem}:${known.format === "rpm" ? version.split(".")[0] : version}`;
}
