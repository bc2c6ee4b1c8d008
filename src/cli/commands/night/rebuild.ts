/**
 * `kmodfarm rebuild`: the same recipe in other surroundings, and whether it gives the same bytes.
 */
import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseDocument } from "../../../base/json.ts";
import { exists } from "../../../base/scratch.ts";
import type { ModuleComparison } from "../../../check/compare-modules.ts";
import type { SectionDifference } from "../../../check/difference-causes.ts";
import { keepEvidence } from "../../../farm/moves.ts";
import type { Farm } from "../../../farm/open.ts";
import { type RebuildReport, rebuild as rebuildArtifact } from "../../../farm/rebuild.ts";
import { elementName } from "../../../matrix/element.ts";
import { readManifest } from "../../../registry/artifact.ts";
import { Manifest } from "../../../registry/documents.ts";
import { readPublished } from "../../../registry/generations.ts";
import { listAll } from "../../../registry/standing.ts";
import { artifactNamed } from "../../artifact-names.ts";
import { openBoard } from "../../board.ts";
import type { PlaceOptions } from "../../common-options.ts";
import { readText } from "../../input.ts";
import { stopSignal, withStoredFarm } from "../../options.ts";
import { print, printJson, table } from "../../output.ts";

export async function rebuild(subject: string, options: PlaceOptions): Promise<number> {
  return withStoredFarm(options, async (farm) => {
    const { manifest, original } = await findManifest(subject, farm);
    const board = await openBoard({ format: options.logFormat, stream: process.stderr });
    try {
      const report = await rebuildArtifact(farm, manifest, {
        progress: board,
        signal: stopSignal(),
        original,
      });
      const isKept = await keepEvidence(farm, manifest, report.evidence, REBUILDER, () => new Date());
      if (isKept) board.say("the store keeps the result as evidence for the gate");
      await (options.json ? printJson(toJson(report)) : print(toText(report)));
      return report.result === "equal" ? 0 : 1;
    } finally {
      board.close();
    }
  });
}

const REBUILDER = { by: "kmodfarm rebuild", why: "built again in a different environment" };

interface Found {
  readonly manifest: Manifest;
  readonly original: (module: string) => Promise<Buffer | undefined>;
}

/** A manifest file, a directory that holds one, or words that name an artifact of the store. */
async function findManifest(subject: string, farm: Farm): Promise<Found> {
  const isDirectory = (await stat(subject).catch(() => undefined))?.isDirectory() ?? false;
  const file = isDirectory ? join(subject, "manifest.json") : subject;
  // A driver's own tree may have the name that its artifacts have in the store.
  if (!(await exists(file)))
    return { manifest: await findPublished(subject, farm), original: async () => undefined };
  const manifest = parseDocument(Manifest, await readText(file), file);
  return {
    manifest,
    original: (module) => readFile(join(dirname(file), `${module}.ko`)).catch(() => undefined),
  };
}

async function findPublished(subject: string, { store }: Farm): Promise<Manifest> {
  const { indices } = await readPublished(store);
  return readManifest(store, artifactNamed(listAll(indices), subject).entry);
}

function toJson({ element, recipe, surroundings, result, attempt, modules, files }: RebuildReport) {
  const { failure, buildMs } = attempt.record;
  return {
    schema: "kmodfarm.rebuild/1",
    element,
    recipe,
    surroundings,
    result,
    buildMs,
    failure,
    modules,
    files,
    logFile: attempt.logFile,
  };
}

function toText(report: RebuildReport): string {
  const { element, surroundings, result, attempt, modules, files } = report;
  const { place, userId, hostname, umask, timeZone, locale, jobs } = surroundings;
  const name = elementName(element);
  const where = `below ${place}, as user ${userId} of ${hostname}, umask ${umask?.toString(8)}, TZ=${timeZone}, ${locale}, -j${jobs}, at another time`;
  if (result === "failed") {
    const { cause, line = "", advice = "" } = attempt.record.failure ?? { cause: "" };
    return `${name}: the second build failed (${where})\n  ${cause}\n  ${line}\n  log: ${attempt.logFile}\n  ${advice}\n`;
  }
  const count = `${modules.length} ${modules.length === 1 ? "module" : "modules"}`;
  if (result === "equal") return `${name}: equal, ${count}, byte by byte, built again ${where}.\n`;
  const different = modules.filter(({ isEqual }) => !isEqual);
  const others = files.map((path) => `  ${path}: the content differs\n`).join("");
  return `${name}: ${different.length} of ${count} differ, built again ${where}.\n${different.map(moduleText).join("")}${others}  log: ${attempt.logFile}\n`;
}

function moduleText({ name, isCodeEqual, differences, causes }: ModuleComparison): string {
  const rows = differences.map((one) => [`    ${one.section}`, howText(one)]);
  const texts = differences.flatMap(({ section, strings }) => [
    ...strings.first.map((text) => `    - ${section}: ${text}\n`),
    ...strings.second.map((text) => `    + ${section}: ${text}\n`),
  ]);
  const level = isCodeEqual
    ? "the code and data that the kernel loads are equal"
    : "the code or data that the kernel loads differ";
  return `\n  ${name}.ko: ${level}\n${table(["    SECTION", "DIFFERENCE"], rows)}${texts.join("")}${causes.map((cause) => `  likely: ${cause}\n`).join("")}\n`;
}

function howText({ kind, sizes, firstAt, differingBytes }: SectionDifference): string {
  switch (kind) {
    case "onlyFirst":
      return `only in the first, ${sizes[0]} bytes`;
    case "onlySecond":
      return `only in the second, ${sizes[1]} bytes`;
    case "size":
      return `${sizes[0]} bytes in the first, ${sizes[1]} in the second`;
    case "order":
      return "the same content in a different order";
    case "bytes":
      return `${differingBytes} of ${sizes[0]} bytes, the first at ${firstAt}`;
  }
}
