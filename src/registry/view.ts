/**
 * The view: stable artifacts at the original pipeline's paths, for people and plain HTTP clients.
 */
import { FarmError } from "../base/error.ts";
import { sha256 } from "../base/json.ts";
import { heldTo } from "../check/subject.ts";
import { readBlob, readManifest } from "./artifact.ts";
import type { IndexEntry, Published } from "./documents.ts";
import type { Store } from "./stores/store.ts";

export function viewPath(entry: Pick<IndexEntry, "driver" | "output">): string {
  return `view/${entry.driver}/${entry.output}`;
}

/** Brings the view in line with what is stable; safe to repeat. Returns how many artifacts it wrote. */
export async function refreshView(store: Store, state: Published): Promise<number> {
  await hideTakenBack(store, state);
  let written = 0;
  for (const entry of state.indices.flatMap((index) => index.stable)) {
    const folder = viewPath(entry);
    const shown = await store.read(`${folder}/manifest.json`);
    if (shown !== undefined && sha256(shown) === entry.manifest) continue;
    await refuseOthers(store, entry);
    const files = filesOf(entry);
    for (const [file, digest] of files) await store.write(`${folder}/${file}`, await readBlob(store, digest));
    const names = new Set(files.map(([file]) => file.split("/")[0]));
    for (const stray of await store.list(folder))
      if (!names.has(stray)) await store.remove(`${folder}/${stray}`);
    written++;
  }
  return written;
}

/** Nodes get nothing that its own manifest contradicts. @throws FarmError STORE_CORRUPT */
async function refuseOthers(store: Store, entry: IndexEntry): Promise<void> {
  const { verdicts } = await readManifest(store, entry);
  const held = heldTo(entry.modules, verdicts);
  const other = held.find((one, index) => one.verdict === "fail" && verdicts[index]?.verdict !== "fail");
  if (other === undefined) return;
  throw new FarmError("STORE_CORRUPT", {
    detail: `${viewPath(entry)} is stable, and its verdict ${other.check} is about other bytes`,
  });
}

/** What is a candidate again must not be found where it was when it was stable. */
async function hideTakenBack(store: Store, { indices }: Published): Promise<void> {
  const stable = new Set(indices.flatMap((index) => index.stable.map(viewPath)));
  for (const entry of indices.flatMap((index) => index.candidate)) {
    const folder = viewPath(entry);
    if (!stable.has(folder) && (await store.list(folder)).length > 0) await store.remove(folder);
  }
}

/** Every file that the view has of a stable artifact, with its digest. */
export function viewFiles(entry: IndexEntry): [path: string, digest: string][] {
  return filesOf(entry).map(([file, digest]) => [`${viewPath(entry)}/${file}`, digest]);
}

/** What a node may want of an artifact: `.ko` is what it inserts, without debugging information if there is such a one. */
function filesOf({ modules, files = [], log, manifest }: IndexEntry): [string, string][] {
  return [
    ...modules.flatMap(({ name, digest, stripped, compressed }): [string, string][] => [
      [`${name}.ko`, stripped ?? digest],
      ...(compressed === undefined ? [] : [[compressed.file, compressed.digest] as [string, string]]),
    ]),
    ...files.map(({ path, digest }): [string, string] => [`files/${path}`, digest]),
    ["build.log", log],
    // Last: who sees the manifest finds everything that it names.
    ["manifest.json", manifest],
  ];
}
