/**
 * `kmodfarm doctor`: what this machine has and what is missing.
 */
import { ERRORS } from "../../../base/error-codes.ts";
import { examine } from "../../../farm/doctor.ts";
import type { Finding } from "../../../farm/finding.ts";
import type { OptionsOf } from "../../command.ts";
import { configOf, stopSignal } from "../../options.ts";
import { print, printJson, table } from "../../output.ts";
import type { DOCTOR } from "./command.ts";

export async function doctor(options: OptionsOf<typeof DOCTOR>): Promise<number> {
  const findings = await examine(await configOf(options), stopSignal());
  const problems = findings.filter(({ state }) => state === "problem");
  if (options.json) await printJson({ schema: "kmodfarm.doctor/1", findings });
  else await print(toText(findings));
  return problems.length > 0 ? ERRORS.TOOL_MISSING.exit : 0;
}

const WORDS = { good: "ok", note: "note", problem: "PROBLEM" } as const;

function toText(findings: readonly Finding[]): string {
  const rows = findings.map(({ subject, state, fact }) => [WORDS[state], subject, fact]);
  const steps = findings
    .filter(({ state, next }) => state !== "good" && next !== undefined)
    .toSorted((a, b) => Number(b.state === "problem") - Number(a.state === "problem"))
    .map(({ subject, state, next }) => `${WORDS[state]} ${subject}: ${next}\n`);
  const count = findings.filter(({ state }) => state === "problem").length;
  const sum = count === 0 ? "No problems.\n" : `${count} ${count === 1 ? "problem" : "problems"}.\n`;
  return `${table(["", "WHAT", "FACT"], rows)}\n${steps.join("")}${sum}`;
}
