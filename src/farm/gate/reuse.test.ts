import { describe, expect, test } from "vitest";
import { makeElement } from "../../../test/support/elements.ts";
import { makeCatalog, makeKernel } from "../../../test/support/kernels.ts";
import { writePublished } from "../../../test/support/published.ts";
import { farmWith } from "../../../test/support/stored-farm.ts";
import { makeVerdict as verdict } from "../../../test/support/verdicts.ts";
import { CHECK_NAMES } from "../../check/checks/index.ts";
import { readPublished } from "../../registry/generations.ts";
import { loadsOnOf, withReuse } from "../../registry/reuse.ts";
import type { Listed } from "../../registry/standing.ts";
import type { Farm } from "../open.ts";
import { endReuse, reuse } from "./reuse.ts";

const OLD = {
  distribution: "almalinux9.4",
  kversion: "5.14.0-427.el9_4.x86_64",
  packageVersion: "5.14.0-427",
};
const NEW = {
  distribution: "almalinux9.5",
  kversion: "5.14.0-503.el9_5.x86_64",
  packageVersion: "5.14.0-503",
};
const DEBIAN = { distribution: "debian12", kversion: "6.1.0-56-amd64", packageVersion: "6.1.170-3" };
const CATALOG = makeCatalog([OLD, NEW, DEBIAN].map((one) => makeKernel(one)));
const GOOD = CHECK_NAMES.map((check) => verdict(check, "pass", "good"));
const NOW = () => new Date("2026-11-27T00:00:00Z");
const first = (listed: readonly Listed[]) => listed[0] as Listed;
const asked = (...kernels: string[]) => ({ choose: first, kernels, by: "ann", why: "because" });
const given = (changes = {}) => ({
  element: makeElement({ ...OLD, ...changes }),
  verdicts: GOOD,
  isStable: true,
});
const reused = async (farm: Farm, kernel: string) =>
  (await reuse(farm, asked(kernel), NOW, new AbortController().signal)).moves.map(({ result, reasons }) => [
    result,
    reasons.at(-1),
  ]);

describe("reuse is refused, and that is on the record,", () => {
  test.each([
    [
      "of what is not stable",
      { ...given(), isStable: false },
      "loadsOn: [almalinux]",
      "the artifact itself is not stable",
    ],
    [
      "where no policy allows it",
      given(),
      "require: [load]",
      "the policy does not list almalinux9.4 under loadsOn",
    ],
    [
      "where the policy does not name the other kernel's release",
      given(),
      "loadsOn: [almalinux9.4]",
      "the policy does not list almalinux9.5 under loadsOn",
    ],
  ])("%s", async (_, artifact, policy, fact) => {
    const farm = await farmWith([artifact], policy, CATALOG);

    expect(await reused(farm, NEW.kversion)).toEqual([["refused", fact]]);

    const { decisions, indices } = await readPublished(farm.store);
    expect(decisions).toMatchObject([
      { action: "refuse", kernel: `almalinux9.5/x86_64/${NEW.kversion}_${NEW.packageVersion}` },
    ]);
    expect(indices.flatMap(({ loadsOn = [] }) => loadsOn)).toEqual([]);
  });
});

test("reuse on a kernel that promises no ABI is refused for that", async () => {
  const farm = await farmWith([given()], "loadsOn: [almalinux]", CATALOG);

  expect(await reused(farm, DEBIAN.kversion)).toEqual([
    ["refused", "debian12 does not belong to the Enterprise Linux family: its kernels promise no stable ABI"],
  ]);
});

describe("there is no need to reuse", () => {
  test("what was built for that very kernel", async () => {
    const farm = await farmWith([given()], "loadsOn: [almalinux]", CATALOG);

    expect(await reused(farm, OLD.kversion)).toEqual([
      ["nothing to do", "it was built for that kernel itself"],
    ]);
  });

  test("anything where something was built for that kernel", async () => {
    const farm = await farmWith([given(), given(NEW)], "loadsOn: [almalinux]", CATALOG);

    expect(await reused(farm, NEW.kversion)).toMatchObject([
      ["nothing to do", expect.stringMatching(/^view\/\S+ was built for that kernel$/)],
    ]);
  });
});

test("a kernel that nobody knows is told before any is tried", async () => {
  const farm = await farmWith([given()], "loadsOn: [almalinux]", CATALOG);

  await expect(reuse(farm, asked(NEW.kversion, "nosuch"), NOW, new AbortController().signal)).rejects.toThrow(
    expect.objectContaining({ code: "KERNEL_UNKNOWN" }),
  );
  expect((await readPublished(farm.store)).decisions).toEqual([]);
});

test("what serves a kernel is taken back, and nothing else", async () => {
  const farm = await farmWith([given()], "loadsOn: [almalinux]", CATALOG);
  const before = await readPublished(farm.store);
  const [index] = before.indices;
  const [entry] = index?.stable ?? [];
  if (index === undefined || entry === undefined) throw new Error("no artifact");
  const other = makeKernel(NEW);
  const indices = withReuse(before.indices, other, loadsOnOf({ index, entry }, other));
  await writePublished(farm.store, { ...before, indices }, NOW());

  const { moves } = await endReuse(farm, asked(NEW.kversion, DEBIAN.kversion), NOW);

  expect(moves.map(({ result }) => result)).toEqual(["reuse ended", "nothing to do"]);
  const after = await readPublished(farm.store);
  expect(after.indices.flatMap(({ loadsOn = [] }) => loadsOn)).toEqual([]);
  expect(after.indices.flatMap(({ stable }) => stable)).toHaveLength(1);
  expect(after.decisions).toMatchObject([{ action: "endReuse", by: "ann" }]);
});
