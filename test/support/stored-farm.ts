/** A farm on this machine whose store holds what a test wants, and nothing that could be built. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { toDocument } from "../../src/base/json.ts";
import type { Catalog } from "../../src/catalog/catalog.ts";
import type { Verdict } from "../../src/check/verdict.ts";
import { loadConfig } from "../../src/farm/config/index.ts";
import { type Farm, openFarm } from "../../src/farm/open.ts";
import type { Element } from "../../src/matrix/element.ts";
import { putBlob } from "../../src/registry/blobs.ts";
import type { Manifest, Part } from "../../src/registry/documents.ts";
import { nextState } from "../../src/registry/publish.ts";
import type { Store } from "../../src/registry/stores/store.ts";
import { aboutThese, CATALOG, makeEntry, makeManifest, makeOutcome, NOTHING, putBlobs } from "./artifacts.ts";
import { makeKernel } from "./kernels.ts";
import { writePublished } from "./published.ts";
import { bundleFor, keysOf, makeSigner } from "./statements.ts";
import { temporaryDirectory } from "./temporary.ts";

const NIGHT = new Date("2026-11-27T00:00:00Z");

/** The builder of everything that such a farm's store holds. */
export const FARM = makeSigner("ed25519");

export interface Given {
  readonly element: Element;
  /** About its modules, unless they say otherwise. With a pass of provenance it comes with a statement. */
  readonly verdicts: readonly Verdict[];
  readonly isStable?: boolean;
}

/** A farm whose store holds these artifacts. */
export async function farmWith(
  given: readonly Given[],
  policy?: string,
  catalog: Catalog = catalogOf(given),
): Promise<Farm> {
  const directory = await temporaryDirectory();
  const config = policy === undefined ? {} : { policy: "policy.yaml" };
  await writeFile(join(directory, "kmodfarm.yaml"), JSON.stringify(config));
  if (policy !== undefined) await writeFile(join(directory, "policy.yaml"), policy);
  const farm = { ...(await openFarm(await loadConfig({}, directory))), signing: keysOf(FARM) };
  onTestFinished(() => farm.close());
  const outcomes = [];
  for (const { element, verdicts, isStable = false } of given) {
    await putBlobs(farm.store, element);
    const content = makeManifest(
      element,
      verdicts.map((one) => aboutThese(one)),
    );
    const manifest = await putBlob(farm.store, toDocument(content));
    const isStated = verdicts.some(({ check, verdict }) => check === "provenance" && verdict === "pass");
    const stated = isStated ? { provenance: [await putStatement(farm.store, content)] } : {};
    const entry = { ...makeEntry(element), manifest, ...stated };
    outcomes.push(makeOutcome(element, { artifact: { entry, isStable } }));
  }
  await writePublished(farm.store, nextState(NOTHING, catalog, outcomes), NIGHT);
  return farm;
}

async function putStatement(store: Store, manifest: Manifest): Promise<Part> {
  const bundle = await bundleFor(FARM, manifest);
  return { digest: await putBlob(store, bundle), size: bundle.length };
}

/** With the kernel of each element, as its distribution lists it. */
function catalogOf(given: readonly Given[]): Catalog {
  const others = given.flatMap(({ element: { kversion, packageVersion, architecture, distribution } }) =>
    CATALOG.kernels.some((one) => one.kversion === kversion)
      ? []
      : [makeKernel({ kversion, packageVersion, architecture, distribution })],
  );
  return { ...CATALOG, kernels: [...CATALOG.kernels, ...others] };
}
