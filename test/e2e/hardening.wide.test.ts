/**
 * Drivers that leave out what their kernel guards itself with, on a real kernel of Debian 13: what the kernel would die
 * of keeps one from being stable, and what a build says of the others stands in their manifests.
 */
import { globSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import type { Manifest } from "../../src/registry/documents.ts";
import { type TestFarm, useFarms } from "../support/e2e-farm.ts";

const farms = useFarms();
let farm: TestFarm;
let rows: ReadonlyMap<string, { readonly outcome: string; readonly why: string }>;

const ENTRY = `#include <linux/module.h>
static int __init entry_init(void) { pr_info("here\\n"); return 0; }
static void __exit entry_exit(void) { }
module_init(entry_init);
module_exit(entry_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a test");
`;
const WRAP = `#include <linux/module.h>
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a test");
`;
/** Built elsewhere and shipped: neither marked nor seen by anybody. */
const BARE = `	.text
	.globl init_module
	.type init_module, @function
init_module:
	xorl %eax, %eax
	ret
	.size init_module, .-init_module
	.globl cleanup_module
	.type cleanup_module, @function
cleanup_module:
	ret
	.size cleanup_module, .-cleanup_module
	.section .note.GNU-stack,"",@progbits
`;

const TREES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  whole: { Kbuild: "obj-m := whole.o\n", "whole.c": ENTRY },
  unmarked: {
    Kbuild: "obj-m := unmarked.o\nunmarked-y := entry.o\nCFLAGS_entry.o += -fcf-protection=none\n",
    "entry.c": ENTRY,
  },
  shipped: { Kbuild: "obj-m := shipped.o\nshipped-y := wrap.o bare.o\n", "wrap.c": WRAP, "bare.S": BARE },
};

beforeAll(async () => {
  const mirror = await farms.mirror();
  farm = await farms.farm({
    mirror,
    releases: ["debian13"],
    drivers: Object.keys(TREES).map((name) => ({ name, source: name, versions: ["1.0.0"] })),
    select: { architectures: ["x86_64"], kernelRelease: "6\\.12\\..*-cloud-amd64", newest: 1 },
  });
  for (const [name, files] of Object.entries(TREES)) {
    await mkdir(join(farm.directory, name));
    for (const [file, text] of Object.entries(files)) await writeFile(join(farm.directory, name, file), text);
  }
  await farm.cli("catalog", "update");
  const { stdout } = await farm.cli("build", "--json");
  const found = (JSON.parse(stdout) as { elements: { driver: string; outcome: string; attempt: object }[] })
    .elements;
  rows = new Map(
    found.map(({ driver, outcome, attempt }) => [driver, { outcome, why: JSON.stringify(attempt) }]),
  );
}, 1_800_000);

async function manifestOf(driver: string): Promise<Manifest> {
  const blobs = await Promise.all(
    globSync(join(farm.store, "blobs/sha256/*/*")).map((file) => readFile(file, "utf8")),
  );
  const manifests = blobs
    .filter((text) => text.includes('"kmodfarm.manifest/2"') && text.startsWith("{"))
    .map((text) => JSON.parse(text) as Manifest);
  const found = manifests.find(({ identity }) => identity.driver.name === driver);
  if (found === undefined) throw new Error(`there is no manifest of ${driver}`);
  return found;
}

it("a module without marks at what the kernel calls is refused", () => {
  for (const driver of ["unmarked", "shipped"])
    expect(rows.get(driver)?.why).toMatch(
      /environment: fail: \w+ has no endbr64 at init_module and cleanup_module/,
    );
});

it("one that was built as its kernel was is not", () => {
  expect(rows.get("whole")?.why).not.toContain("endbr64");
});

it("objtool's warnings are counted, and a whole module has nothing held against it, in the manifest", async () => {
  const [whole, unmarked] = [await manifestOf("whole"), await manifestOf("unmarked")];

  expect(unmarked.remarks?.objtool?.warnings).toBeGreaterThan(0);
  // Debian 13 has what BTF is made from beside its headers.
  expect(whole.verdicts.find(({ check }) => check === "environment")?.reasons).toEqual([
    { code: "sameCompiler", text: expect.stringMatching(/^built with gcc 14/) },
  ]);
});
