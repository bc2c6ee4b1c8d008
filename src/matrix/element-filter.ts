/**
 * Filters of elements, as exclusions and exceptions name what they are about.
 */
import { RE2JS } from "re2js";
import { z } from "zod";
import { FarmError } from "../base/error.ts";
import { ArchitectureName } from "../kernel/architecture.ts";
import type { Element } from "./element.ts";

const Words = z.array(z.string()).min(1);

/** An expression for whole texts, in RE2's syntax; an invalid one is reported where it stands. */
export const Expression = z.string().superRefine((text, context) => {
  try {
    expression(text);
  } catch (thrown) {
    context.addIssue({ code: "custom", message: thrown instanceof Error ? thrown.message : String(thrown) });
  }
});

export const ElementFilter = z.strictObject({
  kernelRelease: Expression.optional().describe("Expression that must match the whole kernel release."),
  distributions: Words.optional().describe("Release keys (debian12) or distribution ids (debian)."),
  architectures: z.array(ArchitectureName).min(1).optional().describe("x86_64, aarch64."),
  flavours: Words.optional().describe("generic, cloud, rt, 16k, …"),
  driver: z.string().optional().describe("Name of the driver; default: every driver."),
  driverVersion: z
    .string()
    .optional()
    .describe("Version of the driver; `*` matches anything. Default: every version."),
});
type ElementFilter = z.infer<typeof ElementFilter>;

/** What a filter looks at. */
export type Filtered = Pick<
  Element,
  "driver" | "driverversion" | "distribution" | "distributionId" | "architecture" | "flavour" | "kversion"
>;

/** @throws FarmError CONFIG_INVALID for an expression that cannot be understood */
export function compileFilter(filter: ElementFilter): (element: Filtered) => boolean {
  const { distributions, architectures, flavours, driver } = filter;
  const release = expression(filter.kernelRelease ?? ".*");
  const version = expression(globToExpression(filter.driverVersion ?? "*"));
  return (element) =>
    (driver === undefined || driver === element.driver) &&
    (distributions === undefined ||
      [element.distribution, element.distributionId].some((name) => distributions.includes(name))) &&
    (architectures === undefined || architectures.includes(element.architecture)) &&
    (flavours === undefined || flavours.includes(element.flavour)) &&
    version.matches(element.driverversion) &&
    release.matches(element.kversion);
}

/** @throws FarmError CONFIG_INVALID */
export function expression(text: string): RE2JS {
  try {
    return RE2JS.compile(text);
  } catch (cause) {
    const fact = cause instanceof Error ? cause.message : String(cause);
    throw new FarmError("CONFIG_INVALID", { detail: `expression '${text}': ${fact}`, cause });
  }
}

/** A shell pattern as an expression for the whole text. */
export function globToExpression(glob: string): string {
  return glob
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
}

/** Whether the last day (`2027-01-31`) of something has passed. */
export function isOver(until: string | undefined, now: Date): boolean {
  return until !== undefined && until < now.toISOString().slice(0, 10);
}
