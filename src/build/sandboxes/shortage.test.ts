import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { ShortageWatch } from "./shortage.ts";

test("a machine with room has no shortage of disk", async () => {
  expect(await new ShortageWatch(await temporaryDirectory()).look()).not.toContain("disk");
});

test.each([
  ["bytes", "size=1m"],
  ["files", "size=1g,nr_inodes=500"],
])("a disk with few %s left is short, and stays so once it was seen", async (_, options) => {
  const place = await temporaryDirectory();
  const module = pathToFileURL(join(import.meta.dirname, "shortage.ts")).href;
  const script = `
    import { execFileSync } from "node:child_process";
    import { ShortageWatch } from ${JSON.stringify(module)};
    execFileSync("mount", ["-t", "tmpfs", "-o", ${JSON.stringify(options)}, "none", ${JSON.stringify(place)}]);
    const watch = new ShortageWatch(${JSON.stringify(place)});
    await watch.look();
    execFileSync("mount", ["-o", "remount,size=1g,nr_inodes=100000", ${JSON.stringify(place)}]);
    console.log((await watch.look()).join());`;

  const said = execFileSync("unshare", [
    "--mount",
    process.execPath,
    "--input-type=module",
    "--eval",
    script,
  ]);

  expect(
    said
      .toString()
      .split(",")
      .map((word) => word.trim()),
  ).toContain("disk");
});
