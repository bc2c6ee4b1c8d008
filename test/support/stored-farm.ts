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
import { nextState } from "../../src/registry/publish.ts";
import { aboutThese, CATALOG, makeEntry, makeManifest, makeOutcome, NOTHING, putBlobs } from "./artifacts.ts";
import { writePublished } from "./published.ts";
import { temporaryDirectory } from "./temporary.ts";

const NIGHT = new Date("2026-11-27T00:00:00Z");

export interface Given {
  readonly element: Element;
  /** About its modules, unless they say otherwise. */
  readonly verdicts: readonly Verdict[];
  readonly isStable?: boolean;
}

/** A farm whose store holds these artifacts. */
export async function farmWith(
  given: readonly Given[],
  policy?: string,
  catalog: Catalog = CATALOG,
): Promise<Farm> {
  const directory = await temporaryDirectory();
  const config = policy === undefined ? {} : { policy: "policy.yaml" };
  await writeFile(join(directory, "kmodfarm.yaml"), JSON.stringify(config));
  if (policy !== undefined) await writeFile(join(directory, "policy.yaml"), policy);
  const farm = await openFarm(await loadConfig({}, directory));
  onTestFinished(() => farm.close());
  const outcomes = [];
  for (const { element, verdicts, isStable = false } of given) {
    await putBlobs(farm.store, element);
    const manifest = await putBlob(
      farm.store,
      toDocument(
        makeManifest(
          element,
          verdicts.map((one) => aboutThese(one)),
        ),
      ),
    );
    outcomes.push(
      makeOutcome(element, { artifact: { entry: { ...makeEntry(element), manifest }, isStable } }),
    );
  }
  await writePublished(farm.store, nextState(NOTHING, catalog, outcomes), NIGHT);
  return farm;
}
