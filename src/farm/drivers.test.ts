import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { startServer } from "../../test/support/server.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { loadConfig } from "./config.ts";
import { loadDrivers } from "./drivers.ts";
import { openFarm } from "./open.ts";

/** A farm in a directory of its own, with a good driver in `good`. */
async function farmOf(drivers: readonly unknown[]) {
  const directory = await temporaryDirectory();
  await mkdir(join(directory, "good"));
  await writeFile(join(directory, "good", "Kbuild"), "obj-m := good.o\n");
  await writeFile(join(directory, "kmodfarm.yaml"), JSON.stringify({ drivers }));
  const farm = await openFarm(await loadConfig({}, directory));
  onTestFinished(() => farm.close());
  return farm;
}

const GOOD = { name: "good", source: "good", versions: ["1.0.0", "2.0.0"] };

describe("the configured drivers", () => {
  test("are read once for versions that share a tree", async () => {
    const { loaded, absent } = await loadDrivers(await farmOf([GOOD]));

    expect(loaded.map(({ version }) => version)).toEqual(["1.0.0", "2.0.0"]);
    expect(loaded[0]?.source).toBe(loaded[1]?.source);
    expect(loaded[0]?.build).toEqual({ kind: "kbuild", packages: [], files: [] });
    expect(absent).toEqual([]);
  });

  test("do without one whose address leads to nothing", async () => {
    const server = await startServer((_, response) => response.writeHead(404).end());
    const source = { url: `${server.url}/d.tar`, sha256: "0".repeat(64) };

    const { loaded, absent } = await loadDrivers(
      await farmOf([GOOD, { name: "gone", source, versions: ["3"] }]),
    );

    expect(loaded).toHaveLength(2);
    expect(absent).toMatchObject([{ name: "gone", version: "3", error: { code: "CONFIG_INVALID" } }]);
  });

  test("do without one that is misconfigured, and say so", async () => {
    const said: string[] = [];
    const farm = await farmOf([GOOD, { name: "bad", source: "none", versions: ["1"] }]);

    const { loaded, absent } = await loadDrivers(farm, (text) => said.push(text));

    expect(loaded).toHaveLength(2);
    expect(absent).toMatchObject([{ name: "bad", error: { code: "DRIVER_INVALID" } }]);
    expect(said).toEqual([expect.stringMatching(/^driver bad 1: there is no driver source directory/)]);
  });

  test("are refused when none can be used", async () => {
    const farm = await farmOf([{ name: "bad", source: "none", versions: ["1"] }]);

    await expect(loadDrivers(farm)).rejects.toThrow(expect.objectContaining({ code: "DRIVER_INVALID" }));
  });
});
