import { execFileSync } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { craftModule } from "../../../test/support/crafted-module.ts";
import { makeDeb } from "../../../test/support/debs.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { unpackWhole } from "../../base/decompress.ts";
import { FarmError } from "../../base/error.ts";
import { openScratch } from "../../base/scratch.ts";
import { openModule } from "../../formats/compressed-module.ts";
import type { Inputs } from "../../inputs/inputs.ts";
import type { Package } from "../../kernel/kernel.ts";
import { fetchKernelTree } from "./kernel-tree.ts";

const KVERSION = "6.1.0-56-amd64";
const DUMMY = craftModule("dummy", { modinfo: ["alias=rtnl-link-dummy"] });
const FILES = {
  [`lib/modules/${KVERSION}/kernel/drivers/net/dummy.ko`]: DUMMY,
  [`lib/modules/${KVERSION}/kernel/lib/damaged.ko`]: "no module",
  [`lib/modules/${KVERSION}/modules.builtin`]: "kernel/net/unix/unix.ko\n",
  [`lib/modules/${KVERSION}/build`]: "",
  "boot/vmlinuz": "kernel",
};

async function kernelOf(files: Readonly<Record<string, string | Uint8Array>>) {
  const directory = await temporaryDirectory();
  const debs = [await makeDeb(directory, "linux-image", files)];
  const read: string[] = [];
  const inputs = {
    stream: <T>({ name }: Package, consume: (body: ReturnType<typeof createReadStream>) => Promise<T>) => {
      read.push(name);
      return consume(createReadStream(debs[0] as string));
    },
  } as unknown as Inputs;
  const context = {
    inputs,
    scratch: await openScratch(join(directory, "scratch")),
    cache: join(directory, "cache"),
  };
  const image = {
    ...{ name: "linux-image", version: "1", source: "debian/bookworm", path: "linux-image.deb" },
    ...{ sha256: "0".repeat(64), size: 1 },
  } as Package;
  const fetch = (
    unopened: readonly ("zst" | "xz" | "gz")[] = [],
    named: Partial<Package> = {},
    own: Partial<typeof context> = {},
  ) => fetchKernelTree(KVERSION, [{ ...image, ...named }], unopened, { ...context, ...own });
  return { directory, read, fetch };
}

async function unpacked(archive: string, directory: string) {
  const tree = join(directory, "unpacked");
  await mkdir(tree);
  execFileSync("cpio", ["--extract", "--quiet", "--make-directories"], {
    cwd: tree,
    input: await readFile(archive),
  });
  return join(tree, "lib/modules", KVERSION);
}

describe("fetchKernelTree", () => {
  test("gives all modules of a kernel, compressed where they are not, and what modprobe finds them by", async () => {
    const { directory, fetch } = await kernelOf(FILES);

    const tree = await unpacked(await fetch(), directory);

    const packed = await readFile(join(tree, "kernel/drivers/net/dummy.ko.zst"));
    expect(await openModule(packed, "dummy.ko.zst", unpackWhole)).toEqual(DUMMY);
    expect((await readdir(tree)).toSorted()).toEqual([
      ...[
        "kernel",
        "modules.alias.bin",
        "modules.builtin",
        "modules.builtin.alias.bin",
        "modules.builtin.bin",
      ],
      ...[
        "modules.builtin.modinfo",
        "modules.dep.bin",
        "modules.softdep",
        "modules.symbols.bin",
        "modules.weakdep",
      ],
    ]);
    const asked = execFileSync("modprobe", [
      "-d",
      join(tree, "../../.."),
      "-S",
      KVERSION,
      "--show-depends",
      "rtnl-link-dummy",
    ]);
    expect(asked.toString()).toContain("drivers/net/dummy.ko.zst");
  });

  test("reads packages once for what a kmod opens", async () => {
    const { read, fetch } = await kernelOf(FILES);
    const archive = await fetch();

    expect(await fetch()).toBe(archive);
    expect(read).toHaveLength(1);
    expect(await fetch(["zst"])).not.toBe(archive);
    expect(read).toHaveLength(2);
  });

  test("leaves modules as they are where the release's kmod opens nothing", async () => {
    const { directory, fetch } = await kernelOf(FILES);

    const tree = await unpacked(await fetch(["zst", "gz"]), directory);

    expect(await readdir(join(tree, "kernel/drivers/net"))).toEqual(["dummy.ko"]);
  });

  test("lets nobody else bear that somebody names the same bytes wrongly, or has no place for them", async () => {
    const { fetch } = await kernelOf({ ...FILES, "usr/share/doc/of": "bytes of their own" });
    const nowhere = {
      stream: () => Promise.reject(new FarmError("REMOTE_UNAVAILABLE", { detail: "no server answers" })),
    } as unknown as Inputs;

    const [wrongly, elsewhere, honest] = await Promise.allSettled([
      fetch([], { path: "pool/evil.rpm" }),
      fetch([], {}, { inputs: nowhere }),
      fetch(),
    ]);
    const later = fetch();

    expect([wrongly, elsewhere]).toMatchObject([
      { reason: { code: "PACKAGE_MALFORMED" } },
      { reason: { code: "REMOTE_UNAVAILABLE" } },
    ]);
    expect(honest).toMatchObject({ status: "fulfilled" });
    await expect(later).resolves.toContain("-tree");
  });

  const LIB = `lib/modules/${KVERSION}`;
  test.each<[string, Record<string, string>, RegExp]>([
    [
      "a list of nothing but lines",
      { [`${LIB}/modules.order`]: "\n".repeat(5 << 20) },
      /modules\.order is larger than/,
    ],
    [
      "a path that goes deeper than any",
      { [`${LIB}/kernel/${"a/".repeat(200)}one.ko`]: "" },
      /one of their paths has more than/,
    ],
    [
      "an alias that is longer than any",
      { [`${LIB}/modules.builtin.modinfo`]: `m.alias=${"[".repeat(3 << 20)}\0` },
      /aliases of what is built in has more than 4096 characters/,
    ],
  ])("refuses %s, and keeps nobody waiting", async (_, files, fault) => {
    const { read, fetch } = await kernelOf(files);
    let [last, longest] = [performance.now(), 0];
    const clock = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 20);

    const said = () =>
      fetch().then(
        () => "",
        (thrown) => `${thrown.code} ${thrown.message}`,
      );
    const answers = [await said(), await said()];
    clearInterval(clock);

    for (const answer of answers) expect(answer).toMatch(new RegExp(`^PACKAGE_MALFORMED .*${fault.source}`));
    // It is not read again for the next driver.
    expect(read).toHaveLength(1);
    expect(longest).toBeLessThan(5000);
  });
});
