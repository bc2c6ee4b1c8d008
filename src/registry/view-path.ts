/**
 * Where the view shows an artifact.
 */
import type { IndexEntry } from "./documents.ts";

export function viewPath(entry: Pick<IndexEntry, "driver" | "output">): string {
  return `view/${entry.driver}/${entry.output}`;
}
