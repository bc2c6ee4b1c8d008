import { describe, expect, test } from "vitest";
import { makeOutcome, NOTHING } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { makeCatalog } from "../../test/support/kernels.ts";
import type { Index } from "./documents.ts";
import { nextState, OpenIndices } from "./publish.ts";
import { heldReuse, loadsOnOf, servedBy, servedOf, withoutReuse, withReuse, withReuseOf } from "./reuse.ts";

const OLD = makeElement({ distribution: "almalinux9.4", kversion: "5.14.0-427.el9_4.x86_64" });
const OTHER = {
  distribution: "almalinux9.5",
  architecture: "x86_64" as const,
  kversion: "5.14.0-503.el9_5.x86_64",
  packageVersion: OLD.packageVersion,
  flavour: "generic",
};
const { indices } = nextState(NOTHING, makeCatalog([]), [makeOutcome(OLD)]);
const own = indices[0] as Index;
const entry = own.stable[0] as Index["stable"][number];
const given = loadsOnOf({ index: own, entry }, OTHER);
const served = withReuse(indices, OTHER, given);
const place = { ...OTHER, driver: OLD.driver };
const found = (all: readonly Index[]) =>
  servedBy(
    all.find(({ distribution }) => distribution === OTHER.distribution),
    place,
  );

describe("what serves a kernel that it was not built for", () => {
  test("is listed with that kernel, and names the artifact", () => {
    expect(found(served)).toEqual({
      ...{ kversion: OTHER.kversion, packageVersion: OTHER.packageVersion, flavour: "generic" },
      artifact: {
        distribution: "almalinux9.4",
        ...{ driver: entry.driver, output: entry.output, recipe: entry.recipe, manifest: entry.manifest },
      },
    });
    expect(servedOf(served, { index: own, entry }).map(({ index }) => index.distribution)).toEqual([
      "almalinux9.5",
    ]);
    expect(heldReuse(served)).toEqual(served);
    expect(withReuse(served, OTHER, given)).toEqual(served);
  });

  test("is another driver's business no more than another kernel's", () => {
    const index = served.find(({ distribution }) => distribution === OTHER.distribution);

    expect(servedBy(index, { ...place, driver: "another" })).toBeUndefined();
    expect(servedBy(index, { ...place, packageVersion: "another" })).toBeUndefined();
  });

  test("ends when it is taken back", () => {
    expect(found(withoutReuse(served, OTHER, given))).toBeUndefined();
  });

  test("ends with the artifact that it was proven of", () => {
    const open = new OpenIndices(served);
    open.takeBack(OLD, entry, []);

    expect(found(heldReuse(open.closed()))).toBeUndefined();
  });

  test("ends when other modules take that artifact's place", () => {
    const night = nextState({ ...NOTHING, indices: served }, makeCatalog([]), [
      makeOutcome(OLD, { content: "new" }),
    ]);

    expect(found(night.indices)).toBeUndefined();
  });

  test("ends when something is built for that very kernel", () => {
    const night = nextState({ ...NOTHING, indices: served }, makeCatalog([]), [
      makeOutcome(makeElement({ ...OTHER })),
    ]);

    expect(found(night.indices)).toBeUndefined();
    expect(found(nextState({ ...NOTHING, indices: served }, makeCatalog([]), []).indices)).toBeDefined();
  });

  test("comes back with the generation that had it", () => {
    expect(withReuseOf(withoutReuse(served, OTHER, given), served)).toEqual(served);
    expect(found(withReuseOf(served, indices))).toBeUndefined();
    expect(found(withReuseOf(served, indices, "another"))).toBeDefined();
  });
});
