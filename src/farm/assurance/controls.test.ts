/** Whatever a report claims can be opened, and whatever it cannot show it calls missing. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { NOW, published } from "../../../test/support/changed-registry.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { sha256 } from "../../base/json.ts";
import { openFolderStore } from "../../registry/stores/folder.ts";
import { CONTROLS, FRAMEWORKS } from "./control-catalogue.ts";
import { reportControls } from "./controls.ts";

describe("a report of controls", () => {
  test("claims only files that are there, with the bytes that it says", async () => {
    const store = await published();

    const report = await reportControls(store);

    expect(report.map(({ id }) => id)).toEqual(CONTROLS.map(({ id }) => id));
    const evidence = report.flatMap((one) => one.evidence);
    expect(evidence.length).toBeGreaterThan(10);
    for (const { file, digest, fact, command } of evidence) {
      expect(file, fact).toBeDefined();
      expect(sha256((await store.read(file ?? "")) ?? ""), fact).toBe(digest);
      // An auditor runs these: none may decide or publish anything.
      expect(command).toMatch(/^kmodfarm (check|fsck|generations|help|keys show|matrix show|verify)\b/);
    }
  });

  test("says for every control what is there or what is missing, and never nothing", async () => {
    for (const { id, evidence, missing } of await reportControls(await published()))
      expect(evidence.length + missing.length, id).toBeGreaterThan(0);
  });

  test("misses what nobody did: statements, rebuilds, withdrawals", async () => {
    const report = await reportControls(await published());
    const missing = (id: string) => report.find((one) => one.id === id)?.missing.join("; ");

    expect(missing("Build L1: provenance exists")).toMatch(/^no artifact has a signed statement/);
    expect(missing("Verified: rebuilt")).toMatch(/kmodfarm statement add/);
    expect(missing("PR.PS-02")).toMatch(/nothing was ever withdrawn/);
    expect(missing("NHI1")).toBe("");
    expect(report.find(({ id }) => id === "NHI10")).toMatchObject({
      evidence: [],
      missing: [expect.stringMatching(/^who used a key is not recorded/)],
    });
  });

  test("misses what is there, and is not what it should be", async () => {
    const store = await published();
    const later = await reportControls(store, new Date("2040-01-01T00:00:00Z"));
    const fresh = await reportControls(store, NOW);
    const missing = (report: typeof later, id: string) =>
      report.find((one) => one.id === id)?.missing.join("; ");

    expect(missing(fresh, "PR.DS-02")).toBe("");
    expect(missing(later, "PR.DS-02")).toMatch(/^head \d+ expired on /);
    expect(missing(later, "NHI7")).toMatch(/^root \d+ expired on /);
    await store.write("metadata/head", "whatever\n");
    await expect(reportControls(store, NOW)).rejects.toMatchObject({ code: "NOTE_MALFORMED" });
  });

  test("of no registry at all is an error", async () => {
    const store = await openFolderStore(await temporaryDirectory());

    await expect(reportControls(store)).rejects.toMatchObject({ code: "STORE_MISSING" });
  });
});

test("docs/controls.md has every framework and every control", () => {
  const text = readFileSync(join(import.meta.dirname, "..", "..", "..", "docs", "controls.md"), "utf8");

  expect(FRAMEWORKS.filter((name) => !text.includes(name))).toEqual([]);
  expect(CONTROLS.filter(({ id }) => !text.includes(`| ${id} `)).map(({ id }) => id)).toEqual([]);
});
