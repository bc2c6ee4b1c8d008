import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { withBoard } from "./board.ts";
import { openRunLog } from "./run-log.ts";

afterEach(() => void vi.restoreAllMocks());

describe("the log of a run", () => {
  test("is in the cache, which keeps those of the last twenty", async () => {
    const cache = await temporaryDirectory();
    for (let second = 10; second < 35; second++) {
      const log = await openRunLog(undefined, cache, new Date(`2026-11-28T12:00:${second}Z`));
      log?.write(`${second}\n`);
      log?.close();
    }

    const names = (await readdir(join(cache, "logs"))).toSorted();
    expect(names).toHaveLength(20);
    expect(await readFile(join(cache, "logs", names[0] ?? ""), "utf8")).toBe("15\n");
    expect(await readFile(join(cache, "logs", names.at(-1) ?? ""), "utf8")).toBe("34\n");
  });

  test("that was asked for is refused if it cannot be written; the cache's is done without", async () => {
    const directory = await temporaryDirectory();
    await writeFile(join(directory, "logs"), "a file where the directory should be");

    await expect(openRunLog(join(directory, "none", "log"), undefined)).rejects.toThrow(
      /cannot be written \(ENOENT\)/,
    );
    expect(await openRunLog(undefined, directory)).toBeUndefined();
  });

  test.each([
    ["named if the result is bad", true, {}, /^log of this run: \S+\.ndjson$/m],
    ["not named if all is well", false, {}, /^$/],
    ["not named where the result is a document", true, { json: true }, /^$/],
  ])("has every event, however little is shown, and is %s", async (_, isBad, options, said) => {
    const cache = join(await temporaryDirectory(), "cache");
    await mkdir(cache);
    const shown: string[] = [];
    vi.spyOn(process.stderr, "write").mockImplementation((text) => shown.push(String(text)) > 0);

    await withBoard(
      { quiet: true, ...options },
      async ({ progress }) => {
        progress.say("catalog: 3 kernels");
        progress.element({ key: "a", name: "A" }, "building");
        progress.element({ key: "a", name: "A" }, "published");
      },
      { cache, isBad: () => isBad },
    );

    expect(shown.join("")).toMatch(said);
    const [name = ""] = await readdir(join(cache, "logs"));
    const lines = (await readFile(join(cache, "logs", name), "utf8")).trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line)).map(({ text, stage }) => text ?? stage)).toEqual([
      ...["catalog: 3 kernels", "building", "published"],
    ]);
  });
});
