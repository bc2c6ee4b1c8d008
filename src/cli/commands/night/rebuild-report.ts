/** What `kmodfarm rebuild` says of a second build, to people and to programs. */
import { recipeKey } from "../../../builder/recipe.ts";
import type { ModuleComparison } from "../../../check/compare-modules.ts";
import type { SectionDifference } from "../../../check/difference-causes.ts";
import type { RebuildReport } from "../../../farm/rebuild/rebuild.ts";
import { elementName } from "../../../matrix/element.ts";
import { print, printJson, table } from "../../output.ts";

/** What a statement adds to it, where there is one. */
interface Told {
  readonly statement?: string;
}

export async function tellRebuild(
  report: RebuildReport,
  { json }: { readonly json?: boolean | undefined },
  told: Told = {},
): Promise<void> {
  if (json) return printJson({ ...toJson(report), ...told });
  const written = told.statement === undefined ? "" : `statement: ${told.statement}\n`;
  await print(`${toText(report)}${written}`);
}

function toJson({ element, recipe, surroundings, result, attempt, modules, files }: RebuildReport) {
  const { failure, buildMs } = attempt.record;
  return {
    schema: "kmodfarm.rebuild/1" as const,
    element,
    recipe: recipeKey(recipe),
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
