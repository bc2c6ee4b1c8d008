import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { inProcess } from "../support/in-process.ts";
import { realListFile, whyNoRealLists } from "../support/lists.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));
const FIXTURE = join(CHECKOUT, "test/fixtures/kernel-crawler/x86_64.json");
const MISSING = whyNoRealLists();
if (MISSING !== undefined) console.log(`skipped: ${MISSING}`);

interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line as a user does, in a directory of its own. */
async function kmodfarm(directory: string, ...args: readonly string[]): Promise<Outcome> {
  const run = promisify(execFile)(join(CHECKOUT, "bin/kmodfarm"), args, {
    cwd: directory,
    maxBuffer: 1 << 28,
  });
  try {
    return { exitCode: 0, ...(await run) };
  } catch (thrown) {
    const { code, stdout, stderr } = thrown as { code: number; stdout: string; stderr: string };
    return { exitCode: code, stdout, stderr };
  }
}

const here = (directory: string, ...args: readonly string[]) => inProcess(args, { cwd: directory });

/** The list that the sample of the original pipeline comes from. */
const SAMPLE = {
  amazonlinux2023: [
    {
      kernelversion: 1,
      kernelrelease: "6.1.12-17.42.amzn2023.x86_64",
      target: "amazonlinux2023",
      headers: [
        "https://cdn.example/al2023/core/guids/1f/x86_64/../../../../blobstore/9a/kernel-devel-6.1.12-17.42.amzn2023.x86_64.rpm",
      ],
    },
  ],
  fedora: [{ kernelversion: 1, kernelrelease: "../../etc", target: "fedora" }],
};

describe("matrix generate from a kernel list", () => {
  const FLAGS = [
    "--distro=ubuntu,amazonlinux2,amazonlinux2023,fedora,almalinux,debian",
    ...["--arch=x86_64,aarch64", "--driver-version=0.1.1", String.raw`--kernel-release=.*6\.[0-9]+\..*`],
  ];

  test.each([
    ["list.json", (text: string) => text],
    ["list.json.gz", (text: string) => gzipSync(text)],
    ["list.json.zst", (text: string) => zstdCompressSync(text)],
  ])("gives the original's sample element key for key (%s)", async (name, pack) => {
    const directory = await temporaryDirectory();
    await writeFile(join(directory, name), pack(JSON.stringify(SAMPLE)));

    const { exitCode, stdout, stderr } = await kmodfarm(
      directory,
      "matrix",
      "generate",
      "--catalog",
      name,
      ...FLAGS,
    );

    expect(exitCode, stderr).toBe(0);
    const elements = JSON.parse(stdout) as object[];
    expect(elements).toHaveLength(1);
    expect(elements[0]).toMatchObject({
      kversion: "6.1.12-17.42.amzn2023.x86_64",
      distribution: "amazonlinux2023",
      architecture: "x86_64",
      kernelurls: ["https://cdn.example/al2023/blobstore/9a/kernel-devel-6.1.12-17.42.amzn2023.x86_64.rpm"],
      output: "0.1.0/amazonlinux2023/x86_64/6.1.12-17.42.amzn2023.x86_64",
      driverversion: "0.1.1",
      distributionId: "amzn",
      distributionVersion: "2023",
    });
    expect(stderr).toContain("1 entry dropped");
    expect(stderr).toContain("kernelrelease: not a safe name");
  });
});

describe("catalog import and export", () => {
  test("takes a list, says what it made of it, and gives it back", async () => {
    const directory = await temporaryDirectory();

    const imported = await here(directory, "catalog", "import", FIXTURE, "--json");
    const again = await here(directory, "catalog", "import", FIXTURE, "--json");
    const exported = await here(directory, "catalog", "export", "--format", "kernel-crawler");
    const listed = await here(directory, "catalog", "list", "--distro", "minikube,unknown");

    expect(imported.exitCode, imported.stderr).toBe(0);
    expect(JSON.parse(imported.stdout)).toMatchObject({
      ...{ format: "kernel-crawler", list: "kernel-crawler-x86_64", added: 32, kernels: 32, unbuildable: 2 },
      ...{ unknownRelease: 1, dropped: [], suspect: [] },
    });
    expect(JSON.parse(again.stdout)).toMatchObject({ read: 32, added: 0, withdrawn: 0, formatChanges: [] });
    await writeFile(join(directory, "out.json"), exported.stdout);
    const other = await here(directory, "catalog", "import", "out.json", "--store", "other", "--json");
    expect(JSON.parse(other.stdout)).toMatchObject({ added: 32, dropped: [] });
    expect(listed.stdout).toMatch(/minikube1\.25\.0 .*not buildable: the list has its configuration/);
    expect(listed.stdout).toMatch(/^unknown /m);
  });

  test("writes and reads driverkit's tree", async () => {
    const directory = await temporaryDirectory();
    await here(directory, "catalog", "import", FIXTURE);

    const flags = ["--driver", "falco", "--driver-version", "7.3.0+driver", "--output", "config"];
    const written = await here(directory, "catalog", "export", "--format", "driverkit", ...flags);
    const read = await here(directory, "catalog", "import", "config", "--store", "other", "--json");

    expect(written.exitCode, written.stderr).toBe(0);
    const file = "config/7.3.0+driver/x86_64/centos_3.10.0-1160.el7.x86_64_1.yaml";
    expect(await readFile(join(directory, file), "utf8")).toContain(
      "kernelrelease: 3.10.0-1160.el7.x86_64\n",
    );
    expect(JSON.parse(read.stdout)).toMatchObject({ format: "driverkit", added: 32, dropped: [] });
  });

  test.each([
    ["a list that is cut off", '{"debian":[{"kernelversion":1,', /is cut off after/],
    ["another document", '{"name":"x","files":["a"]}', /is not a kernel-crawler list/],
    ["an array", "[1]", /neither a catalog nor a kernel list/],
    ["nothing", "", /neither a catalog nor a kernel list/],
    ["half a gzip", gzipSync(JSON.stringify(SAMPLE)).subarray(0, 60), /cannot be decompressed/],
  ])("answers %s with one clear error", async (_, content, fact) => {
    const directory = await temporaryDirectory();
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, "bad"), content);

    const { exitCode, stderr } = await here(directory, "catalog", "import", "bad");

    expect(exitCode).toBe(2);
    expect(stderr).toMatch(fact);
    expect(stderr).toMatch(/\[DOCUMENT_INVALID\]\n$/);
  });
});

describe.skipIf(MISSING !== undefined)("real lists on the command line", () => {
  test("a list that lost Oracle's kernels names the releases, exits 3, and nothing is gone", async () => {
    const directory = await temporaryDirectory();
    const first = await here(directory, "catalog", "import", realListFile("2022-05-03"), "--json");

    const second = await here(directory, "catalog", "import", realListFile("2022-05-08"), "--json");
    const third = await here(directory, "catalog", "import", realListFile("2022-05-22"), "--json");

    expect([first.exitCode, second.exitCode, third.exitCode]).toEqual([0, 3, 0]);
    expect(second.stderr).toContain('"code":"CATALOG_SUSPECT"');
    const suspect = JSON.parse(second.stdout).suspect as { source: string; detail: string }[];
    expect(suspect.map(({ source, detail }) => `${source}: ${detail.split(" are ")[0]}`)).toEqual([
      "kernel-crawler-x86_64/ol6: 142 of its 324 kernels",
      "kernel-crawler-x86_64/ol7: 331 of its 376 kernels",
      "kernel-crawler-x86_64/ol8: 85 of its 85 kernels",
    ]);
    expect(JSON.parse(third.stdout)).toMatchObject({ suspect: [] });
  });

  test("matrix diff counts two lists as their publisher does, and calls a new format a new format", async () => {
    const directory = await temporaryDirectory();
    const diff = (a: string, b: string) =>
      here(directory, "matrix", "diff", realListFile(a), realListFile(b), "--report");

    const [quiet, format] = [await diff("2022-09-22", "2022-09-28"), await diff("2022-04-24", "2022-05-03")];

    expect(quiet.stdout).toMatch(/^31 added, 1 changed, 22 removed, 104 only moved, 4391 unchanged$/m);
    expect(quiet.stdout).not.toContain("format change");
    expect(format.stdout).toMatch(/^format change: ubuntu: header packages are named now \(2472 entries\)$/m);
  });
});
