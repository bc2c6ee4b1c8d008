/** `kmodfarm root new`, `sign`, `publish`: the ceremony, from file to file. */

import { writeFile } from "node:fs/promises";
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import {
  newRoot,
  publishRoot,
  readRootFile,
  signForRoot,
  signRoot,
  writeRootFile,
} from "../../../farm/signing/ceremony.ts";
import { headMaker } from "../../../farm/signing/heads.ts";
import { type PublicKey, publicKeyFromPem } from "../../../provenance/public-key.ts";
import { ROOT_LIMIT_BYTES, readTrust, type Trust, writeTrust } from "../../../provenance/trust.ts";
import { openVoucher } from "../../../registry/vouched.ts";
import type { OptionsOf } from "../../command.ts";
import { readNamedFile } from "../../named-file.ts";
import { withFarm } from "../../options.ts";
import { print } from "../../output.ts";
import type { NEW_ROOT, PUBLISH_ROOT, SIGN_ROOT } from "./command.ts";

export async function newDocument(options: OptionsOf<typeof NEW_ROOT>): Promise<number> {
  const { to, after, origin, threshold, days, witnesses } = options;
  const { rootKey = [], headKey = [], logKey = [], witnessKey = [] } = options;
  const before = after === undefined ? undefined : readTrust((await readRoot(after)).text, after);
  if (before !== undefined && origin !== undefined)
    throw new FarmError("USAGE", { detail: "a registry keeps its origin: --origin is for a first root" });
  const wishes = {
    ...{ origin, threshold, days, witnesses },
    ...{ rootKeys: await readKeys(rootKey), headKeys: await readKeys(headKey) },
    ...{ logKeys: await readKeys(logKey), witnessKeys: await readKeys(witnessKey) },
  };
  const trust = newRoot(wishes, before, new Date());
  await write(to, writeTrust(trust));
  await print(`${wordsOf(trust)}Next: \`kmodfarm root sign ${to}\`, wherever the keys are.\n`);
  return 0;
}

export async function sign(file: string, options: OptionsOf<typeof SIGN_ROOT>): Promise<number> {
  const note = await readRoot(file);
  const signed = await withFarm(options, ({ signing }) => signRoot(note, signing, options.key));
  await write(file, writeRootFile(signed));
  const trust = readTrust(note.text, file);
  await print(`${wordsOf(trust)}${file} has ${counted(signed.signatures.length, "signature")} now.\n`);
  return 0;
}

export async function publish(file: string, options: OptionsOf<typeof PUBLISH_ROOT>): Promise<number> {
  const note = await readRoot(file);
  return withFarm(options, async (farm) => {
    const maker = headMaker(farm, () => new Date());
    // No root follows roots that somebody replaced, nor takes the place of some that are gone.
    if ((await maker.knownRoot?.(farm.store.place).seen()) !== undefined)
      await openVoucher(farm.store, maker);
    const trust = await publishRoot(farm.store, note, file);
    await print(wordsOf(trust));
    // A head by a key that is not trusted any more is worth nothing.
    const head = await signForRoot(farm.store, maker);
    await print(head === undefined ? "" : `Head ${head.serial} is signed by it.\n`);
    return 0;
  });
}

async function readRoot(file: string) {
  return readRootFile(await readNamedFile(file, ROOT_LIMIT_BYTES), file);
}

/** Beside the key the file may say whose it is, as `keys show` does. */
const PEM = /-----BEGIN PUBLIC KEY-----\n[\s\S]*?-----END PUBLIC KEY-----\n?/g;

function readKeys(files: readonly string[]): Promise<PublicKey[]> {
  return Promise.all(
    files.map(async (file) => {
      const text = (await readNamedFile(file, ROOT_LIMIT_BYTES)).toString("latin1");
      const [pem = text, ...others] = text.match(PEM) ?? [];
      if (others.length > 0)
        throw new FarmError("USAGE", { detail: `${file} holds several keys: give each a file` });
      return publicKeyFromPem(pem, file);
    }),
  );
}

async function write(file: string, text: string): Promise<void> {
  await writeFile(file, text).catch((cause: NodeJS.ErrnoException) => {
    throw new FarmError("PLACE_UNUSABLE", { detail: `${file} cannot be written (${cause.code})`, cause });
  });
}

/** What a person should read before signing. */
function wordsOf({ origin, version, expires, roles }: Trust): string {
  const keys = ({ threshold, keys: all }: Trust["roles"]["root"]) =>
    `${threshold} of ${all.length}: ${all.join(", ")}`;
  const lines = Object.entries(roles).map(([name, role]) => `  ${name.padEnd(7)} ${keys(role)}\n`);
  return `Root ${version} of ${origin}, until ${expires}\n${lines.join("")}`;
}
