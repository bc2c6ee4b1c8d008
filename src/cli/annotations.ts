/**
 * Failures as GitHub's runners show them: one annotation for each cause, on the driver's line at fault.
 */

import { join, relative } from "node:path";
import { counted } from "../base/counted.ts";
import type { Element } from "../matrix/element.ts";
import { type FailedElement, failureGroups, failureOf } from "./failures.ts";
import { tellRunner } from "./output.ts";
import { isOnGithub } from "./terminal.ts";

/** Prints them on standard error, where runners look too, if this is a runner. `treeOf` is where a driver's source is here. */
export function annotate(
  failed: readonly FailedElement[],
  treeOf: (element: Element) => string | undefined,
): void {
  if (isOnGithub()) for (const line of annotations(failed, treeOf)) tellRunner(line);
}

export function annotations(
  failed: readonly FailedElement[],
  treeOf: (element: Element) => string | undefined,
): string[] {
  return failureGroups(failed).map((group) => {
    const [{ element, note }] = group as [FailedElement];
    const { cause, file, lineNumber } = failureOf(note);
    const tree = treeOf(element);
    const place =
      file === undefined || tree === undefined ? undefined : relative(process.cwd(), join(tree, file));
    const isHere = place !== undefined && !place.startsWith("..");
    const properties = [
      ...(isHere ? [`file=${property(place)}`] : []),
      ...(isHere && lineNumber !== undefined ? [`line=${lineNumber}`] : []),
      `title=${property(`${element.driver}: ${counted(group.length, "kernel")}`)}`,
    ];
    const kernels = group.map((one) => one.element.kversion).join(", ");
    return `::error ${properties.join(",")}::${message(`${cause}: ${kernels}`)}`;
  });
}

/** A line of a driver's must not become a command of the runner's. */
const message = (text: string) => text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
const property = (text: string) => message(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
