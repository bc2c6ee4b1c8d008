/** `kmodfarm rebuild --registry`: anybody builds an artifact again from what its registry keeps. */
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { awaitEviction, openCache } from "../../../base/cache.ts";
import { FarmError } from "../../../base/error.ts";
import { Http } from "../../../base/http.ts";
import { hexOf } from "../../../base/json.ts";
import { openScratch } from "../../../base/scratch.ts";
import { sandboxOf } from "../../../builder/sandboxes/index.ts";
import { emulatedArchitectures } from "../../../builder/toolchains/emulation.ts";
import { Limits } from "../../../farm/config/limits.ts";
import { registryTask } from "../../../farm/rebuild/inputs.ts";
import { buildAgain, type RebuildReport } from "../../../farm/rebuild/rebuild.ts";
import { rebuildStatement } from "../../../farm/rebuild/statements.ts";
import {
  type Attestor,
  builderIdOf,
  keyedAttestor,
  signStatement,
} from "../../../farm/signing/statements.ts";
import { hostArchitecture } from "../../../kernel/architecture.ts";
import { readManifest } from "../../../registry/artifact.ts";
import type { Manifest } from "../../../registry/documents.ts";
import { readSignedState } from "../../../registry/signed-state.ts";
import { listAll } from "../../../registry/standing.ts";
import { openSigner } from "../../../signing/open.ts";
import { artifactNamed } from "../../artifact-names.ts";
import { type Watched, withBoard } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { readTrustedRoot, withRegistry } from "../../registries.ts";
import type { REBUILD } from "./command.ts";
import { tellRebuild } from "./rebuild-report.ts";

type Options = OptionsOf<typeof REBUILD>;

export async function rebuildFromRegistry(subject: string, place: string, options: Options): Promise<number> {
  if (options.config !== undefined || options.store !== undefined)
    throw new FarmError("USAGE", {
      detail: "--registry needs no --config, and its artifacts are in no --store",
    });
  return withBoard(options, (watched) =>
    withSigner(options, async (attestor) => {
      const { report, manifest } = await rebuiltFrom(subject, place, options, watched);
      const statement =
        attestor === undefined ? undefined : await written(report, manifest, attestor, options);
      await tellRebuild(report, options, statement === undefined ? {} : { statement });
      return report.result === "equal" ? 0 : 1;
    }),
  );
}

async function rebuiltFrom(
  subject: string,
  place: string,
  options: Options,
  { progress, signal, now }: Watched,
): Promise<{ readonly report: RebuildReport; readonly manifest: Manifest }> {
  const cache = resolve(options.cache ?? ".kmodfarm/cache");
  // Whoever owns this directory could put another cache there.
  await openCache(cache);
  const scratch = await openScratch(`${cache}/tmp`);
  await awaitEviction(cache);
  // What a registry names is a stranger's word: no server of this network is asked for it, but those that a person names.
  const http = new Http({ own: options.privateHost ?? [] });
  try {
    return await withRegistry(place, async (registry) => {
      const trusted = options.root === undefined ? undefined : await readTrustedRoot(options.root);
      const { state, remarks } = await readSignedState(registry, trusted, now());
      for (const remark of remarks) progress.say(remark);
      const manifest = await readManifest(registry, artifactNamed(listAll(state.indices), subject).entry);
      const task = await registryTask(registry, manifest, {
        ...{ cache, scratch, http, progress, signal },
        sandbox: sandboxOf(options.sandbox ?? "bwrap"),
        limits: Limits.parse({}),
        architecture: hostArchitecture(process.arch),
        emulated: await emulatedArchitectures(),
      });
      return { manifest, report: await buildAgain(manifest, task, { progress, signal }) };
    });
  } finally {
    await http.close();
    await scratch.close();
  }
}

/** The key is opened before anything is built: a wrong password should not cost a build. */
async function withSigner<T>(
  { sign, passwordFile }: Options,
  work: (attestor: Attestor | undefined) => Promise<T>,
): Promise<T> {
  if (sign === undefined) return work(undefined);
  await using signer = await openSigner([
    {
      ...{ name: "sign", role: "builder" },
      place: { kind: "file", path: resolve(sign) },
      password:
        passwordFile === undefined ? { kind: "asked" } : { kind: "file", path: resolve(passwordFile) },
    },
  ]);
  const key = signer.keys.get("sign");
  if (key === undefined) throw new FarmError("BUG", { detail: "the signer has no key" });
  return await work(keyedAttestor({ id: builderIdOf(key), key }, (request) => signer.sign("sign", request)));
}

/** Where the statement is; undefined where the result says nothing of the artifact. */
async function written(
  report: RebuildReport,
  manifest: Manifest,
  attestor: Attestor,
  { to }: Options,
): Promise<string | undefined> {
  const statement = await rebuildStatement(report, manifest, attestor.builder.id);
  if (statement === undefined) return undefined;
  const name = `${manifest.identity.driver.name}-${hexOf(manifest.recipeKey).slice(0, 12)}.sigstore.json`;
  const file = to ?? name;
  await writeFile(file, await signStatement(attestor, statement));
  return file;
}
