/** `kmodfarm witness` and `log cosign`: whoever watches a registry's log says so, and the registry shows it. */

import { basename, resolve } from "node:path";
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import { CHECKPOINT_LIMIT_BYTES, readCheckpoint } from "../../../provenance/checkpoint.ts";
import {
  CHECKPOINT_PATH,
  type FoundCheckpoint,
  requireCheckpoint,
  requireGrown,
} from "../../../provenance/shown-log.ts";
import {
  cosignersOf,
  type NoteSignature,
  noteCosignature,
  readNote,
  type SignedNote,
  writeNote,
} from "../../../provenance/signed-note.ts";
import type { Trust } from "../../../provenance/trust.ts";
import { readTrusts } from "../../../registry/metadata.ts";
import type { RegistryReader } from "../../../registry/reader.ts";
import { openSigner } from "../../../signing/open.ts";
import type { OptionsOf } from "../../command.ts";
import { readNamedFile } from "../../named-file.ts";
import { withFarm } from "../../options.ts";
import { print, say } from "../../output.ts";
import { readTrustedRoot, withRegistry } from "../../registries.ts";
import { firstRootOf, SeenCheckpoints } from "../../seen-checkpoints.ts";
import type { ADD_COSIGNATURES, WITNESS } from "./command.ts";

export async function witness(place: string, options: OptionsOf<typeof WITNESS>): Promise<number> {
  const { key, name = basename(key).replace(/\.pem$/, ""), root, passwordFile, state } = options;
  if (!/^[A-Za-z0-9][A-Za-z0-9._~/-]{0,127}$/.test(name))
    throw new FarmError("USAGE", { detail: `${JSON.stringify(name)} cannot be the name of a witness` });
  const trusted = root === undefined ? undefined : await readTrustedRoot(root);
  await using signer = await openSigner([
    {
      ...{ name, role: "witness", place: { kind: "file", path: resolve(key) } },
      password:
        passwordFile === undefined ? { kind: "asked" } : { kind: "file", path: resolve(passwordFile) },
    },
  ]);
  const publicKey = signer.keys.get(name);
  if (publicKey === undefined) throw new FarmError("BUG", { detail: "the signer has another key" });
  // Kept before it is signed: of two runs at once that see two sides of a fork, one signs.
  const found = await withRegistry(place, async (registry) =>
    keepGrown(registry, trusted, new SeenCheckpoints(state, await firstRootOf(registry, trusted))),
  );
  const seconds = Math.floor(Date.now() / 1000);
  const { text } = found.note;
  const signature = await signer.sign(name, { kind: "cosignature", text, seconds });
  const line = noteCosignature(name, publicKey, seconds, signature);
  await print(writeNote({ text, signatures: [...found.note.signatures, line] }));
  say(`${found.checkpoint.origin}: ${counted(found.checkpoint.size, "entry").replace("entrys", "entries")}`);
  return 0;
}

/** The checkpoint that is shown now, and kept as the last one that was seen. @throws FarmError LOG_INCONSISTENT */
async function keepGrown(
  registry: RegistryReader,
  trusted: Trust | undefined,
  seen: SeenCheckpoints,
): Promise<FoundCheckpoint> {
  for (;;) {
    const now = await requireCheckpoint(registry, await newestTrust(registry, trusted));
    const before = await seen.last(now.checkpoint.origin);
    if (before !== undefined)
      await requireGrown(
        registry,
        readCheckpoint(before, "the checkpoint that was seen before"),
        now.checkpoint,
      );
    if (await seen.mustKeep(now, before)) return now;
  }
}

/** @throws FarmError METADATA_UNSIGNED for a registry without a root */
export async function newestTrust(registry: RegistryReader, trusted: Trust | undefined): Promise<Trust> {
  const trust = (await readTrusts(registry, trusted)).at(-1);
  if (trust !== undefined) return trust;
  throw new FarmError("METADATA_UNSIGNED", { about: registry.place, joint: " ", detail: "has no root" });
}

export async function addCosignatures(
  files: readonly string[],
  options: OptionsOf<typeof ADD_COSIGNATURES>,
): Promise<number> {
  const notes = await Promise.all(files.map(readCosigned));
  return withFarm(options, async ({ store }) => {
    const trust = await newestTrust(store, undefined);
    const { note } = await requireCheckpoint(store, trust);
    const keys = trust.roles.witness?.keys.flatMap((one) => trust.keys.get(one) ?? []) ?? [];
    const added = notes.flatMap(({ file, said }) => {
      if (said.text !== note.text)
        throw new FarmError("USAGE", {
          about: file,
          joint: " ",
          detail: "is not about the checkpoint that the registry shows now",
          hint: "Ask the witness again: `kmodfarm witness PLACE`.",
        });
      return said.signatures.filter(
        (one) => cosignersOf({ text: said.text, signatures: [one] }, keys, file).size > 0,
      );
    });
    const isAgain = (old: NoteSignature) => added.some(({ keyId }) => Buffer.from(keyId).equals(old.keyId));
    const kept = note.signatures.filter((old) => !isAgain(old));
    const distinct = [...new Map(added.map((one) => [Buffer.from(one.keyId).toString("hex"), one])).values()];
    const next: SignedNote = { text: note.text, signatures: [...kept, ...distinct] };
    if (distinct.length > 0) await store.write(CHECKPOINT_PATH, writeNote(next));
    const { size } = cosignersOf(next, keys, "the checkpoint");
    await print(
      `${counted(size, "witness").replace("witnesss", "witnesses")} of ${keys.length} cosigned it.\n`,
    );
    return 0;
  });
}

async function readCosigned(file: string): Promise<{ readonly file: string; readonly said: SignedNote }> {
  const bytes = await readNamedFile(file, CHECKPOINT_LIMIT_BYTES);
  return { file, said: readNote(bytes, CHECKPOINT_LIMIT_BYTES, file) };
}
