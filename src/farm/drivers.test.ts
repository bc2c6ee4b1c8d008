import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { startServer } from "../../test/support/server.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { loadConfig } from "./config/index.ts";
import { loadDrivers } from "./drivers.ts";
import { openFarm, withOwn } from "./open.ts";
import { OrderDirectory } from "./workers/order-directory.ts";

/** A farm in a directory of its own, with a good driver in `good`. */
async function farmOf(drivers: readonly unknown[], confs: Readonly<Record<string, string>> = {}) {
  const directory = await temporaryDirectory();
  await mkdir(join(directory, "good"));
  await writeFile(join(directory, "good", "Kbuild"), "obj-m := good.o\n");
  for (const [name, conf] of Object.entries(confs)) {
    await mkdir(join(directory, name));
    await writeFile(join(directory, name, "Kbuild"), `obj-m := ${name}.o\n`);
    await writeFile(join(directory, name, "dkms.conf"), conf);
  }
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

  test("have no orders and no hand-overs in their source, where these lie in their tree", async () => {
    const farm = await farmOf([GOOD]);
    const tree = join(farm.config.base, "good");
    const digestOf = async (...own: string[]) =>
      (await loadDrivers(withOwn(farm, own))).loaded[0]?.source.digest;
    const before = await digestOf();
    const orders = await OrderDirectory.make(join(tree, "orders"));
    await writeFile(join(tree, "orders", "plan.digest"), "sha256:0");
    await mkdir(join(tree, "built"));
    await writeFile(join(tree, "built", `${"a".repeat(64)}.tar`), "");

    expect(await digestOf(join(tree, "orders"))).toBe(before);
    expect(await digestOf()).not.toBe(before);
    await orders.close();

    // In a repository what git ignores is none anyway, and a plan's directory asks for that.
    execFileSync("git", ["init", "-q", tree]);
    expect(await digestOf()).toBe(before);
  });

  test("do without one whose server does not come to its end", async () => {
    const { url } = await startServer(() => {});
    const slow = { name: "slow", source: { git: `${url}/slow.git`, revision: "v1" }, versions: ["1"] };
    const farm = await farmOf([GOOD, slow]);

    const { loaded, absent } = await loadDrivers(
      farm,
      () => {},
      new AbortController().signal,
      farm.config.drivers,
      1500,
    );

    expect(loaded).toHaveLength(2);
    expect(absent).toMatchObject([
      {
        name: "slow",
        error: { code: "REMOTE_UNAVAILABLE", message: "the source of slow did not come within 0 minutes" },
      },
    ]);
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

describe("a driver that calls itself like another's need", () => {
  const conf = (name: string, more = "") => `PACKAGE_NAME=${name}\nPACKAGE_VERSION=1.0\n${more}`;
  const driver = (name: string, more: object = {}) => ({ name, source: name, versions: ["1.0"], ...more });
  const CONFS = {
    genuine: conf("spl"),
    victim: conf("victim", "BUILD_DEPENDS[0]=spl\n"),
    evil: conf("spl", "BUILD_DEPENDS[0]=victim\n"),
  };
  const names = (all: readonly { readonly name: string }[]) => all.map(({ name }) => name).toSorted();

  test.each([[["genuine", "victim", "evil"]], [["evil", "genuine", "victim"]]])(
    "is never preferred by its place: %j",
    async (order) => {
      const { loaded, absent } = await loadDrivers(
        await farmOf(
          order.map((name) => driver(name)),
          CONFS,
        ),
      );

      expect(names(loaded)).toEqual(["evil", "genuine"]);
      expect(absent).toMatchObject([
        { name: "victim", error: { code: "DRIVER_INVALID", hint: expect.stringMatching(/needs: \[NAME\]/) } },
      ]);
      expect(absent[0]?.error.message).toMatch(/genuine/);
    },
  );

  test("takes nothing where the configuration says what is meant, and ends nobody by a circle", async () => {
    const { loaded, absent } = await loadDrivers(
      await farmOf([driver("genuine"), driver("victim", { needs: ["genuine"] }), driver("evil")], CONFS),
    );

    expect(absent).toEqual([]);
    expect(loaded.find(({ name }) => name === "victim")?.needs).toEqual([
      { name: "genuine", version: "1.0" },
    ]);
  });

  test("takes nothing on a night on which the other cannot be had", async () => {
    const { loaded, absent } = await loadDrivers(
      await farmOf(
        [driver("evil"), driver("victim", { needs: ["genuine"] }), driver("genuine", { source: "gone" })],
        CONFS,
      ),
    );

    expect(names(absent)).toEqual(["genuine"]);
    expect(loaded.find(({ name }) => name === "victim")?.needs).toEqual([
      { name: "genuine", version: "1.0" },
    ]);
  });

  test("is in a circle only with those that wrote their own part of it", async () => {
    const { loaded, absent } = await loadDrivers(
      await farmOf([driver("one"), driver("two"), driver("victim", { needs: [] })], {
        one: conf("one", "BUILD_DEPENDS=two\n"),
        two: conf("victim", "BUILD_DEPENDS=one\n"),
        victim: conf("victim"),
      }),
    );

    expect(names(loaded)).toEqual(["victim"]);
    expect(absent.map(({ error }) => error.message).toSorted()).toEqual([
      expect.stringMatching(/^one needs two needs one/),
      expect.stringMatching(/^two needs one needs two/),
    ]);
  });
});
