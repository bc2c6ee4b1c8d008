import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeElement } from "../../test/support/elements.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { matrixLines } from "../matrix/stream.ts";
import { diffFiles } from "./matrix-io.ts";

const elements = (flavour: string, from: number) =>
  Array.from({ length: 3000 }, (_, index) => makeElement({ flavour, kversion: `6.1.${index + from}-amd64` }));

test.each([
  ["with one element a line", (some: ReturnType<typeof elements>) => [...matrixLines(some)].join("")],
  ["in any other form", (some: ReturnType<typeof elements>) => JSON.stringify(some, null, 2)],
])("two files %s are compared to their last element", async (_, write) => {
  const place = await temporaryDirectory();
  const [before, after] = [join(place, "before.json"), join(place, "after.json")];
  await writeFile(before, write(elements("cloud", 0)));
  await writeFile(after, write([...elements("cloud", 2).slice(0, -2), ...elements("rt", 3000).slice(0, 1)]));

  const changes: string[] = [];
  for await (const change of diffFiles(before, after))
    changes.push(change.kind === "end" ? `${change.removed.length} ${change.unchanged}` : change.kind);

  expect(changes).toEqual(["added", "2 2998"]);
});
