/**
 * Signed modules with a bit flipped, all through the signature: what we say that a kernel would do with each is what it
 * does.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { fetchTreeModules } from "../../src/check/guest/boot-image.ts";
import { guestPackages } from "../../src/check/guest/tools.ts";
import { loadModules } from "../../src/check/load.ts";
import { loadConfig } from "../../src/farm/config/index.ts";
import { checkModules } from "../../src/farm/gate/check.ts";
import { type Farm, openFarm, openInputs } from "../../src/farm/open.ts";
import { splitSignature } from "../../src/formats/module-signature.ts";
import type { Published } from "../../src/registry/documents.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { useFarms } from "../support/e2e-farm.ts";

const farms = useFarms();
/** Of the kernel's own tree, with no need of another one. */
const MODULE = "dummy";

let farm: Farm;
let published: Published;

beforeAll(async () => {
  const made = await farms.farm({ mirror: await farms.mirror(), releases: ["debian12"], warm: [] });
  await made.cli("catalog", "update");
  farm = await openFarm(await loadConfig({ config: made.config }));
  published = await readPublished(farm.store);
}, 600_000);
afterAll(() => farm?.close());

it("says of every signature what the kernel does with it", async () => {
  const kernel = published.catalog.kernels.findLast(
    ({ architecture, flavour }) => architecture === "x86_64" && flavour === "cloud",
  );
  if (kernel === undefined) throw new Error("no kernel");
  const inputs = openInputs(farm, published.catalog, { archived: "none" });
  const context = { inputs, scratch: farm.scratch, cache: farm.cache };
  const bytes = (await fetchTreeModules([MODULE], kernel.packages.modules, context)).get(MODULE);
  if (bytes === undefined) throw new Error("no module");
  const { content } = splitSignature(bytes, MODULE);
  const text = bytes.indexOf("description=") + "description=".length;
  const places = [text, ...range(content.length, bytes.length, 3)];
  const flipped = [bytes, Buffer.from(content), ...places.map((at) => flip(bytes, at))];

  const said = await Promise.all(
    flipped.map(async (one) => {
      const files = [{ name: `${MODULE}.ko`, bytes: one }];
      const request = { kernel, files, guest: [], signers: [], isLoaded: false };
      return (await checkModules(request, context)).answer?.answer ?? "no module";
    }),
  );
  // What is no module by our rules is asked of nobody: ours are stricter.
  const asked = flipped.flatMap((one, index) => (said[index] === "no module" ? [] : [{ one, index }]));
  const sets = asked.map(({ one }) => ({ driver: MODULE, modules: [{ name: MODULE, bytes: one }] }));
  const guest = guestPackages(published.catalog.guests, kernel);
  const reports = await loadModules({ kernel, guest, sets }, context);
  const rows = asked.map(({ index }, row) => {
    const { verdict, reasons } = reports[row]?.verdict ?? { verdict: "none", reasons: [] };
    const did = verdict === "pass" ? "loads" : verdict === "fail" ? "refuses" : verdict;
    const at = index < 2 ? ["whole", "unsigned"][index] : `byte ${(places[index - 2] ?? 0) - content.length}`;
    return { at, said: said[index], did, reason: reasons[0]?.text };
  });
  const counts = Map.groupBy(rows, (row) => `said ${row.said}, did ${row.did}`);
  console.log(
    `${flipped.length} modules, of which ${asked.length} are whole: ${[...counts].map(([words, of]) => `${words}: ${of.length}`).join("; ")}`,
  );
  expect(rows.filter((row) => row.said !== row.did)).toEqual([]);
  expect(new Set(rows.map((row) => row.did))).toEqual(new Set(["loads", "refuses"]));
}, 900_000);

function flip(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ (1 << (at % 8));
  return copy;
}

function range(from: number, to: number, step: number): number[] {
  return Array.from({ length: Math.ceil((to - from) / step) }, (_, index) => from + index * step);
}
