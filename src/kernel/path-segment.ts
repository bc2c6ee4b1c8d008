/**
 * What may become one segment of a path: names from mirrors, lists and users pass through here first.
 */
import { z } from "zod";
import { FarmError } from "../base/error.ts";

const SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}$/;

export const PathSegment = z.string().regex(SEGMENT, { error: ({ input }) => faultOf(String(input)) });

/** Debian's package versions may begin with an epoch, which names of files leave out. */
function faultOf(value: string): string {
  const epoch = /^\d+:/.exec(value)?.[0];
  return epoch === undefined || !SEGMENT.test(value.slice(epoch.length))
    ? "not a safe name"
    : `not a safe name: omit the epoch "${epoch}", and write ${JSON.stringify(value.slice(epoch.length))}`;
}

export function isPathSegment(value: string): boolean {
  return SEGMENT.test(value);
}

/** @throws FarmError UNSAFE_NAME quoting the value */
export function pathSegment(value: string, what: string): string {
  if (SEGMENT.test(value)) return value;
  const shown = value.length > 160 ? `${value.slice(0, 160)}…` : value;
  throw new FarmError("UNSAFE_NAME", { detail: `${what} ${JSON.stringify(shown)} is ${faultOf(value)}` });
}

const MOST = { characters: 1024, parts: 32 } as const;

/** Whether a path of safe names is one that a document of the registry takes. */
export function isFilePath(path: string): boolean {
  const parts = path.split("/");
  return path.length <= MOST.characters && parts.length <= MOST.parts && parts.every(isPathSegment);
}
