/** `kmodfarm log prove` and `log check`: what a registry's log says of an artifact, in a file that needs no network. */
import { FarmError } from "../../../base/error.ts";
import { hexOf, sha256 } from "../../../base/json.ts";
import {
  LOG_PROOF_LIMIT_BYTES,
  readLogProof,
  verifyLogProof,
  writeLogProof,
} from "../../../provenance/log-proof.ts";
import { readPublished } from "../../../registry/generations.ts";
import { proveLogged } from "../../../registry/log.ts";
import { listAll } from "../../../registry/standing.ts";
import { artifactNamed } from "../../artifact-names.ts";
import type { OptionsOf } from "../../command.ts";
import { readNamedFile } from "../../named-file.ts";
import { print } from "../../output.ts";
import { readTrustedRoot, withRegistry } from "../../registries.ts";
import type { CHECK_LOGGED, PROVE_LOGGED } from "./command.ts";
import { newestTrust } from "./witness.ts";

export async function proveInLog(
  artifact: string,
  { registry: place, root }: OptionsOf<typeof PROVE_LOGGED>,
): Promise<number> {
  const trusted = root === undefined ? undefined : await readTrustedRoot(root);
  return withRegistry(place, async (registry) => {
    const state = await readPublished(registry);
    const { entry } = artifactNamed(listAll(state.indices), artifact);
    const trust = await newestTrust(registry, trusted);
    await print(writeLogProof(await proveLogged(registry, state, entry, trust)));
    return 0;
  });
}

const MANIFEST_LIMIT_BYTES = 16 << 20;

export async function checkLogged(
  file: string,
  { root, manifest }: OptionsOf<typeof CHECK_LOGGED>,
): Promise<number> {
  const proof = readLogProof(await readNamedFile(file, LOG_PROOF_LIMIT_BYTES), file);
  const log = verifyLogProof(await readTrustedRoot(root), proof, file);
  const entry = Buffer.from(proof.entry).toString("utf8");
  if (manifest !== undefined) {
    const digest = hexOf(sha256(await readNamedFile(manifest, MANIFEST_LIMIT_BYTES)));
    if (!entry.split("\n").includes(`manifest ${digest}`))
      throw new FarmError("LOG_INCONSISTENT", {
        about: file,
        joint: " ",
        detail: `is about another manifest than ${manifest}`,
      });
  }
  await print(`${entry}Entry ${proof.index} of the ${log.size} in the log of ${log.origin}.\n`);
  return 0;
}
