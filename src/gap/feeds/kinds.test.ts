/** What single kinds of feed make of what is peculiar to them; what all of them promise, test/contracts/feed.ts says. */
import { describe, expect, test } from "vitest";
import { fixture } from "../../../test/support/gap.ts";
import type { FeedRecord } from "../records.ts";
import { disagree } from "../upstream.ts";
import { Budget, dayOf, readFeed } from "./feed.ts";
import { feedKind } from "./index.ts";
import { isKernelPackage, releaseOfEcosystem } from "./packages.ts";

const SHA = "0123456789abcdef0123456789abcdef01234567";
const PATH = "cve/published/2024/CVE-2024-1000";

function read(kind: string, files: Readonly<Record<string, unknown>>, budget?: Budget) {
  const given = Object.entries(files).map(([name, value]) => ({
    name,
    body: [Buffer.from(typeof value === "string" ? value : JSON.stringify(value))],
  }));
  return readFeed(feedKind(kind), given, budget);
}

const advisories = (records: readonly FeedRecord[]) =>
  records.flatMap((one) =>
    one.type === "advisory" ? [[one.release, one.package, one.status, one.version ?? ""].join(" ")] : [],
  );

describe("cna", () => {
  test("a CVE with a damaged part is bad as a whole, and the others count", async () => {
    const bad = {
      "a line too short": { [`${PATH}.dyad`]: `6.1:${SHA}:6.2\n` },
      "a line too long": { [`${PATH}.dyad`]: `6.1:${SHA}:6.2:${SHA}:7\n` },
      "no commit": { [`${PATH}.dyad`]: `6.1:${SHA}:6.2:${SHA.slice(1)}\n` },
      "no release": { [`${PATH}.dyad`]: `next:${SHA}:6.2:${SHA}\n` },
      "no record that can be read": { [`${PATH}.dyad`]: `6.1:${SHA}:6.2:${SHA}\n`, [`${PATH}.json`]: "{" },
      "both published and rejected": {
        [`${PATH}.dyad`]: `6.1:${SHA}:6.2:${SHA}\n`,
        "cve/rejected/2024/CVE-2024-1000.json": "{}",
      },
    };
    for (const [what, files] of Object.entries(bad)) {
      const { records, bad: counted } = await read("cna", {
        ...files,
        "cve/published/2024/CVE-2024-2000.dyad": `6.1:${SHA}:6.2:${SHA}\n`,
      });

      expect(
        records.map((one) => one.type === "cve" && one.id),
        what,
      ).toEqual(["CVE-2024-2000"]);
      expect(counted, what).toMatchObject([{ count: 1, first: "CVE-2024-1000" }]);
    }
  });

  test("what is reserved, under review or made for tests is no CVE", async () => {
    const dyad = `6.1:${SHA}:6.2:${SHA}\n`;
    const places = ["testing", "reserved", "returned", "review"];
    const files = Object.fromEntries(
      places.map((place) => [`vulns/cve/${place}/2024/CVE-2024-1000.dyad`, dyad]),
    );

    expect(await read("cna", files)).toEqual({ records: [], bad: [], date: undefined });
  });

  test("a rejected one is rejected, whatever form its record has", async () => {
    const { records } = await read("cna", { "cve/rejected/2024/CVE-2024-1000.json": '{"cveID": "x"}' });

    expect(records).toMatchObject([{ id: "CVE-2024-1000", rejected: true, pairs: [] }]);
  });

  test("a record alone says the same of releases as its pairs, but for the one that is disputed", async () => {
    const files = fixture("cna.ndjson.gz")
      .toString()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const of = async (pattern: RegExp) => {
      const chosen = files.filter(
        ({ name }: { name: string }) => pattern.test(name) && !name.includes("rejected"),
      );
      const { records } = await read(
        "cna",
        Object.fromEntries(chosen.map(({ name, text }: Record<string, string>) => [name, text])),
      );
      return records.flatMap((one) => (one.type === "cve" ? [one] : []));
    };
    const [byDyad, byJson] = [await of(/\.(dyad|sha1)$/), await of(/\.json$/)];

    expect(byJson).toHaveLength(7);
    const differ = byDyad.filter(({ pairs }, at) => disagree(pairs, byJson[at]?.pairs ?? []));
    expect(differ.map(({ id }) => id)).toEqual(["CVE-2024-35974"]);
  });
});

describe("a small feed that says very much", () => {
  const TEAM = "416baaa9-dc9f-4396-8d5f-8c081fb06d67";
  const cve = (versions: readonly object[], products = 1) => ({
    containers: {
      cna: { affected: Array.from({ length: products }, () => ({ defaultStatus: "affected", versions })) },
    },
    cveMetadata: { cveId: "CVE-2024-1000", assignerOrgId: TEAM, state: "PUBLISHED" },
  });
  const release = (count: number, more: object) =>
    Array.from({ length: count }, (_, at) => ({ version: `5.4.${at + 1}`, status: "unaffected", ...more }));
  const ends = { lessThan: "5.5.1" };

  test.each<[string, object]>([
    ["fixes and breaks", cve(release(3000, { ...ends, lessThanOrEqual: "5.4.*" }))],
    ["products", cve(release(30, { lessThanOrEqual: "5.4.*" }), 100)],
    [
      "ranges",
      cve(
        Array.from({ length: 2001 }, (_, at) => ({
          ...{ version: `5.4.${at}`, status: "affected", versionType: "semver" },
          ...ends,
        })),
      ),
    ],
  ])("has one bad record for a CVE of too many %s", async (_, record) => {
    for (const kind of ["cve-list", "cna"]) {
      const { records, bad } = await read(kind, {
        [`${PATH}.json`]: record,
        "cve/published/2024/CVE-2024-2000.json": {
          ...cve(release(2, { ...ends, lessThanOrEqual: "5.4.*" })),
          cveMetadata: { cveId: "CVE-2024-2000", assignerOrgId: TEAM, state: "PUBLISHED" },
        },
      });

      expect(records).toMatchObject([{ id: "CVE-2024-2000", pairs: { length: 8 } }]);
      expect(bad).toMatchObject([{ count: 1, reason: expect.stringContaining("more than 2000 pairs") }]);
    }
  });

  test("has one bad record for an advisory of too many CVEs and packages", async () => {
    const affected = (count: number) =>
      Array.from({ length: count }, (_, at) => ({ package: { ecosystem: `Debian:${at}`, name: "linux" } }));
    const aliases = Array.from({ length: 1001 }, (_, at) => `CVE-2024-${10_000 + at}`);

    const { records, bad } = await read("osv", {
      "1.json": { id: "DSA-1", aliases, affected: affected(1000) },
      "2.json": { id: "DSA-2", aliases, affected: affected(2) },
    });

    expect(records).toHaveLength(2);
    expect(bad).toMatchObject([{ count: 1, first: "DSA-1", reason: expect.stringContaining("pairs") }]);
  });

  test.each<[string, { readonly records: number; readonly bytes: number }]>([
    ["records", { records: 2, bytes: 1e6 }],
    ["bytes", { records: 10, bytes: 1000 }],
  ])("fails with its name beyond its budget of %s", async (_, limits) => {
    const dyads = Object.fromEntries(
      [1, 2, 3].map((at) => [`${PATH}${at}.dyad`, `6.1:${SHA}:6.2:${SHA}\n`.repeat(4)]),
    );
    const lines = [1, 2, 3].map((at) =>
      JSON.stringify({
        ...{
          id: `CVE-2024-100${at}`,
          title: "t".repeat(400),
          fix: [SHA],
          pairs: [["6.1", SHA, "6.1.9", SHA]],
          files: [],
        },
      }),
    );
    const compact = { "a.ndjson": lines.join("\n") };

    for (const [kind, files] of Object.entries({ compact, cna: dyads }))
      await expect(read(kind, files, new Budget(kind, limits))).rejects.toMatchObject({
        code: "DOCUMENT_INVALID",
        message: expect.stringContaining(`the ${kind} feed has more than`),
      });
    expect((await read("compact", compact, new Budget("compact"))).records).toHaveLength(3);
  });
});

describe("csaf-vex", () => {
  test("products are streams where the document says so, in the old form and in the new", async () => {
    const files = fixture("csaf-vex.ndjson")
      .toString()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const { records } = await read(
      "csaf-vex",
      Object.fromEntries(files.map(({ name, text }) => [name, text])),
    );

    expect(advisories(records).toSorted()).toEqual([
      "rhel6 kernel will_not_fix ",
      "rhel8.10 kernel fixed 4.18.0-553.100.1.el8_10",
      "rhel8.8 kernel affected ",
      "rhel9 kernel fixed 5.14.0-362.24.1.el9_3",
      "rhel9.2 kernel fixed 5.14.0-284.55.1.el9_2",
      "sles15.5 kernel-default fixed 5.14.21-150500.55.52.1",
    ]);
  });
});

describe("osv", () => {
  const record = (id: string, ecosystem: string, name: string, more: object = {}) => ({
    ...{ id, modified: "2024-06-01T00:00:00Z", upstream: ["CVE-2024-1086"] },
    affected: [
      {
        package: { ecosystem, name },
        ranges: [{ type: "ECOSYSTEM", events: [{ introduced: "0" }, { fixed: "1.2-3" }] }],
      },
    ],
    ...more,
  });

  test("releases are called as catalogs call them, and live patches are told apart", async () => {
    const { records } = await read("osv", {
      "1.json": record("USN-6701-1", "Ubuntu:22.04:LTS", "linux"),
      "2.json": record("USN-6702-1", "Ubuntu:Pro:18.04:LTS", "linux-hwe-5.4"),
      "3.json": record("LSN-0102-1", "Ubuntu:22.04:LTS", "linux-aws"),
      "4.json": record("DEBIAN-CVE-2024-1086", "Debian:12", "linux", { upstream: undefined }),
      "5.json": record("RLSA-2024:1", "Rocky Linux:9", "kernel"),
    });

    expect(advisories(records).toSorted()).toEqual([
      "debian12 linux fixed 1.2-3",
      "rocky9 kernel fixed 1.2-3",
      "ubuntu18.04 linux-hwe-5.4 fixed 1.2-3",
      "ubuntu22.04 linux fixed 1.2-3",
      "ubuntu22.04 linux-aws fixed 1.2-3",
    ]);
    expect(records.filter((one) => one.type === "advisory" && one.livepatch === true)).toMatchObject([
      { id: "LSN-0102-1" },
    ]);
  });

  test("what was withdrawn says nothing, and what has no fix is affected", async () => {
    const { records } = await read("osv", {
      "1.json": record("ALSA-1", "AlmaLinux:9", "kernel", { withdrawn: "2024-06-02T00:00:00Z" }),
      "2.json": {
        ...record("DEBIAN-CVE-2024-1086", "Debian:12", "linux"),
        affected: [{ package: { ecosystem: "Debian:12", name: "linux" } }],
      },
    });

    expect(advisories(records)).toEqual(["debian12 linux affected "]);
  });
});

test("live patches: what is not applied, or not patched by it, closes nothing", async () => {
  const status = (State: string) => ({
    "Last-Check": "2026-08-01T10:00:00Z",
    Status: [
      {
        Kernel: "5.15.0-91.101-generic",
        Livepatch: {
          State,
          Version: "1",
          Fixes: [
            { Name: "cve-2024-1086", Patched: true },
            { Name: "cve-2024-2", Patched: true },
            { Name: "cve-2024-1087", Patched: false },
          ],
        },
      },
    ],
  });
  const of = async (state: string) => (await read("livepatch", { "web-1.json": status(state) })).records;

  const patch = { kernel: "5.15.0-91-generic", node: "web-1", cves: ["CVE-2024-1086"] };
  expect(await of("applied")).toMatchObject([{ ...patch, state: "applied" }]);
  expect(await of("kernel-upgrade-required")).toMatchObject([{ ...patch, state: "not_applied" }]);
});

test("live patches: lines have a state, or what the kernel itself says of the patch", async () => {
  const line = {
    node: "web-1",
    kernel: "6.12.1",
    patch: "lp",
    cves: ["CVE-2024-1086"],
    at: "2026-08-01T23:00:00Z",
  };
  const of = (...more: object[]) =>
    read("livepatch", { "lp.ndjson": more.map((one) => JSON.stringify({ ...line, ...one })).join("\n") });
  const stateOf = async (attributes: object) =>
    (await of(attributes)).records.map((one) => "state" in one && one.state);

  expect(await of({ enabled: 1, transition: "0", replace: true, stack_order: "2" })).toMatchObject({
    date: "2026-08-01",
    records: [{ state: "applied", replace: true, stackOrder: 2, at: "2026-08-01" }],
  });
  expect(await stateOf({ enabled: 1, transition: 1 })).toEqual(["in_transition"]);
  expect(await stateOf({ enabled: 0, transition: 1 })).toEqual(["in_transition"]);
  expect(await stateOf({ enabled: false, transition: false })).toEqual(["not_applied"]);
  // What the kernel says counts more than what somebody made of it.
  expect(await stateOf({ enabled: 1, transition: 1, state: "applied" })).toEqual(["in_transition"]);
  expect(await stateOf({ state: "applied", cves: undefined })).toEqual(["applied"]);
  expect((await of({ enabled: 2, transition: 0 }, { patch: "other" }, { enabled: 1 })).bad).toMatchObject([
    { reason: "has attributes that are not those of /sys/kernel/livepatch", count: 2 },
    { count: 1, first: "lp.ndjson:2" },
  ]);
});

test("days are days of the calendar, in UTC where their zone is named", () => {
  const days = [
    "2024-02-26",
    "2024-02-26T23:30:00-05:00",
    "2025-01-30 03:53:00",
    "2024-02-31",
    "26 Feb 2024",
    "",
    undefined,
  ];

  expect(days.map(dayOf)).toEqual([
    "2024-02-26",
    "2024-02-27",
    "2025-01-30",
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});

test("kernel packages are told from what only comes with kernels", () => {
  const kernels = [
    "linux",
    "linux-6.1",
    "linux-aws-5.15",
    "kernel",
    "kernel-rt",
    "kernel-uek",
    "kernel-livepatch-6.1.127-135.201",
  ];
  const others = [
    "linux-libc-dev",
    "linux-headers-6.1.0-28-amd64",
    "linux-firmware",
    "kernel-headers",
    "kernel-tools",
    "bpftool",
    "kernelshark",
    "util-linux",
  ];

  expect(kernels.filter((name) => !isKernelPackage(name))).toEqual([]);
  expect(others.filter(isKernelPackage)).toEqual([]);
  expect(["Debian:12", "Alpine:v3.20", "Linux"].map(releaseOfEcosystem)).toEqual([
    "debian12",
    "Alpine:v3.20",
    "Linux",
  ]);
});
