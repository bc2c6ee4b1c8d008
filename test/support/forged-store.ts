/** A store that somebody changed who knows how it is made: every digest on the way is the right one again. */
import { sha256 } from "../../src/base/json.ts";
import { blobPath } from "../../src/registry/blobs.ts";
import { generationPath } from "../../src/registry/generations.ts";
import type { Store } from "../../src/registry/stores/store.ts";

/** The first part of a kind in the newest generation, its document; its pointer; the manifest of its first artifact. */
export type Forged = `part ${string}` | "generation" | "channel" | "manifest";

type Json = Record<string, unknown>;
const POINTER = "channels/stable";

/** Changes one document, and whatever names it by its digest. Returns what brings all of it back. */
export async function forge(
  store: Store,
  file: Forged,
  change: (text: string) => string,
): Promise<() => Promise<void>> {
  const before = new Map<string, Buffer>();
  const read = async (path: string) => {
    const bytes = (await store.read(path)) ?? Buffer.alloc(0);
    if (!before.has(path)) before.set(path, bytes);
    return bytes.toString();
  };
  const json = async (path: string) => JSON.parse(await read(path)) as Json;
  const path = generationPath(Number((await json(POINTER)).generation));
  const partsOf = async () => (await json(path)).parts as Record<string, { digest: string; size: number }>;

  const pointTo = async (text: string) => {
    await store.write(path, text);
    await store.write(POINTER, JSON.stringify({ ...(await json(POINTER)), digest: sha256(text) }));
  };
  const replace = async (name: string, text: string) => {
    const part = { digest: sha256(text), size: Buffer.byteLength(text) };
    await store.write(blobPath(part.digest), text);
    const generation = await json(path);
    await pointTo(JSON.stringify({ ...generation, parts: { ...(await partsOf()), [name]: part } }));
  };
  const partText = async (name: string) => read(blobPath((await partsOf())[name]?.digest ?? ""));
  const nameOf = async (kind: string) =>
    Object.keys(await partsOf()).find((one) => one === kind || one.startsWith(`${kind}/`)) ?? "";
  const forgeManifest = async () => {
    const name = await nameOf("indices");
    const text = await partText(name);
    const [index] = (JSON.parse(text) as { indices: { stable: { manifest: string }[] }[] }).indices;
    const old = index?.stable[0]?.manifest ?? "";
    const manifest = change(await read(blobPath(old)));
    await store.write(blobPath(sha256(manifest)), manifest);
    await replace(name, text.replaceAll(old, sha256(manifest)));
  };

  if (file === "channel") await store.write(POINTER, change(await read(POINTER)));
  else if (file === "manifest") await forgeManifest();
  else if (file === "generation") await pointTo(change(await read(path)));
  else {
    const name = await nameOf(file.slice("part ".length));
    await replace(name, change(await partText(name)));
  }
  const newest = Number(/generations\/(\d+)/.exec(path)?.[1]);

  return async () => {
    for (const [one, bytes] of before) await store.write(one, bytes);
    // What was published on top of the forged one follows it no more.
    for (const number of await store.list("generations"))
      if (Number(number) > newest) await store.removeAll(`generations/${number}`);
  };
}
