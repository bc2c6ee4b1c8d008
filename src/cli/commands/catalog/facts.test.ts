/** What people and other farms read of kernels, whether a store keeps facts beside the catalog or an earlier version in it. */
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { inProcess } from "../../../../test/support/in-process.ts";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";
import type { AnnotatedKernel } from "../../../catalog/annotated.ts";
import type { Element } from "../../../matrix/element.ts";

const FIXTURES = join(import.meta.dirname, "../../../../test/fixtures/stores");

/** A farm of its own on a copy of a store, and its command line. */
async function farmOn(fixture?: string) {
  const directory = await temporaryDirectory();
  await writeFile(join(directory, "kmodfarm.yaml"), "{}\n");
  if (fixture !== undefined) await cp(join(FIXTURES, fixture), join(directory, "store"), { recursive: true });
  const places = ["--config", join(directory, "kmodfarm.yaml"), "--store", join(directory, "store")];
  return {
    directory,
    run: async (...argv: string[]) => {
      const { exitCode, stdout, stderr } = await inProcess([...argv, ...places], { cwd: directory });
      if (exitCode !== 0) throw new Error(stderr);
      return stdout;
    },
  };
}

const kernelsIn = (text: string) => (JSON.parse(text) as { kernels: AnnotatedKernel[] }).kernels;

/** What the earlier version wrote, and so listed. */
async function writtenKernels(): Promise<AnnotatedKernel[]> {
  const blobs = join(FIXTURES, "annotated", "blobs");
  const found: AnnotatedKernel[] = [];
  for (const entry of await readdir(blobs, { recursive: true, withFileTypes: true })) {
    const text = entry.isFile() ? await readFile(join(entry.parentPath, entry.name), "utf8") : "";
    if (text.includes('"schema":"kmodfarm.kernels/1"')) found.push(...kernelsIn(text));
  }
  return found.toSorted((a, b) => (a.kversion < b.kversion ? -1 : 1));
}

/** Which packages it has, whoever says so; and nothing that somebody learned of them. */
function withoutClaims({ kversion, packageVersion, packages }: AnnotatedKernel | Element) {
  return {
    kversion,
    packageVersion,
    digests: Object.values(packages)
      .flat()
      .map(({ sha256 }) => sha256),
  };
}

describe.each(["annotated", "facts"])("on a store of the form %s", (fixture) => {
  test("catalog list says what was ever said of a kernel", async () => {
    const { run } = await farmOn(fixture);

    const listed = kernelsIn(await run("catalog", "list", "--json"));
    const table = await run("catalog", "list");

    expect(listed.toSorted((a, b) => (a.kversion < b.kversion ? -1 : 1))).toEqual(await writtenKernels());
    expect(table).toMatch(/6\.1\.0-55-amd64 .* gcc-12\.2\.0 +not loadable since 2026-11-20/);
    expect(table).toMatch(/6\.1\.0-57-amd64 .* gcc-12 +not fetchable since 2026-11-21/);
    expect(table).toMatch(/6\.1\.0-56-amd64 .* gcc-12 +listed/);
  });

  test("an export tells another farm which kernels there are, and not whom to believe", async () => {
    const [ours, theirs] = [await farmOn(fixture), await farmOn()];
    const file = join(theirs.directory, "catalog.json");
    await writeFile(file, await ours.run("catalog", "export"));

    await theirs.run("catalog", "import", file);

    const list = ["catalog", "list", "--json"];
    expect(kernelsIn(await theirs.run(...list)).map(withoutClaims)).toEqual(
      kernelsIn(await ours.run(...list)).map(withoutClaims),
    );
    const wanted = ["matrix", "generate", "--driver", "doorbell", "--driver-version", "0.1.1"];
    const matrices = [
      await ours.run(...wanted),
      await theirs.run(...wanted),
      await ours.run(...wanted, "--catalog", file),
    ].map((text) => JSON.parse(text) as Element[]);
    expect(matrices[1]?.map(withoutClaims)).toEqual(matrices[0]?.map(withoutClaims));
    expect(matrices[2]).toEqual(matrices[0]);
    expect(matrices[0]?.map(({ kversion, compiler }) => [kversion, compiler?.version])).toContainEqual([
      "6.1.0-55-amd64",
      "12.2.0",
    ]);
  });

  test("the newest kernel is one that can be fetched", async () => {
    const { run } = await farmOn(fixture);

    const newest = await run("catalog", "list", "--newest", "1", "--arch", "x86_64");

    expect(newest).toContain("6.1.0-56-amd64");
    expect(newest).not.toContain("6.1.0-57-amd64");
  });
});

test("generations say of how many kernels something was learned", async () => {
  const { run } = await farmOn("facts");

  expect(await run("generations")).toMatch(/^2 .* facts of 1 kernel$/m);
});
