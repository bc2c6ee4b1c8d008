import { expect, test } from "vitest";
import { makeElement } from "../../../test/support/elements.ts";
import { spread } from "./try.ts";

const ELEMENTS = ["debian11", "debian12", "debian13"].flatMap((distribution) =>
  [1, 2, 3].map((abi) => makeElement({ distribution, kversion: `6.${abi}.0-1-amd64` })),
);
const namesOf = (elements: readonly ReturnType<typeof makeElement>[]) =>
  elements.map(({ distribution, kversion }) => `${distribution} ${kversion}`);

test("the elements that are tried differ as much as they can", () => {
  const chosen = spread(ELEMENTS, 3);

  expect(new Set(chosen.map(({ distribution }) => distribution)).size).toBe(3);
  expect(new Set(chosen.map(({ kversion }) => kversion)).size).toBe(3);
});

test("what is under way stays among them when others go", () => {
  const first = spread(ELEMENTS, 4);
  const [gone, ...kept] = first;
  const left = ELEMENTS.filter((element) => element !== gone);

  const second = spread(left, 4, kept);

  expect(second).toHaveLength(4);
  expect(namesOf(second)).toEqual(expect.arrayContaining(namesOf(kept)));
});
