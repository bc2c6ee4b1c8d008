/**
 * `kmodfarm modules attach` and `detach`: a module and the file that holds its signature or proof to one file, and back.
 */
import { basename, dirname, join, resolve } from "node:path";
import { FarmError } from "../../../base/error.ts";
import { writeWhole } from "../../../base/scratch.ts";
import { packingOf } from "../../../formats/compressed-module.ts";
import { DER, readDerValue } from "../../../formats/der.ts";
import { readKernelModule } from "../../../formats/kernel-module.ts";
import { type ModuleSignature, signatureTrailer, splitSignature } from "../../../formats/module-signature.ts";
import type { OptionsOf } from "../../command.ts";
import { readModuleFile } from "../../module-files.ts";
import { say } from "../../output.ts";
import type { ATTACH, DETACH } from "./command.ts";

/** What follows `NAME.ko` in the name of a signature's file. */
export const ENDINGS: Readonly<Record<ModuleSignature["kind"], string>> = { pkcs7: "p7s", merkle: "merkle" };

const WORDS: Readonly<Record<ModuleSignature["kind"], string>> = {
  pkcs7: "signature (pkcs7)",
  merkle: "Merkle proof",
};
const NO_KERNEL_YET =
  "No released kernel knows Merkle proofs: it loads such a module as unsigned, and refuses it where signatures are enforced. A module has room for a signature or a proof, not both: leave the proof beside it (docs/sets.md), unless the kernel has CONFIG_MODULE_HASHES.";

export async function attach(
  module: string,
  signature: string,
  { to }: OptionsOf<typeof ATTACH>,
): Promise<number> {
  const content = await readUncompressed(module);
  readKernelModule(content, module);
  if (splitSignature(content, module).signature !== undefined)
    throw unfit(module, "is signed already", "`kmodfarm modules detach` takes its signature off.");
  const sidecar = withTrailer(await readUncompressed(signature), signature);
  const signed = Buffer.concat([content, sidecar]);
  const split = splitSignature(signed, signature);
  if (split.signature === undefined || split.content.length !== content.length)
    throw unfit(
      signature,
      "is not one signature, as `sign-file -p` or `kmodfarm modules detach` writes it",
      "Give the file NAME.ko.KEY.p7s or NAME.ko.merkle.",
    );
  await writeFiles(dirname(resolve(to)), new Map([[basename(to), signed]]));
  say(`${to}: ${module} with its ${WORDS[split.signature.kind]}`);
  if (split.signature.kind === "merkle") say(NO_KERNEL_YET);
  return 0;
}

export async function detach(module: string, { to }: OptionsOf<typeof DETACH>): Promise<number> {
  const bytes = await readUncompressed(module);
  readKernelModule(bytes, module);
  const { content, signature } = splitSignature(bytes, module);
  if (signature === undefined) throw unfit(module, "has no signature", "Nothing was written.");
  const name = basename(module);
  const sidecar = `${name}.${ENDINGS[signature.kind]}`;
  await writeFiles(
    resolve(to),
    new Map([
      [name, content],
      [sidecar, bytes.subarray(content.length)],
    ]),
  );
  say(`${join(to, name)} and ${join(to, sidecar)}: together they are ${module}`);
  return 0;
}

/** A bare CMS signature, as `sign-file -p` and `openssl cms` write it, is one value of DER, and nothing behind it. */
function withTrailer(signature: Buffer, what: string): Buffer {
  const isDer = signature[0] === DER.sequence;
  const isBare = isDer && readDerValue(signature, 0, what).whole.length === signature.length;
  return isBare ? Buffer.concat([signature, signatureTrailer(signature)]) : signature;
}

async function readUncompressed(file: string): Promise<Buffer> {
  const bytes = await readModuleFile(file);
  if (packingOf(bytes) === undefined) return bytes;
  throw unfit(file, "is compressed, but signatures are of uncompressed modules", "Decompress it first.");
}

export async function writeFiles(directory: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  for (const [name, bytes] of files) await writeWhole(join(directory, name), bytes);
}

function unfit(about: string, detail: string, hint: string): FarmError {
  return new FarmError("MODULE_MALFORMED", { about, joint: " ", detail, hint });
}
