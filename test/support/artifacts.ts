/** What a night leaves in a registry, with only what a test says different. */

import { sha256, toDocument } from "../../src/base/json.ts";
import type { Verdict } from "../../src/check/verdict.ts";
import type { Element } from "../../src/matrix/element.ts";
import { elementKey } from "../../src/matrix/element.ts";
import { putBlob } from "../../src/registry/blobs.ts";
import {
  type AttemptNote,
  type IndexEntry,
  type Manifest,
  NOTHING_TOLD,
  type Published,
} from "../../src/registry/documents.ts";
import type { Outcome } from "../../src/registry/publish.ts";
import type { Store } from "../../src/registry/stores/store.ts";
import { makeCatalog, makeKernel } from "./kernels.ts";

export const NOTHING: Published = {
  head: null,
  parts: {},
  catalog: makeCatalog([]),
  facts: [],
  matrix: [],
  attempts: [],
  indices: [],
  roots: {},
  decisions: [],
  history: [],
  feeds: [],
  told: NOTHING_TOLD,
  editions: [],
};

/** An index entry whose digests follow from `content`. */
export function makeEntry(element: Element, content = "built"): IndexEntry {
  const manifest = sha256(toDocument(makeManifest(element, [], content)));
  return { ...namelessEntry(element, content), manifest };
}

function namelessEntry(element: Element, content: string): Omit<IndexEntry, "manifest"> {
  return {
    driver: element.driver,
    driverVersion: element.driverversion,
    series: element.output.split("/")[0] ?? "",
    kversion: element.kversion,
    packageVersion: element.packageVersion,
    flavour: element.flavour,
    output: element.output,
    recipe: sha256(`recipe ${content}`),
    modules: [{ name: "doorbell", digest: sha256(`module ${content}`), size: 10 }],
    log: sha256(`log ${content}`),
  };
}

/** Puts the blobs that `makeEntry` names into a store. */
export async function putBlobs(store: Store, element: Element, content = "built"): Promise<void> {
  for (const kind of ["module", "log"]) await putBlob(store, `${kind} ${content}`);
  await putBlob(store, toDocument(makeManifest(element, [], content)));
}

/** A verdict about the modules that `makeEntry` lists. */
export function aboutThese(one: Verdict, content = "built"): Verdict {
  return { of: [{ module: "doorbell", sha256: sha256(`module ${content}`) }], ...one };
}

export function makeOutcome(
  element: Element,
  changes: Partial<Outcome> & { content?: string } = {},
): Outcome {
  const { content, ...rest } = changes;
  const note: AttemptNote = {
    element: elementKey(element),
    at: "2026-02-07T00:00:00.000Z",
    compiler: "gcc-12",
    buildMs: 1000,
  };
  return {
    element,
    note,
    artifact: { entry: makeEntry(element, content), isStable: true },
    isSettled: true,
    ...rest,
  };
}

export const CATALOG = makeCatalog([makeKernel()]);

/** A manifest with the verdicts that a test wants, for the element that `makeEntry` lists. */
export function makeManifest(element: Element, verdicts: Manifest["verdicts"], content = "built"): Manifest {
  const { recipe, modules, log } = namelessEntry(element, content);
  const nothing = { compiler: "gcc-12", packages: [] };
  const { distributionId: id, distributionVersion: version, distribution: release } = element;
  return {
    schema: "kmodfarm.manifest/2",
    identity: {
      driver: { name: element.driver, version: element.driverversion, source: sha256("source") },
      distribution: { id, version, release },
      architecture: element.architecture,
      kernel: {
        release: element.kversion,
        packageVersion: element.packageVersion,
        flavour: element.flavour,
      },
    },
    recipe: {
      driver: { source: sha256("source") },
      headers: [],
      toolchain: [],
    } as unknown as Manifest["recipe"],
    recipeKey: recipe,
    modules: modules.map(({ name, digest, size }) => ({
      ...{ name, size, digests: { unsigned: digest } },
      witnesses: { vermagic: `${element.kversion} SMP `, depends: [], compilers: [] },
    })),
    environment: { declared: nothing, observed: nothing, target: nothing },
    verdicts,
    log: { digest: log, size: 1 },
  };
}
