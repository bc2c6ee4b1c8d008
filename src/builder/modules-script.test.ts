/** images/modules.sh in the sandbox: which modules of a tree a build made, and what is said of one that it did not make. */
import { mkdir, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeBusyboxRoot } from "../../test/support/busybox-root.ts";
import { runnerIn } from "../../test/support/in-sandbox.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256 } from "../base/json.ts";
import { bubblewrap } from "./sandboxes/bubblewrap.ts";
import { LAID_AT } from "./source-tree.ts";

const root = makeBusyboxRoot();
const SCRIPT = join(import.meta.dirname, "../../images/modules.sh");

/** Runs a build of a tree, which is the present directory, and asks what came of it. */
async function builtOf(
  given: Readonly<Record<string, string>>,
  build: string,
  ask: string,
  env: Readonly<Record<string, string>> = {},
): Promise<string[]> {
  const place = await temporaryDirectory();
  for (const [path, text] of Object.entries(given)) {
    const file = join(place, "tree", path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
    await utimes(file, LAID_AT, LAID_AT);
  }
  await mkdir(join(place, "tree"), { recursive: true });
  const list = Object.entries(given).filter(([path]) => path.endsWith(".ko"));
  await writeFile(
    join(place, "given"),
    list.map(([path, text]) => `${sha256(text).slice(7)} ${path}\n`).join(""),
  );
  await utimes(join(place, "given"), LAID_AT, LAID_AT);
  const inputs: [string, string][] = [
    [SCRIPT, "/run/kmodfarm/modules.sh"],
    [join(place, "given"), "/run/kmodfarm/given"],
  ];
  const { runScript } = runnerIn(bubblewrap, () => ({ root, inputs }));
  const { output } = await runScript(
    `set -eu; mkdir -p /tmp/kmodfarm; cd /build; ${build}\n. /run/kmodfarm/modules.sh; ${ask}`,
    { outputs: [[join(place, "tree"), "/build"]], env: { PATH: "/bin", KIND: "kbuild", ...env } },
  );
  return output.split("\n").filter((line) => line !== "");
}

const NOTE = "kmodfarm: note: tools/base.ko lay in the source already, so it is no module of this build";

describe("modules of a build", () => {
  const made = (given: Record<string, string>, build: string, env = {}) =>
    builtOf(given, build, "made_modules /build", env);

  test("are all that there are, where none lay in the source", async () => {
    expect(await made({ "a.c": "" }, "mkdir sub; echo A >sub/a.ko; echo B >b.ko; ln -s b.ko c.ko")).toEqual([
      "/build/b.ko",
      "/build/sub/a.ko",
    ]);
  });

  test.each([
    ["lies there", "true"],
    ["was copied", "cp tools/base.ko tools/again.ko"],
    ["was copied with its time", "cp -p tools/base.ko tools/again.ko"],
    ["was moved", "mv tools/base.ko base.ko"],
    ["is hidden behind a name with a space", "cp tools/base.ko 'tools/a b.ko'"],
  ])("are none that %s", async (_, build) => {
    const said = await made({ "tools/base.ko": "BASE" }, `echo A >a.ko; ${build}`);

    expect(said.filter((line) => line !== NOTE)).toEqual(["/build/a.ko"]);
    expect(said).toContain(NOTE);
  });

  test.each([
    ["anew", "echo NEW >tools/base.ko"],
    ["anew, with the same bytes", "rm tools/base.ko; printf BASE >tools/base.ko"],
    [
      "anew, with a time before that of the tree",
      "echo NEW >tools/base.ko; touch -t 197001020000 tools/base.ko",
    ],
    ["to the same name elsewhere", "rm tools/base.ko; echo NEW >tools/base.ko"],
  ])("are those that the build wrote %s", async (_, build) => {
    expect(await made({ "tools/base.ko": "BASE" }, build)).toEqual(["/build/tools/base.ko"]);
  });

  test("are looked for where DKMS has the directory of its dkms.conf", async () => {
    const env = { KIND: "dkms", DIRECTORY: "src" };
    const build = "mv src/* .; echo NEW >base.ko";

    expect(await made({ "src/base.ko": "BASE" }, build, env)).toEqual(["/build/base.ko"]);
  });
});

describe("a module that did not come about", () => {
  const GIVEN = { "tools/base.ko": "BASE" };

  test.each<[string, Record<string, string>, string, string, Record<string, string>, string]>([
    [
      "lies elsewhere",
      {},
      "mkdir src; echo A >src/a.ko",
      "a.ko",
      { KIND: "dkms" },
      "a.ko, but it gave src/a.ko",
    ],
    [
      "lay in the source",
      GIVEN,
      "echo A >a.ko",
      "base.ko",
      {},
      "base.ko of its own: tools/base.ko lay in the source already",
    ],
    [
      "is a copy",
      GIVEN,
      "cp tools/base.ko x.ko",
      "x.ko",
      {},
      "x.ko of its own: tools/base.ko lay in the source already",
    ],
    ["has another name", {}, "echo A >my-a.ko; echo B >b.ko", "my_a.ko", {}, "my_a.ko; it gave b.ko my-a.ko"],
    [
      "was not asked for by Kbuild",
      { Makefile: "" },
      "true",
      "a.ko",
      {},
      "a.ko and no other: Kbuild alone was called",
    ],
    [
      "was not asked for by DKMS",
      { Makefile: "", "dkms.conf": "" },
      "true",
      "",
      { KIND: "dkms" },
      "module and no other: Kbuild alone was called",
    ],
    [
      "was not made by a makefile",
      { Makefile: "", "dkms.conf": 'MAKE[0]="make"' },
      "true",
      "a.ko",
      { KIND: "dkms" },
      "a.ko and no other",
    ],
    ["has no makefile", { Kbuild: "" }, "true", "", {}, "module and no other"],
  ])("is said with the reason: it %s", async (_, given, build, name, env, words) => {
    const said = await builtOf(given, build, `(missing_module /build '${name}') || echo "code $?"`, env);

    expect(said).toEqual([`kmodfarm: the build gave no ${words}`, "code 66"]);
  });
});
