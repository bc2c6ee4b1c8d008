/**
 * Files of the cache that are believed only as they were written: the digest of each lies beside it, and is asked for each
 * time. A disk that lost some of a boot image would else let a kernel die in a driver's name.
 */
import { chmod, readFile } from "node:fs/promises";
import { markUsed } from "../../base/cache.ts";
import { sha256 } from "../../base/json.ts";
import type { Scratch } from "../../base/scratch.ts";

/** Readable by every user, whatever our umask: guests run as another user. */
const MODE = 0o644;

/** Writes a file that `readKept` finds again. */
export async function keep(target: string, content: Uint8Array | string, scratch: Scratch): Promise<void> {
  await scratch.write(target, content);
  await chmod(target, MODE);
  await scratch.write(digestFile(target), sha256(content));
}

/** A file's bytes; undefined when it is not there, or not as it was written: it is made anew then. */
export async function readKept(target: string): Promise<Buffer | undefined> {
  const [bytes, digest] = await Promise.all(
    [target, digestFile(target)].map((file) => readFile(file).catch(() => undefined)),
  );
  if (bytes === undefined || digest?.toString("utf8") !== sha256(bytes)) return undefined;
  await markUsed(target);
  await markUsed(digestFile(target));
  return bytes;
}

function digestFile(target: string): string {
  return `${target}.sha256`;
}
