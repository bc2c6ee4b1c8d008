/**
 * A check on one page, for a reader who has never heard of any of it.
 */
import { sha256 } from "../base/json.ts";
import { oneLine } from "../base/visible.ts";
import { checkNamed } from "../check/checks/index.ts";
import type { ModuleFile } from "../check/opened-modules.ts";
import type { CheckReport } from "../farm/gate/check.ts";
import { type Standing, standingWords } from "../registry/standing.ts";

/** All that one check tells. */
export interface ToldCheck {
  readonly kernel: string;
  readonly files: readonly ModuleFile[];
  readonly report: CheckReport;
  /** Of an artifact: what nodes get of it. */
  readonly standing?: Standing;
  /** Other kernels that it serves. */
  readonly serves: readonly string[];
}

const HEADLINES = {
  loads: "The kernel loads these modules.",
  refuses: "The kernel does not load these modules.",
  unknown: "It is unknown whether the kernel loads these modules.",
} as const;

const ANSWERS: Readonly<Record<string, string>> = {
  pass: "yes",
  fail: "NO",
  unknown: "unknown",
  notApplicable: "not applicable",
  waived: "no, and accepted by exception",
};

const WIDTH = 100;

export function explain({ kernel, files, report, standing }: ToldCheck): string {
  const { verdicts, answer, modules, record } = report;
  const lines = [
    answer === undefined ? "These files are not complete modules." : HEADLINES[answer.answer],
    ...(answer?.reasons.slice(0, 3).flatMap((reason) => wrapped(reason, "  ")) ?? []),
    ...(standing === undefined ? [] : ["", ...wrapped(`In the store: ${standingWords(standing)}`, "")]),
    "",
    `Kernel   ${kernel}`,
    ...(record.compiler === undefined
      ? []
      : [`         built by ${record.compiler.family} ${record.compiler.version}`]),
    ...(record.configDigest === undefined ? [] : [`         configuration ${record.configDigest}`]),
    ...files.flatMap(({ name, bytes }) => [`File     ${oneLine(name)}`, `         ${sha256(bytes)}`]),
    ...modules.flatMap(({ module: { name, version, vermagic, license, compilers } }) => [
      `Module   ${name}${version === undefined ? "" : ` ${version}`}, ${license ?? "no licence"}`,
      `         built for ${vermagic.trim()}`,
      ...compilers.map((compiler) => `         by ${compiler}`),
    ]),
    "",
    ...verdicts.flatMap(({ check, verdict, reasons }) => [
      `${checkNamed(check)?.question ?? check} ${ANSWERS[verdict]} [${check}: ${verdict}]`,
      ...reasons.slice(0, 8).flatMap(({ text }) => wrapped(oneLine(text), "  ")),
      ...(reasons.length > 8 ? [`  and ${reasons.length - 8} more`] : []),
    ]),
  ];
  return `${lines.join("\n")}\n`;
}

function wrapped(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    if (line.length + word.length + 1 > WIDTH && line !== indent) {
      lines.push(line);
      line = indent;
    }
    line += line === indent ? word : ` ${word}`;
  }
  return [...lines, line];
}
