/**
 * Exclusions: elements that are not to be built, each with the reason and, where it is to pass, a day.
 */
import { RE2JS } from "re2js";
import { z } from "zod";
import { FarmError } from "../base/error.ts";
import type { Element } from "./element.ts";
import { compileFilter, ElementFilter, expression, globToExpression, isOver } from "./element-filter.ts";

export const Exclusion = ElementFilter.extend({
  unless: z
    .string()
    .optional()
    .describe("Expression; kernel releases that it matches are not excluded after all."),
  reason: z.string().min(1).describe("Why; shown wherever the element is missed."),
  until: z.iso.date().optional().describe("The last day on which it applies (2027-01-31)."),
});
export type Exclusion = z.infer<typeof Exclusion>;

/** Answers why an element is excluded, or undefined. */
export type Excluder = (element: Element) => string | undefined;

/** Exclusions whose last day is over, on a given day. */
export function expiredExclusions(exclusions: readonly Exclusion[], now: Date): Exclusion[] {
  return exclusions.filter(({ until }) => isOver(until, now));
}

/** @throws FarmError CONFIG_INVALID for an expression that cannot be understood */
export function makeExcluder(exclusions: readonly Exclusion[], now: Date): Excluder {
  const expired = new Set(expiredExclusions(exclusions, now));
  const rules = exclusions.filter((exclusion) => !expired.has(exclusion)).map(compile);
  return (element) => rules.find((rule) => rule.fits(element))?.reason;
}

function compile(exclusion: Exclusion): { readonly reason: string; fits(element: Element): boolean } {
  const fits = compileFilter(exclusion);
  const unless = exclusion.unless === undefined ? undefined : expression(exclusion.unless);
  return { reason: exclusion.reason, fits: (element) => fits(element) && !unless?.matches(element.kversion) };
}

export interface ImportedExclusions {
  readonly exclusions: readonly Exclusion[];
  /** Lines that say something which cannot be carried over; nothing is dropped silently. */
  readonly problems: readonly string[];
}

/**
 * Reads a StackRox BLOCKLIST: `<release pattern> [<module version>] [bpf|mod]` a line, `~` before a Python
 * expression that matches from the start, the comment above as the reason. Lines for bpf objects alone do not
 * concern modules. Source: the header of that file.
 * @throws FarmError CONFIG_INVALID when not one line of it is understood
 */
export function parseBlocklist(text: string): ImportedExclusions {
  const exclusions: Exclusion[] = [];
  const problems: string[] = [];
  let reason = "listed as not building";
  let comment: string[] = [];
  let isHeader = true;
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.trim();
    if (line.startsWith("#")) comment.push(line.replace(/^#\s*/, ""));
    if (line === "" || line.startsWith("#")) continue;
    // The first comment explains the format; only its last line can be a reason.
    if (comment.length > 0)
      reason =
        comment
          .slice(isHeader ? -1 : 0)
          .join(" ")
          .trim() || reason;
    [comment, isHeader] = [[], false];
    const parsed = parseBlockline(line, reason);
    if (typeof parsed === "string") problems.push(`line ${index + 1}: '${line.slice(0, 120)}' ${parsed}`);
    else if (parsed !== undefined) exclusions.push(parsed);
  }
  if (exclusions.length === 0 && problems.length > 0)
    throw new FarmError("CONFIG_INVALID", {
      detail: `it excludes nothing: ${problems[0]}`,
      hint: "Give a YAML list of exclusions (docs/config.md, `exclude`) or a BLOCKLIST.",
    });
  return { exclusions, problems };
}

/** The exclusion that a line makes, undefined for one that does not concern modules, or what is wrong with it. */
function parseBlockline(line: string, reason: string): Exclusion | string | undefined {
  const [pattern = "", driverVersion = "*", object = "*", ...rest] = line.split(/\s+/);
  const isExpression = pattern.startsWith("~");
  if (rest.length > 0 || !["*", "mod", "bpf"].includes(object)) return "is not understood";
  if (!isExpression && !/^[\w.+~*?-]+$/.test(pattern)) return "begins with no kernel release";
  if (object === "bpf") return undefined;
  const matcher = isExpression ? fromPython(pattern.slice(1)) : { kernelRelease: globToExpression(pattern) };
  if (typeof matcher === "string") return matcher;
  return { ...matcher, ...(driverVersion === "*" ? {} : { driverVersion }), reason };
}

/** A negative look-ahead at the very start says what is not meant; any other look-around has no equal. */
function fromPython(pattern: string): Pick<Exclusion, "kernelRelease" | "unless"> | string {
  const leading = /^\(\?!((?:[^()\\]|\\.)*)\)(.*)$/.exec(pattern);
  const [unless, rest] = leading === null ? [undefined, pattern] : [leading[1], leading[2] ?? ""];
  const exclusion = {
    kernelRelease: `(?:${rest}).*`,
    ...(unless === undefined ? {} : { unless: `(?:${unless}).*` }),
  };
  try {
    for (const text of Object.values(exclusion)) RE2JS.compile(text);
    return exclusion;
  } catch (cause) {
    if (/\(\?<?[=!]/.test(rest)) return "looks around, which no linear-time engine can";
    return `is not a regular expression: ${cause instanceof Error ? cause.message : String(cause)}`;
  }
}
