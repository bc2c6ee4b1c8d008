/** What the author of a driver put into its tree, so that it leads the farm elsewhere, or would be taken for its own. */
import { chmod, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { inProcess } from "../../../test/support/in-process.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { configIn } from "../../farm/config/index.ts";
import { makeMissingKeys } from "../../farm/signing/keys.ts";

let tree: string;
let victim: string;

beforeEach(async () => {
  tree = await temporaryDirectory();
  victim = await temporaryDirectory();
  await writeFile(join(tree, "Kbuild"), "obj-m += x.o\n");
  for (let file = 0; file < 40; file++) await writeFile(join(victim, `precious${file}`), "");
});

const expectWhole = async () => expect(await readdir(victim)).toHaveLength(40);

describe("a cache in the tree whose rooms lead out of it", () => {
  beforeEach(async () => {
    await mkdir(join(tree, ".kmodfarm/cache"), { recursive: true, mode: 0o700 });
    await writeFile(join(tree, ".kmodfarm/cache/CACHEDIR.TAG"), "");
    await symlink(victim, join(tree, ".kmodfarm/cache/logs"));
  });

  test.each([["run"], ["doctor"], ["catalog", "update"], ["work", "orders", "--out", "out"]])(
    "%j removes nothing there",
    async (...argv) => {
      await writeFile(join(tree, "kmodfarm.yaml"), "{drivers: [{name: x, source: ., versions: [1.0.0]}]}");
      await mkdir(join(tree, "orders"));

      const { exitCode, stdout, stderr } = await inProcess(argv, { cwd: tree });

      expect([exitCode, stdout + stderr]).toEqual([
        argv[0] === "doctor" ? 3 : 2,
        expect.stringContaining(".kmodfarm/cache/logs is a link"),
      ]);
      await expectWhole();
    },
  );

  test("init does not begin there", async () => {
    const { exitCode, stderr } = await inProcess(["init", "--yes"], { cwd: tree });

    expect([exitCode, stderr]).toEqual([2, expect.stringContaining("may have come with the driver")]);
    expect(await readdir(tree)).not.toContain("kmodfarm.yaml");
  });
});

test("a run believes no keys that others may read, as a clone of git leaves them", async () => {
  const config = configIn(tree, {}, {});
  await makeMissingKeys(config, () => {});
  expect(await makeMissingKeys(config, () => {})).toEqual([]);
  await chmod(join(config.keyDirectory, "head.pem"), 0o644);

  await expect(makeMissingKeys(config, () => {})).rejects.toMatchObject({
    code: "KEY_UNREADABLE",
    message: expect.stringContaining("others may read it"),
  });
});

test("a directory of logs loses only logs that a run wrote", async () => {
  const cache = join(tree, ".kmodfarm/cache");
  await mkdir(join(cache, "logs"), { recursive: true, mode: 0o700 });
  await writeFile(join(cache, "CACHEDIR.TAG"), "");
  for (let file = 0; file < 40; file++) await writeFile(join(cache, "logs", `theirs${file}`), "");
  await writeFile(join(tree, "kmodfarm.yaml"), "{drivers: [], sources: []}");

  await inProcess(["run"], { cwd: tree });

  expect((await readdir(join(cache, "logs"))).filter((name) => name.startsWith("theirs"))).toHaveLength(40);
});

test("a try takes no source that leads out of the tree once its version is put in", async () => {
  const secret = await temporaryDirectory();
  await mkdir(join(secret, "src"));
  await writeFile(join(secret, "src/Kbuild"), "obj-m += secret.o\n");
  await mkdir(join(tree, "{version}/src"), { recursive: true });
  await symlink(secret, join(tree, "1.0"));
  const drivers = [{ name: "other", source: "{version}/src", versions: ["1.0"] }];
  await writeFile(
    join(tree, "kmodfarm.yaml"),
    JSON.stringify({ drivers, sources: [{ kind: "apt", releases: [] }] }),
  );

  const { stdout, stderr } = await inProcess(["try", "--json"], { cwd: tree });

  expect(stdout + stderr).not.toMatch(/other|secret/);
});

test.each([
  [".github/actions/kmodfarm-try/action.yml", "precious0"],
  [".github/workflows", "."],
])("github try writes nothing through a link at %s", async (place, target) => {
  await mkdir(join(tree, place, ".."), { recursive: true });
  await symlink(join(victim, target), join(tree, place));

  const { exitCode, stderr } = await inProcess(["github", "try"], { cwd: tree });

  expect([exitCode, stderr]).toEqual([2, expect.stringContaining(join(tree, place))]);
  expect(await readFile(join(victim, "precious0"), "utf8")).toBe("");
  await expectWhole();
});
