/** A store that somebody changed who knows how it is made: every digest on the way is the right one again. */
import { sha256 } from "../../src/base/json.ts";
import { blobPath } from "../../src/registry/artifact.ts";
import type { Store } from "../../src/registry/stores/store.ts";

/** A document of the newest generation; its pointer; the manifest of its first artifact. */
export type Forged = `${string}.json` | "channel" | "manifest";

type Json = Record<string, unknown>;

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
  const number = Number((await json("channels/candidate")).generation);
  const folder = `generations/${number}`;

  const pointTo = async (text: string) => {
    await store.write(`${folder}/generation.json`, text);
    for (const channel of ["candidate", "stable"]) {
      const pointer = { ...(await json(`channels/${channel}`)), digest: sha256(text) };
      await store.write(`channels/${channel}`, JSON.stringify(pointer));
    }
  };
  const replace = async (name: string, text: string) => {
    await read(`${folder}/${name}`);
    await store.write(`${folder}/${name}`, text);
    const generation = await json(`${folder}/generation.json`);
    const files = { ...(generation.files as Json), [name]: sha256(text) };
    await pointTo(JSON.stringify({ ...generation, files }));
  };
  const forgeManifest = async () => {
    const { files } = (await json(`${folder}/generation.json`)) as { files: Json };
    const name = Object.keys(files).find((one) => one.startsWith("index/")) ?? "";
    const text = await read(`${folder}/${name}`);
    const [entry] = (JSON.parse(text) as { stable: { manifest: string }[] }).stable;
    const old = entry?.manifest ?? "";
    const manifest = change(await read(blobPath(old)));
    await store.write(blobPath(sha256(manifest)), manifest);
    await replace(name, text.replaceAll(old, sha256(manifest)));
  };

  if (file === "channel") {
    for (const channel of ["candidate", "stable"])
      await store.write(`channels/${channel}`, change(await read(`channels/${channel}`)));
  } else if (file === "manifest") await forgeManifest();
  else if (file === "generation.json") await pointTo(change(await read(`${folder}/${file}`)));
  else await replace(file, change(await read(`${folder}/${file}`)));

  return async () => {
    for (const [path, bytes] of before) await store.write(path, bytes);
  };
}
