/**
 * Seals of unpacked trees in the cache: what a tree was like when it was made, and in which boot of the machine. After
 * a loss of power any file of a tree may be cut short, so what an earlier boot made is not believed by its name.
 */
import { readFile } from "node:fs/promises";
import type { Scratch } from "../base/scratch.ts";

export interface Seal {
  readonly digest: string;
  /** Whether it was written since the machine was started. */
  readonly isOfThisBoot: boolean;
}

/** The file with a tree's seal, beside the tree. */
export function sealOf(tree: string): string {
  return `${tree}.seal`;
}

/** Undefined when there is none that can be read. */
export async function readSeal(tree: string): Promise<Seal | undefined> {
  const text = await readFile(sealOf(tree), "utf8").catch(() => "");
  const [digest, boot] = text.split(/\s/);
  if (digest === undefined || boot === undefined) return undefined;
  return { digest, isOfThisBoot: boot === (await bootId()) };
}

export async function writeSeal(
  tree: string,
  digest: string,
  scratch: Pick<Scratch, "write">,
): Promise<void> {
  await scratch.write(sealOf(tree), `${digest} ${await bootId()}\n`);
}

async function bootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
}
