import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { makeBusyboxRoot } from "../../../test/support/busybox-root.ts";
import { runnerIn } from "../../../test/support/in-sandbox.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { bubblewrap } from "./bubblewrap.ts";
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

test("a build that is killed for memory within its own group excuses no other", async () => {
  const root = makeBusyboxRoot();
  const { runScript } = runnerIn(bubblewrap, () => ({ root, inputs: [] }));
  const neighbour = new ShortageWatch(await temporaryDirectory());
  await neighbour.look();

  const { stopped } = await runScript("dd if=/dev/zero of=/dev/null bs=400M count=1");

  expect(stopped).toBe("memoryLimit");
  expect(await neighbour.look()).not.toContain("memory");
});
