import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeElement } from "../../test/support/elements.ts";
import { inProcess } from "../../test/support/in-process.ts";
import { farmWith } from "../../test/support/stored-farm.ts";
import { makeVerdict } from "../../test/support/verdicts.ts";
import { DOCUMENTS } from "./documents.ts";
import { printJson } from "./output.ts";

const SOURCES = globSync("commands/**/*.ts", { cwd: import.meta.dirname })
  .map((file) => readFileSync(join(import.meta.dirname, file), "utf8"))
  .join("");

test("every document that a command prints has a type, and every type is printed by one", () => {
  const byName = (a = "", b = "") => (a < b ? -1 : 1);
  const printed = [...SOURCES.matchAll(/schema: "(kmodfarm\.[^"]+)"/g)].map(([, name]) => name);

  expect([...new Set([...printed, "kmodfarm.catalog/1"])].toSorted(byName)).toEqual(
    Object.keys(DOCUMENTS).toSorted(byName),
  );
});

test("what a command prints is held to its document's type when it is compiled, through spreads and lists too", () => {
  const copied = { from: "a", to: "b", files: 1, bytes: 1, kept: 0, removed: 0 };
  const entry = { room: "a", name: "b", sizeBytes: 1, lastUse: new Date(0) };
  const compiled = () => [
    printJson({ schema: "kmodfarm.store-copy/1", ...copied }),
    // @ts-expect-error no document has this name
    printJson({ schema: "kmodfarm.nothing/1", ...copied }),
    // @ts-expect-error a member is missing
    printJson({ schema: "kmodfarm.store-copy/1", from: "a", to: "b", files: 1, bytes: 1 }),
    // @ts-expect-error a member is of another type
    printJson({ schema: "kmodfarm.store-copy/1", ...copied, kept: "0" }),
    // @ts-expect-error a member is not in the type
    printJson({ schema: "kmodfarm.store-copy/1", ...copied, ...{ more: 1 } }),
    printJson({ schema: "kmodfarm.cache/1", cache: "a", limitBytes: null, entries: [entry] }),
    // @ts-expect-error a member of an entry of a list is not in the type
    printJson({ schema: "kmodfarm.cache/1", cache: "a", limitBytes: null, entries: [{ ...entry, more: 1 }] }),
  ];

  // The compiler is the test: every line that it must refuse says so, and would be refused itself if it did not.
  expect(compiled).toBeTypeOf("function");
});

/** `inProcess` holds them to their types. */
describe("what is really printed with --json", () => {
  test.each<[string, number]>([
    ["catalog list", 0],
    ["catalog find --uname-r 6.1.0-57-amd64 --uname-m x86_64", 1],
    ["matrix show", 0],
    ["matrix shard", 0],
    ["generations", 0],
    ["fsck", 4],
    ["prune --dry-run", 0],
    ["cache", 0],
    ["report controls", 0],
    ["withdraw doorbell --why x", 0],
    ["promote --all --why x", 0],
    ["audit /lib/nowhere", 2],
    ["run", 2],
    ["catalog list --distro debian99", 2],
    ["check nothing", 2],
    ["matrix shard --max-shards many", 2],
  ])("by `%s` is one document, whether it succeeds or fails", async (line, exit) => {
    const element = makeElement();
    const verdicts = [makeVerdict("load", "pass", "it loads")];
    const farm = await farmWith([{ element, verdicts, isStable: true }]);
    const config = join(farm.config.base, "kmodfarm.yaml");
    const places = line.startsWith("audit") ? [] : ["--config", config];

    const { exitCode, stdout, stderr } = await inProcess([...line.split(" "), ...places, "--json"]);

    expect(exitCode, stderr).toBe(exit);
    const texts = [stdout, stderr].filter((text) => text !== "");
    expect(texts).toHaveLength(1);
    expect(JSON.parse(texts[0] ?? "")).toHaveProperty(stdout === "" ? "error.code" : "schema");
  });
});
