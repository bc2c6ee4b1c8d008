import { chmod, chown, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { loadConfig } from "./index.ts";

const ANOTHER = 65534;
let base: string;

beforeEach(async () => {
  base = await temporaryDirectory();
  await writeFile(join(base, "kmodfarm.yaml"), "{}");
});

const load = () => loadConfig({ config: join(base, "kmodfarm.yaml") });
const refused = (fact: RegExp) => ({ code: "PLACE_UNUSABLE", message: expect.stringMatching(fact) });

describe.skipIf(process.getuid?.() !== 0)("places of the farm", () => {
  test.each([".kmodfarm", ".kmodfarm/keys", ".kmodfarm/cache", ".kmodfarm/store"])(
    "are refused where another user made %s",
    async (path) => {
      await mkdir(join(base, path), { recursive: true });
      await expect(load()).resolves.toBeDefined();
      await chown(join(base, path), ANOTHER, ANOTHER);

      await expect(load()).rejects.toMatchObject(refused(/belongs to another user \(65534\)$/));
    },
  );

  test("are refused where another user's link leads to them, and where everybody may replace them", async () => {
    await mkdir(join(base, "elsewhere"));
    await symlink("elsewhere", join(base, ".kmodfarm"));
    await expect(load()).resolves.toBeDefined();
    await chmod(join(base, "elsewhere"), 0o777);
    await expect(load()).rejects.toMatchObject(refused(/^everybody may replace what is in .*\.kmodfarm$/));
    await chmod(join(base, "elsewhere"), 0o1777);
    await expect(load()).resolves.toBeDefined();

    await chown(join(base, "elsewhere"), ANOTHER, ANOTHER);
    await expect(load()).rejects.toMatchObject(refused(/belongs to another user/));
  });

  test("may belong to whoever the configuration belongs to, as with sudo", async () => {
    for (const path of ["", "kmodfarm.yaml", ".kmodfarm", ".kmodfarm/cache"]) {
      if (!path.includes(".yaml")) await mkdir(join(base, path), { recursive: true });
      await chown(join(base, path), ANOTHER, ANOTHER);
    }

    await expect(load()).resolves.toBeDefined();
  });

  test("are checked where they are named elsewhere, keys too", async () => {
    const elsewhere = await temporaryDirectory();
    await writeFile(join(elsewhere, "head.pem"), "");
    await writeFile(
      join(base, "kmodfarm.yaml"),
      JSON.stringify({ keys: { head: { for: "head", file: join(elsewhere, "head.pem") } } }),
    );
    await expect(load()).resolves.toBeDefined();
    await chown(join(elsewhere, "head.pem"), ANOTHER, ANOTHER);

    await expect(load()).rejects.toMatchObject(refused(/head\.pem belongs to another user/));
  });

  test("are refused where another user can swap a directory above them, or above what a link leads to", async () => {
    const outer = await temporaryDirectory();
    const [open, theirs] = [join(outer, "open"), join(outer, "theirs")];
    for (const one of [open, theirs]) await mkdir(join(one, "own/cache"), { recursive: true });
    await chmod(open, 0o777);
    await chown(theirs, ANOTHER, ANOTHER);
    await symlink(join(theirs, "own"), join(base, "link"));
    const cases: readonly (readonly [string, RegExp])[] = [
      [join(open, "own/cache"), /^everybody may replace what is in .*\/open$/],
      [join(open, "own/new/cache"), /^everybody may replace what is in .*\/open$/],
      [join(theirs, "own/cache"), /\/theirs belongs to another user/],
      ["link/cache", /\/theirs belongs to another user/],
    ];

    for (const [cache, fact] of cases) {
      await writeFile(join(base, "kmodfarm.yaml"), JSON.stringify({ cache }));
      await expect(load()).rejects.toMatchObject(refused(fact));
    }
    await chmod(open, 0o1777);
    await writeFile(join(base, "kmodfarm.yaml"), JSON.stringify({ cache: join(open, "own/cache") }));
    await expect(load()).resolves.toBeDefined();
  });
});
