/** Where bytes lie in a registry: under their digest, for farms and for nodes. */
import { hexOf } from "../base/json.ts";

export function blobPath(digest: string): string {
  const hex = hexOf(digest);
  return `blobs/sha256/${hex.slice(0, 2)}/${hex}`;
}
