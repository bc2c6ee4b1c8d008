/** A small registry of three generations and two roots, and every change of a byte in it that `verify` passes over. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { nextState } from "../../src/registry/publish.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import type { Store } from "../../src/registry/stores/store.ts";
import { verifyRegistry } from "../../src/registry/verify.ts";
import { makeEntry, makeOutcome, NOTHING, putBlobs } from "./artifacts.ts";
import { makeElement } from "./elements.ts";
import { makeCatalog, makeKernel } from "./kernels.ts";
import { makeTestKey, trustOf } from "./notes.ts";
import { firstRoot, headMaker, publishSigned, putRoot, ROOT_KEY } from "./signed-store.ts";
import { temporaryDirectory } from "./temporary.ts";

export const NOW = new Date("2026-11-28T02:10:00Z");
const KERNEL = makeKernel();
export const ELEMENT = makeElement();

export async function published(): Promise<Store> {
  const store = await openFolderStore(await temporaryDirectory());
  const newKey = makeTestKey();
  await putRoot(store, firstRoot());
  for (const content of ["one", "two", "six"]) {
    await putBlobs(store, ELEMENT, content);
    if (content === "six") await putRoot(store, trustOf([ROOT_KEY], [newKey], { version: 2 }));
    const entry = makeEntry(ELEMENT, content);
    const state = nextState(NOTHING, makeCatalog([KERNEL]), [
      makeOutcome(ELEMENT, { artifact: { entry, isStable: true } }),
    ]);
    const keys = content === "six" ? [newKey] : undefined;
    await publishSigned(store, state, { now: NOW }, headMaker({ now: NOW }, keys));
  }
  return store;
}

/** Changes `count` bytes one after the other, some of each file: a name for each change that nobody notices. */
export async function unnoticedChanges(store: Store, count: number): Promise<string[]> {
  const places: { readonly path: string; readonly at: number }[] = [];
  const perFile = 12;
  for await (const { path, size } of store.walk(""))
    for (let part = 0; part < perFile; part++)
      places.push({ path, at: Math.floor((size * (part + 0.5)) / perFile) });
  const unnoticed: string[] = [];
  for (let index = 0; index < count; index++) {
    const { path, at } = places[Math.floor((index * places.length) / count)] as (typeof places)[number];
    const file = join(store.place, path);
    const bytes = await readFile(file);
    await writeFile(file, bytes.with(at, (bytes[at] as number) ^ (1 << (index % 8))));
    const { breaks } = await verifyRegistry(store, { now: NOW });
    if (breaks.length === 0) unnoticed.push(`${path} at ${at}`);
    await writeFile(file, bytes);
  }
  return unnoticed;
}
