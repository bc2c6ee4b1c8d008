/** A live patch of ours in a guest, the example driver beside it, and what a node with it is said to have fixed. */
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { loadConfig } from "../../src/farm/config/index.ts";
import { openFarm } from "../../src/farm/open.ts";
import { readModules } from "../../src/registry/artifact.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { CLOUD, DOORBELL, type TestFarm, useFarms } from "../support/e2e-farm.ts";
import { CHECKOUT } from "../support/e2e-mirror.ts";

const farms = useFarms();
let farm: TestFarm;
let kversion: string;
const file = (name: string) => join(farm.directory, "built", `${name}.ko`);

beforeAll(async () => {
  farm = await farms.farm({
    mirror: await farms.mirror(),
    select: { ...CLOUD, architectures: ["x86_64"], newest: 1 },
    drivers: [DOORBELL, { name: "short-version", source: "livepatch", versions: ["1.0.0"] }],
  });
  await cp(join(CHECKOUT, "examples/livepatch"), join(farm.directory, "livepatch"), { recursive: true });
  for (const step of [["catalog", "update"], ["build"]]) {
    const { exitCode, stdout, stderr } = await farm.cli(...step);
    if (exitCode !== 0) throw new Error(`${step.join(" ")}: ${stdout}${stderr}`);
  }
  const opened = await openFarm(await loadConfig({ config: farm.config }));
  await mkdir(join(farm.directory, "built"));
  try {
    const { indices } = await readPublished(opened.store);
    for (const entry of indices.flatMap(({ candidate }) => candidate)) {
      kversion = entry.kversion;
      for (const { name, bytes } of await readModules(opened.store, entry))
        await writeFile(join(farm.directory, "built", name), bytes);
    }
  } finally {
    await opened.close();
  }
}, 1_800_000);

const load = (...words: string[]) => farm.cli("load", ...words, "--kernel", kversion);

describe("a guest with a live patch", () => {
  const smoke = () => join(farm.directory, "try.sh");

  it("has it applied when the driver comes, and the driver loads beside it", async () => {
    await writeFile(smoke(), 'grep -q "live-patched" /proc/version || exit 9\necho ring >/dev/doorbell\n');

    const words = ["--livepatch", file("short_version"), "--smoke", smoke(), "--json"];
    const { exitCode, stdout, stderr } = await load(file("doorbell"), file("tally"), ...words);

    expect(exitCode, `${stdout}${stderr}`).toBe(0);
    const { verdict, livePatches } = JSON.parse(stdout);
    expect(verdict).toMatchObject({
      verdict: "pass",
      reasons: [expect.stringMatching(/tried out and unloaded, twice, beside the live patch short_version$/)],
    });
    expect(livePatches).toEqual([
      expect.objectContaining({ patch: "short_version", state: "applied", enabled: true, transition: false }),
    ]);

    // What the guest's kernel said becomes what a node says: nothing is added but what the patch closes.
    const [cves, patches] = [join(farm.directory, "cves.ndjson"), join(farm.directory, "patches.ndjson")];
    const cve = "CVE-2026-1001";
    const commit = "a".repeat(40);
    const record = { id: cve, title: "proc: say less", fix: [commit], files: ["fs/proc/version.c"] };
    const pairs = [["2.6.12", commit, "9.9", commit]];
    await writeFile(cves, JSON.stringify({ ...record, published: "2099-01-01", pairs }));
    await writeFile(
      patches,
      livePatches
        .map((one: object) => `${JSON.stringify({ node: "guest", kernel: kversion, cves: [cve], ...one })}\n`)
        .join(""),
    );
    const ingested = await farm.cli(
      "gap",
      "ingest",
      "--accept-suspect",
      `compact=${cves}`,
      `livepatch=${patches}`,
    );
    const explained = await farm.cli("gap", "explain", cve, "--node", "guest", "--json");

    expect(ingested.exitCode, ingested.stderr).toBe(0);
    expect(JSON.parse(explained.stdout).verdicts).toMatchObject([{ cve, verdict: "livepatched" }]);
  }, 600_000);

  it("proves nothing of the driver where the patch does not go in", async () => {
    const words = ["--livepatch", file("short_version"), "--livepatch", broken(), "--json"];
    const bytes = await readFile(file("short_version"));
    const changed = bytes.toString("latin1").replaceAll("version_proc_show", "version_proc_shew");
    await writeFile(
      broken(),
      Buffer.from(changed.replaceAll("name=short_version", "name=shart_version"), "latin1"),
    );

    const { exitCode, stdout } = await load(file("tally"), ...words);

    expect(exitCode).toBe(3);
    const { verdict, livePatches } = JSON.parse(stdout);
    expect(verdict).toMatchObject({ verdict: "unknown", codes: expect.arrayContaining(["livePatch"]) });
    expect(livePatches.map(({ state }: { state: string }) => state)).toEqual(["applied", "not_applied"]);
  }, 600_000);

  it("is asked for live patches only", async () => {
    const { exitCode, stderr } = await load(file("tally"), "--livepatch", file("doorbell"));

    expect(exitCode).toBe(2);
    expect(stderr).toContain("doorbell.ko is not a live patch: its .modinfo does not say `livepatch=Y`");
  });

  const broken = () => join(farm.directory, "shart_version.ko");

  it("was built from the example", async () => {
    expect((await readdir(join(farm.directory, "built"))).toSorted()).toEqual([
      "doorbell.ko",
      "short_version.ko",
      "tally.ko",
    ]);
  });
});
