/**
 * What may become one segment of a path: names from mirrors, lists and users pass through here first.
 */
import { z } from "zod";
import { FarmError } from "../base/error.ts";

const SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}$/;

export const PathSegment = z.string().regex(SEGMENT, { error: "not a safe name" });

export function isPathSegment(value: string): boolean {
  return SEGMENT.test(value);
}

/** @throws FarmError UNSAFE_NAME quoting the value */
export function pathSegment(value: string, what: string): string {
  if (SEGMENT.test(value)) return value;
  const shown = value.length > 160 ? `${value.slice(0, 160)}…` : value;
  throw new FarmError("UNSAFE_NAME", { detail: `${what} ${JSON.stringify(shown)} is not a safe name` });
}
