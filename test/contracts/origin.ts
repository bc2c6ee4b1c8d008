/** What every origin of a driver's source must do: bring the very tree, whoever made it when and how. */
import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { Http } from "../../src/base/http.ts";
import { openScratch } from "../../src/base/scratch.ts";
import { fetchSource } from "../../src/builder/origins/index.ts";
import type { OriginContext, Place } from "../../src/builder/origins/origin.ts";
import { readSourceTree } from "../../src/builder/source-tree.ts";
import { Inputs } from "../../src/inputs/inputs.ts";
import { temporaryDirectory } from "../support/temporary.ts";

export const VERSION = "1.2.0";

/** A driver with what trees usually have: an executable, a link, names with odd but legal characters. */
const TREE: Readonly<Record<string, string>> = {
  Kbuild: "obj-m := doorbell.o\n",
  "dkms.conf": 'PACKAGE_NAME="doorbell"\nPACKAGE_VERSION="1.2.0"\n',
  "doorbell.c": "int ring;\n",
  "include/doorbell.h": "extern int ring;\n",
  "include/zero.h": "",
  "firmware/a+b~1.bin": "\0\x01",
  "scripts/version.sh": "#!/bin/sh\necho 1\n",
};

/** Writes TREE under a umask, with one executable and one link. */
export async function makeTree(directory: string, umask = "022"): Promise<string> {
  await mkdir(directory, { recursive: true });
  const script = Object.keys(TREE)
    .map((path) => `mkdir -p "$(dirname '${path}')"; : >'${path}'`)
    .concat("chmod u+x scripts/version.sh", "ln -s ../doorbell.c include/link.c")
    .join("\n");
  execFileSync("sh", ["-c", `umask ${umask}; ${script}`], { cwd: directory });
  for (const [path, content] of Object.entries(TREE)) await writeFile(join(directory, path), content);
  return directory;
}

export async function originContext(changes: Partial<OriginContext> = {}): Promise<OriginContext> {
  const base = await temporaryDirectory();
  const cache = join(base, "cache");
  const http = new Http({ retries: 0 });
  const scratch = await openScratch(join(cache, "tmp"));
  return {
    http,
    scratch,
    cache,
    inputs: new Inputs({ http, scratch, cache, mirrors: new Map() }),
    base,
    own: [],
    suites: () => [],
    say: () => {},
    signal: new AbortController().signal,
    ...changes,
  };
}

export async function digestOf(place: Place, context: OriginContext, version = VERSION): Promise<string> {
  const { directory } = await fetchSource(place, version, context);
  return (await readSourceTree(directory)).digest;
}

export interface OriginCase {
  readonly title: string;
  /** Makes the place of a tree that lies below `base`, and the context to fetch it in. */
  readonly make: (tree: string, base: string) => Promise<{ place: Place; context?: Partial<OriginContext> }>;
  /** The same kind of place where nothing is. */
  readonly nowhere: Place;
}

export function originContract({ title, make, nowhere }: OriginCase): void {
  describe(`a source from ${title}`, () => {
    test("has the digest of its tree, written under another umask", async () => {
      const context = await originContext();
      const tree = await makeTree(join(context.base, "tree"), "077");
      const reference = await makeTree(join(context.base, "reference"));
      const { place, context: changes } = await make(tree, context.base);

      expect(await digestOf(place, { ...context, ...changes })).toBe(
        (await readSourceTree(reference)).digest,
      );
    });

    test("comes again from the cache, and says where from", async () => {
      const context = await originContext();
      const tree = await makeTree(join(context.base, "tree"));
      const made = await make(tree, context.base);
      const complete = { ...context, ...made.context };

      const first = await fetchSource(made.place, VERSION, complete);
      const second = await fetchSource(made.place, VERSION, complete);

      const told = ({ isLeftOut: _, ...rest }: typeof first) => rest;
      expect(told(second)).toEqual(told(first));
      expect(first.origin.place).not.toBe("");
    });

    test("that is not there is an error of the configuration", async () => {
      const read = async () => digestOf(nowhere, await originContext());

      await expect(read()).rejects.toThrow(
        expect.objectContaining({ code: expect.stringMatching(/^(DRIVER|CONFIG)_INVALID$/) }),
      );
    });
  });
}

/** Packs a tree with the real tar, as `options` say. */
export async function makeTar(tree: string, file: string, options: readonly string[]): Promise<string> {
  await mkdir(dirname(file), { recursive: true });
  execFileSync("tar", ["--create", "--file", file, "--directory", dirname(tree), ...options]);
  return file;
}
