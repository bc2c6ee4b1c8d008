/** What may be the path of a file in a store, of whatever kind it is. */
import { FarmError } from "../../base/error.ts";

const NAME_LIMIT_BYTES = 255;
const PATH_LIMIT_BYTES = 2048;
const PARTS_LIMIT = 64;

/** @throws FarmError UNSAFE_NAME for a path that is not one below the store */
export function partsOf(path: string): string[] {
  if (isStorePath(path)) return path.split("/");
  const shown = JSON.stringify(path.length > 160 ? `${path.slice(0, 160)}…` : path);
  throw new FarmError("UNSAFE_NAME", { detail: `${shown} is not a path in a store` });
}

export function isStorePath(path: string): boolean {
  const parts = path.split("/");
  const isSafe = (part: string) =>
    part !== "" &&
    part !== "." &&
    part !== ".." &&
    !part.includes("\0") &&
    Buffer.byteLength(part) <= NAME_LIMIT_BYTES;
  return Buffer.byteLength(path) <= PATH_LIMIT_BYTES && parts.length <= PARTS_LIMIT && parts.every(isSafe);
}
