import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256 } from "../base/json.ts";
import { type PackRequest, packModules } from "./pack.ts";
import type { Compression } from "./records.ts";
import type { Sandbox, SandboxSpec } from "./sandboxes/sandbox.ts";

const IMAGES = join(import.meta.dirname, "../../images");
const MODULES = join(import.meta.dirname, "../../test/fixtures/modules");
const CRC7 = await readFile(join(MODULES, "crc7.ko"));
const OTHER = await readFile(join(MODULES, "crc-itu-t.ko"));
const GIGA = 1 << 30;
const LIMITS = { minutes: 1, memory: GIGA, processes: 64, disk: GIGA, output: GIGA, artifact: GIGA };

async function requested(compress?: Compression, isStripped = true): Promise<PackRequest> {
  const work = await temporaryDirectory();
  const evidence = join(work, "evidence");
  await mkdir(join(evidence, "modules"), { recursive: true });
  await writeFile(join(evidence, "modules/crc7.ko"), CRC7);
  const modules = [{ name: "crc7", isStripped, sha256: sha256(CRC7), size: CRC7.length }];
  return { modules, compress, strip: "strip", root: "/", work, evidence };
}

/** What may have taken over the box: the programs in it read a stranger's bytes. */
const lying = (left: (output: string) => Promise<void>, exitCode = 0): Sandbox => ({
  name: "bwrap",
  needs: [],
  async run({ outputs, logFile }: SandboxSpec) {
    const output = outputs[0]?.[0] ?? "";
    for (const name of ["stripped", "compressed"]) await mkdir(join(output, name));
    await left(output);
    await writeFile(logFile, "strip: no\n");
    return { exitCode, output: "strip: no\n" };
  },
});

describe("the shapes of modules", () => {
  test("are none where nobody wants some, and no box is needed", async () => {
    const request = await requested(undefined, false);
    const sandbox = lying(() => Promise.reject(new Error("not to be asked")));

    const packed = await packModules(request, { sandbox, limits: LIMITS, images: IMAGES });

    expect(packed).toEqual({
      kind: "packed",
      modules: [{ name: "crc7", sha256: sha256(CRC7), size: CRC7.length }],
    });
  });

  test.each<[string, Compression | undefined, (output: string) => Promise<void>, RegExp]>([
    [
      "another module in the place of the stripped one",
      undefined,
      (output) => writeFile(join(output, "stripped/crc7.ko"), OTHER),
      /stripping it changed/,
    ],
    ["no stripped module", undefined, async () => {}, /stripped\/crc7\.ko was not produced/],
    [
      "something else, compressed",
      "gz",
      async (output) => {
        await writeFile(join(output, "stripped/crc7.ko"), CRC7);
        await writeFile(join(output, "compressed/crc7.ko.gz"), gzip(OTHER));
      },
      /crc7\.ko\.gz does not contain the module/,
    ],
    [
      "a second stream behind the module",
      "gz",
      async (output) => {
        await writeFile(join(output, "stripped/crc7.ko"), CRC7);
        await writeFile(join(output, "compressed/crc7.ko.gz"), Buffer.concat([gzip(CRC7), gzip(OTHER)]));
      },
      /not one gzip member/,
    ],
    [
      "the module itself, not compressed",
      "xz",
      async (output) => {
        await writeFile(join(output, "stripped/crc7.ko"), CRC7);
        await writeFile(join(output, "compressed/crc7.ko.xz"), CRC7);
      },
      /crc7\.ko\.xz does not contain/,
    ],
  ])("are refused when the box gives %s", async (_, compress, left, words) => {
    const request = await requested(compress);

    const packed = packModules(request, { sandbox: lying(left), limits: LIMITS, images: IMAGES });

    await expect(packed).rejects.toThrow(
      expect.objectContaining({ code: "MODULE_MALFORMED", message: expect.stringMatching(words) }),
    );
    expect(await readdir(request.evidence)).not.toContain("compressed");
  });

  test("fail with the words of the program that made none, and those are in the log", async () => {
    const request = await requested("xz");

    const packed = await packModules(request, {
      ...{ limits: LIMITS, images: IMAGES },
      sandbox: lying(async () => {}, 1),
    });

    expect(packed).toMatchObject({ kind: "failed", result: { exitCode: 1, output: "strip: no\n" } });
    expect(await readFile(join(request.evidence, "build.log"), "utf8")).toBe("strip: no\n");
  });
});

function gzip(bytes: Buffer): Buffer {
  return execFileSync("gzip", ["-n", "-c"], { input: bytes });
}
