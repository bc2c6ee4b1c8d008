/**
 * From an attempt and its verdicts to a published artifact: manifest, blobs, and its line in an index.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, hexOf, sha256, toDocument } from "../base/json.ts";
import type { Attempt } from "../build/attempt.ts";
import type { Verdict } from "../check/verdict.ts";
import { readKernelModule } from "../formats/kernel-module.ts";
import type { Element } from "../matrix/element.ts";
import type { IndexEntry, Manifest } from "./documents.ts";
import type { Store } from "./stores/store.ts";

export function blobPath(digest: string): string {
  const hex = hexOf(digest);
  return `blobs/sha256/${hex.slice(0, 2)}/${hex}`;
}

/** Stores bytes under their digest; what is there already is the same and stays. */
export async function putBlob(store: Store, content: Buffer | string): Promise<Digest> {
  const digest = sha256(content);
  if ((await store.read(blobPath(digest))) === undefined) await store.write(blobPath(digest), content);
  return digest;
}

/** Puts an artifact's bytes into the store. Nothing refers to them yet: that is the generation's work. */
export async function storeArtifact(
  store: Store,
  element: Element,
  attempt: Attempt,
  verdicts: readonly Verdict[],
): Promise<IndexEntry> {
  const modules: Manifest["modules"] = [];
  for (const { name } of attempt.record.modules) {
    const bytes = await readFile(join(attempt.directory, "modules", `${name}.ko`));
    const { vermagic, version, srcversion, license, depends, buildId, buildSalt, compilers } =
      readKernelModule(bytes, `${name}.ko`);
    modules.push({
      name,
      digests: { unsigned: await putBlob(store, bytes) },
      size: bytes.length,
      witnesses: {
        vermagic,
        version,
        srcversion,
        license,
        depends: [...depends],
        buildId,
        buildSalt,
        compilers: [...compilers],
      },
    });
  }
  const log = await readFile(attempt.logFile);
  const manifest = manifestOf(element, attempt, modules, verdicts, {
    digest: await putBlob(store, log),
    size: log.length,
  });
  const reasons = verdicts
    .filter(({ verdict }) => verdict !== "pass")
    .flatMap(({ check, verdict, reasons: why }) => `${check}: ${verdict}: ${why.join("; ")}`);
  return {
    driver: element.driver,
    driverVersion: element.driverversion,
    series: element.output.split("/")[0] ?? "",
    kversion: element.kversion,
    packageVersion: element.packageVersion,
    flavour: element.flavour,
    output: element.output,
    recipe: manifest.recipeKey,
    manifest: await putBlob(store, toDocument(manifest)),
    modules: modules.map(({ name, digests, size }) => ({ name, digest: digests.unsigned, size })),
    log: manifest.log.digest,
    ...(reasons.length === 0 ? {} : { reasons }),
  };
}

function manifestOf(
  element: Element,
  { record, recipeKey }: Attempt,
  modules: Manifest["modules"],
  verdicts: readonly Verdict[],
  log: Manifest["log"],
): Manifest {
  const { recipe, environment, mismatch } = record;
  const compiler =
    element.compiler === undefined ? "unknown" : `${element.compiler.family}-${element.compiler.version}`;
  return {
    schema: "kmodfarm.manifest/1",
    identity: {
      driver: { name: element.driver, version: element.driverversion, source: recipe.driver.source },
      distribution: {
        id: element.distributionId,
        version: element.distributionVersion,
        release: element.distribution,
      },
      architecture: element.architecture,
      kernel: { release: element.kversion, packageVersion: element.packageVersion, flavour: element.flavour },
    },
    recipe,
    recipeKey: recipeKey as Digest,
    modules,
    environment: {
      declared: { compiler: mismatch?.used ?? compiler, packages: [...recipe.toolchain] },
      observed: environment,
      target: { compiler },
      ...(mismatch === undefined ? {} : { mismatch }),
    },
    verdicts: [...verdicts],
    log,
  };
}
