/**
 * Where the view shows an artifact.
 */
import type { IndexEntry } from "./documents.ts";

export function viewPath(entry: Pick<IndexEntry, "driver" | "output">): string {
  return `view/${entry.driver}/${entry.output}`;
}

/** Of a module's signature beside it; `file` is the module's: `bell.ko`. */
export function sidecarName(file: string, keyId: string): string {
  return `${file}.${keyId}.p7s`;
}
