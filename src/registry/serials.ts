/** Heads by their serials: writers agree by creating each once, and what nodes begin with is a copy of the newest. */
import { largest } from "../base/extremes.ts";
import type { Trust } from "../provenance/trust.ts";
import type { GenerationPlace } from "./generations.ts";
import { type FoundHead, readHeadAt, readTrusts } from "./metadata.ts";
import { corruptStore } from "./stored.ts";

export function serialPath(serial: number): string {
  return `metadata/heads/${serial}`;
}

/** The newest head that any root trusts. @throws FarmError STORE_CORRUPT, NOTE_MALFORMED, METADATA_UNSIGNED */
export async function newestHead(
  store: GenerationPlace,
  trusts: readonly Trust[],
): Promise<FoundHead | undefined> {
  let newest = await readHeadAt(store, trusts);
  for (;;) {
    const serial = newest?.head.serial ?? 0;
    // What is shown may be an earlier one, or be lost; and of earlier ones not all are kept.
    const next = (await headOf(store, trusts, serial + 1)) ?? (await fromSerials(store, trusts, serial));
    if (next === undefined) return newest;
    newest = next;
  }
}

export async function headOf(
  store: GenerationPlace,
  trusts: readonly Trust[],
  serial: number,
): Promise<FoundHead | undefined> {
  const path = serialPath(serial);
  const found = await readHeadAt(store, trusts, path);
  if (found !== undefined && found.head.serial !== serial)
    throw corruptStore(store, `${path} has the serial ${found.head.serial}`, path);
  return found;
}

/** The head with the largest serial there, if that is more than one that is known. */
async function fromSerials(
  store: GenerationPlace,
  trusts: readonly Trust[],
  known = 0,
): Promise<FoundHead | undefined> {
  const names = (await store.list?.("metadata/heads")) ?? [];
  const serials = names.filter((name) => /^[1-9]\d{0,8}$/.test(name)).map(Number);
  const last = largest(serials, known);
  return last === known ? undefined : headOf(store, trusts, last);
}

/** The newest head by its serial: what nodes begin with is a copy of it. @throws as `readHeadAt` */
export async function headBySerial(store: GenerationPlace): Promise<FoundHead | undefined> {
  return fromSerials(store, await readTrusts(store));
}
