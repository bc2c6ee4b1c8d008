import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { inProcess } from "../../../../test/support/in-process.ts";
import { makeCatalog, makeKernel } from "../../../../test/support/kernels.ts";
import { startServer } from "../../../../test/support/server.ts";
import { farmWith } from "../../../../test/support/stored-farm.ts";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";
import { kernelName } from "../../../kernel/kernel.ts";

const SHA = "a".repeat(40);
const cve = (id: string, fixed: string, title = id) =>
  JSON.stringify({
    id,
    published: "2026-08-20",
    title,
    fix: [SHA],
    pairs: [["6.1", SHA, fixed, SHA]],
    files: ["a.c"],
  });
// Published before the feed's day: of what is newer nobody can say that it is open.
const [OLD, NEW] = [
  makeKernel({ kversion: "6.1.0-50-amd64", packageVersion: "6.1.150-1" }),
  makeKernel({ kversion: "6.1.0-52-amd64", packageVersion: "6.1.170-1" }),
] as const;
const HOSTILE = "\u001b[2J=cmd()";

async function farmWithCves() {
  const farm = await farmWith([], undefined, makeCatalog([OLD, NEW]));
  const file = join(await temporaryDirectory(), "cves.ndjson");
  await writeFile(
    file,
    [cve("CVE-2026-1001", "6.1.155"), cve("CVE-2026-1002", "6.1.180", HOSTILE)].join("\n"),
  );
  const gap = (...argv: string[]) => inProcess(["gap", ...argv, "--config", farm.config.file]);
  const ingested = await gap("ingest", `compact=${file}`);
  expect(ingested.exitCode, ingested.stderr).toBe(0);
  expect(ingested.stdout).toMatch(
    /^FEED .*\ncompact +2026-08-20 +2 +0 +read\n\n1 feed read, 0 unchanged\. Generation \d+\.\n$/,
  );
  return gap;
}

describe("gap explain", () => {
  test("of a CVE shows the newest kernels of the farm", async () => {
    const gap = await farmWithCves();

    const open = await gap("explain", "CVE-2026-1002");
    const closed = await gap("explain", "CVE-2026-1001");

    expect(open.stdout).toMatch(
      new RegExp(`^${kernelName(NEW)} +affected \\(provisional\\) +6\\.1\\.180 +E1`, "m"),
    );
    expect(open.stdout).not.toContain("\u001b");
    expect([open.exitCode, closed.exitCode]).toEqual([1, 0]);
    expect(closed.stdout).toMatch(new RegExp(`^${kernelName(NEW)} +fixed +6\\.1\\.155 +E1`, "m"));
  });

  test("of a kernel says how many CVEs have which verdict", async () => {
    const gap = await farmWithCves();

    const { stdout } = await gap("explain", OLD.kversion, "--json");

    expect(JSON.parse(stdout)).toMatchObject({ kernel: kernelName(OLD), counts: { fixed: 0, affected: 2 } });
  });

  test("of a kernel that nobody knows says so", async () => {
    const gap = await farmWithCves();

    expect(await gap("explain", "6.1.0-99-amd64")).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("KERNEL_UNKNOWN"),
    });
  });
});

test("gap explain of a node counts its live patches, and export says so of the node alone", async () => {
  const gap = await farmWithCves();
  const directory = await temporaryDirectory();
  const [nodes, patches] = [join(directory, "nodes.ndjson"), join(directory, "patches.ndjson")];
  const version = `#1 SMP PREEMPT_DYNAMIC Debian ${NEW.packageVersion} (2026-08-20)`;
  const node = (name: string, release = NEW.kversion) =>
    JSON.stringify({ node: name, release, version, machine: "x86_64", at: "2026-08-21T00:00:00Z" });
  await writeFile(nodes, [node("web-1"), node("web-2"), node("web-3", "9.9")].join("\n"));
  const patch = { patch: "lp", enabled: 1, transition: 0, replace: 0, cves: ["CVE-2026-1002"] };
  await writeFile(patches, JSON.stringify({ node: "web-1", kernel: NEW.kversion, ...patch }));
  expect(await gap("ingest", `nodes=${nodes}`, `livepatch=${patches}`)).toMatchObject({ exitCode: 0 });

  const explained = await gap("explain", "CVE-2026-1002", "--node", "web-1", "--node", "web-2");
  const vex = JSON.parse(
    (await gap("export", "web-1", "--cve", "CVE-2026-1002", "--format", "openvex")).stdout,
  );

  expect(explained.exitCode).toBe(1);
  expect(explained.stdout).toMatch(/ on web-1 +livepatched +- +E1 livepatch/);
  expect(explained.stdout).toMatch(/ on web-2 +affected \(provisional\) +6\.1\.180/);
  expect(await gap("explain", "web-1")).toMatchObject({ stdout: expect.stringMatching(/^livepatched +1$/m) });
  expect(vex.statements).toMatchObject([
    {
      ...{ status: "not_affected", justification: "inline_mitigations_already_exist" },
      products: [
        { "@id": "urn:kmodfarm:node:web-1", subcomponents: [{ "@id": expect.stringContaining("pkg:deb/") }] },
      ],
    },
  ]);
  expect(await gap("explain", "web-3")).toMatchObject({
    stderr: expect.stringMatching(
      /the node web-3 was last seen with a kernel that cannot be told.*KERNEL_UNKNOWN/s,
    ),
  });
});

test("gap notices reports what is new once, here and to a webhook, and exits with 3 while that fails", async () => {
  const seen = { unseenAt: "2026-08-21T00:00:00Z", firstSeen: "2026-08-22T00:00:00Z" };
  const farm = await farmWith([], undefined, makeCatalog([OLD, { ...NEW, ...seen }]));
  const { base, file } = farm.config;
  await writeFile(join(base, "cves.ndjson"), cve("CVE-2026-1001", "6.1.155", HOSTILE));
  await writeFile(join(base, "secret"), "x".repeat(24));
  const bodies: string[] = [];
  let status = 401;
  const { url } = await startServer((request, response) => {
    void text(request).then((body) => {
      bodies.push(body);
      response.writeHead(status).end();
    });
  });
  const webhook = { name: "chat", url, secretFile: "secret" };
  await writeFile(file, JSON.stringify({ notices: { webhooks: [webhook] } }));
  const gap = (...argv: string[]) => inProcess(["gap", ...argv, "--config", file]);
  await gap("ingest", `compact=${join(base, "cves.ndjson")}`);

  const dry = await gap("notices", "--dry-run");
  const first = await gap("notices");
  status = 204;
  const second = await gap("notices", "--json");

  const line = "new kernel: debian12 6.1.170-1 (6.1.0-52-amd64) closes 1 CVE\n";
  expect(dry.stdout).toContain(line);
  expect(first).toMatchObject({
    ...{
      exitCode: 3,
      stdout: expect.stringMatching(/^digest of .*\n {2}CVE-2026-1001: \\u\{1b\}\[2J=cmd\(\)\n/s),
    },
    stderr: expect.stringContaining("webhook chat: "),
  });
  expect(first.stdout).toContain(line);
  expect([second.exitCode, JSON.parse(second.stdout)]).toEqual([
    0,
    { schema: "kmodfarm.gap-notices/1", messages: [], slo: [] },
  ]);
  expect(new Set(bodies).size).toBe(1);
  expect(await gap("notices")).toMatchObject({ exitCode: 0, stdout: "nothing new\n" });
});

describe("what is not known", () => {
  const entry = (suite: string, version: string) =>
    `linux (${version}) ${suite}; urgency=medium\n\n  * New upstream stable update\n\n -- A <a@b.c>  Thu, 20 Aug 2026 10:00:00 +0000\n\n`;

  /** Feeds that are named, without a farm. */
  async function named(files: Readonly<Record<string, string>>) {
    const directory = await temporaryDirectory();
    for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
    const at = (name: string) => join(directory, name);
    return {
      at,
      gap: (...argv: string[]) => inProcess(["gap", ...argv, "--feed", `compact=${at("cves")}`]),
    };
  }

  test("is no all-clear: a CVE in no feed, a release that nobody knows, no releases, no kernel", async () => {
    const { gap } = await named({ cves: cve("CVE-2026-1001", "6.1.155") });

    const absent = await gap("explain", "CVE-2026-9999", "--release", "6.1.155");
    const alone = await gap("explain", "CVE-2026-1001");
    const release = await gap("explain", "6.1.160");
    const open = await gap("explain", "6.1.150");

    expect(absent).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining("no feed has CVE-2026-9999, which does not mean"),
    });
    expect(alone).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining("no kernel to look at is known"),
    });
    expect(release).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining("no feed has the releases of kernel.org"),
    });
    expect(open.exitCode).toBe(1);
  });

  test("is no all-clear: a kernel that is newer than the feed", async () => {
    const { gap, at } = await named({
      cves: cve("CVE-2026-1001", "6.1.180"),
      releases: "6.1.170 2026-11-01\n",
    });

    const { exitCode, stdout, stderr } = await gap(
      "explain",
      "6.1.170",
      "--feed",
      `releases=${at("releases")}`,
    );

    expect({ exitCode, stderr }).toEqual({ exitCode: 3, stderr: "" });
    expect(stdout).toMatch(/^unknown +1$/m);
  });

  test("is no all-clear: releases are known, and this one is none", async () => {
    const { gap, at } = await named({
      cves: cve("CVE-2026-1001", "6.1.155"),
      releases: "6.1.160 2026-08-01\n",
    });
    const feed = ["--feed", `releases=${at("releases")}`];

    expect(await gap("explain", "6.1.160", ...feed)).toMatchObject({ exitCode: 0, stderr: "" });
    expect(await gap("explain", "6.1.999", ...feed)).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining("no feed knows a release 6.1.999"),
    });
  });

  test("is a feed without a good record, or a file that is not there", async () => {
    const { gap } = await named({ cves: '{"id": 1}\n{"id": 2}\n' });
    const farm = await farmWith([]);

    expect(await gap("explain", "6.1.160")).toMatchObject({
      exitCode: 3,
      stderr: expect.stringMatching(/has no record that can be read, .*FEED_SUSPECT/s),
    });
    expect(
      await inProcess(["gap", "ingest", "cna=/nonexistent", "--config", farm.config.file]),
    ).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/\/nonexistent is not there.*FILE_UNREADABLE/s),
    });
  });

  test("is a feed that is cut off: it is named as it is called, and nobody is asked to accept it", async () => {
    const farm = await farmWith([]);
    const file = join(await temporaryDirectory(), "cves.ndjson.gz");
    await writeFile(file, gzipSync(cve("CVE-2026-1001", "6.1.155")).subarray(0, -12));

    const told = await inProcess(["gap", "ingest", `compact=${file}`, "--config", farm.config.file]);

    expect(told.exitCode).toBe(3);
    expect(told.stderr).toContain("compact: cves.ndjson.gz cannot be decompressed");
    expect(told.stderr).not.toContain("--accept-suspect");
  });

  test("is said by a report and an export that have nothing to show", async () => {
    const { gap } = await named({ cves: cve("CVE-2026-1001", "6.1.155") });

    expect(await gap("report")).toMatchObject({
      exitCode: 3,
      stdout: "",
      stderr: expect.stringContaining("nothing to report: no changelog and no advisory"),
    });
    for (const format of ["ndjson", "openvex"])
      expect(await gap("export", "--format", format)).toMatchObject({
        exitCode: 3,
        stdout: "",
        stderr: expect.stringContaining("nothing to export: feeds that are named know no kernels"),
      });
  });

  test("is explained below a report, whose sections name package and series", async () => {
    const { gap, at } = await named({
      cves: cve("CVE-2026-1001", "6.1.155"),
      changelog: entry("bookworm-security", "6.1.170-1") + entry("bookworm", "6.1.150-1"),
    });

    const { stdout } = await gap("report", "--changelog", `debian12=${at("changelog")}`);

    expect(stdout).toMatch(/^debian12, linux 6\.1\n/);
    expect(stdout).toMatch(/^OPEN: .*EARLY: .*Slips: /m);
  });
});

describe("gap export", () => {
  test("as CSV has every cell of a kernel, as explain has it", async () => {
    const gap = await farmWithCves();

    const csv = (await gap("export", OLD.kversion, "--format", "csv")).stdout.trim().split("\n").slice(1);
    const { verdicts } = JSON.parse((await gap("explain", OLD.kversion, "--json")).stdout);

    expect(csv.map((line) => line.split(",").slice(1, 3))).toEqual(
      verdicts.map((one: { cve: string; verdict: string }) => [one.cve, one.verdict]),
    );
  });

  test("as OpenVEX names the package, and as OSV the versions that are open", async () => {
    const gap = await farmWithCves();

    const vex = JSON.parse((await gap("export", OLD.kversion, NEW.kversion, "--format", "openvex")).stdout);
    const osv = (await gap("export", OLD.kversion, NEW.kversion, "--format", "osv")).stdout
      .trim()
      .split("\n");

    expect(vex.statements).toHaveLength(4);
    expect(vex.statements[0].products[0]["@id"]).toBe("pkg:deb/debian/linux@6.1.150-1?distro=debian-12");
    expect(osv.map((line) => JSON.parse(line)).map(({ id, affected }) => [id, affected[0].versions])).toEqual(
      [
        ["CVE-2026-1001", ["6.1.150-1"]],
        ["CVE-2026-1002", ["6.1.150-1", "6.1.170-1"]],
      ],
    );
  });
});

test("without feeds there is nothing to say, and how to get some", async () => {
  const farm = await farmWith([]);

  const { exitCode, stderr } = await inProcess([
    "gap",
    "explain",
    "CVE-2026-1001",
    "--config",
    farm.config.file,
  ]);

  expect(exitCode).toBe(2);
  expect(stderr).toContain("gap ingest");
});
