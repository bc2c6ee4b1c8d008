import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { type DriverGuess, guessDriver } from "./driver-guess.ts";
import { readSourceTree } from "./source-tree.ts";

async function guessOf(files: Readonly<Record<string, string>>): Promise<DriverGuess | undefined> {
  const top = await temporaryDirectory();
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(top, path)), { recursive: true });
    await writeFile(join(top, path), text);
  }
  return guessDriver(await readSourceTree(top));
}

test.each<[string, Record<string, string>, Partial<DriverGuess> | undefined]>([
  [
    "a Kbuild and the version in the source",
    {
      Kbuild: "obj-m += one.o two.o sub/\n",
      "one.c": 'MODULE_LICENSE("GPL");\nMODULE_VERSION("2.1.0");\n',
    },
    { name: "one", version: "2.1.0", isStated: false, modules: ["one", "two"] },
  ],
  [
    "modules that all say the version of their package",
    {
      "dkms.conf": 'PACKAGE_NAME="guard"\nPACKAGE_VERSION="1.4"\nBUILT_MODULE_NAME[0]="dog"\n',
      "dog.c": 'MODULE_VERSION("1.4");\n',
      Makefile: "obj-m := dog.o\n",
    },
    { version: "1.4", isStated: true },
  ],
  [
    "a dkms.conf, which says more than its Makefile",
    {
      "dkms.conf":
        'PACKAGE_NAME="guard"\nPACKAGE_VERSION="1.4"\nBUILT_MODULE_NAME[0]="dog"\nBUILT_MODULE_NAME[1]="cat"\n',
      Makefile: "obj-m := other.o\n",
    },
    { name: "guard", version: "1.4", modules: ["dog", "cat"] },
  ],
  [
    "a Makefile below, with lines that go on and a condition",
    { "src/Makefile": "obj-$(CONFIG_X) += \\\n  deep.o\n", Makefile: "all:\n\tmake -C src\n" },
    { name: "deep", version: "0.1.0", modules: ["deep"], directory: "src" },
  ],
  [
    "words that are no safe names",
    { "dkms.conf": 'PACKAGE_NAME="../x"\nPACKAGE_VERSION="$(id)"\n', Kbuild: "obj-m := fine.o\n" },
    { name: "fine", version: "0.1.0", modules: ["fine"] },
  ],
  ["a tree that builds no module", { Makefile: "all:\n\tcc x.c\n", "x.c": "" }, undefined],
])("%s", async (_, files, guess) => {
  const found = await guessOf(files);

  if (guess === undefined) expect(found).toBeUndefined();
  else expect(found).toMatchObject(guess);
});

test("takes no time over files that are all blank lines", async () => {
  const blank = "\n".repeat(250_000);
  const began = performance.now();

  expect(await guessOf({ Kbuild: blank, Makefile: "obj-m := x.o\n", "x.c": blank })).toMatchObject({
    name: "x",
  });
  expect(performance.now() - began).toBeLessThan(5_000);
});
