import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { killNow, startChild } from "../../test/support/children.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { processName } from "./process-name.ts";
import { entriesOf, exists, makePlace, openScratch, scratchOwners, writeWhole } from "./scratch.ts";

const SCRATCH = pathToFileURL(join(import.meta.dirname, "scratch.ts")).href;

/** Opens the scratch directory it is given, leaves a file and a directory there, names both, and stays. */
const LEAVER = `
import { mkdir, writeFile } from "node:fs/promises";
import { openScratch } from ${JSON.stringify(SCRATCH)};
const scratch = await openScratch(process.argv[1]);
const [file, tree] = [scratch.path(), scratch.path()];
await writeFile(file, "half");
await mkdir(tree + "/usr/lib", { recursive: true });
console.log(JSON.stringify([file, tree]));
setInterval(() => {}, 1000);
`;

/** Names of processes: this one, one that is dead, and one that cannot be looked at from here. */
const OWN = processName() as string;
const DEAD = OWN.replace(/^\d+-\d+/, "1-1");
const ELSEWHERE = OWN.replace(/\..*/, ".0123456789abcdef");

/** What is in a directory and not this process's own. */
async function foreign(directory: string): Promise<string[]> {
  return (await entriesOf(directory)).filter((name) => !name.startsWith(`${processName()}-`));
}

async function waitFor<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    await setImmediate();
  }
}

describe("openScratch", () => {
  test("leaves alone what a living process is at work on, and sweeps what a killed one left", async () => {
    const directory = await temporaryDirectory();
    const { child, said } = await startChild(LEAVER, [directory]);
    const [file, tree] = JSON.parse(said) as [string, string];

    await openScratch(directory);
    const whileAlive = await Promise.all([exists(file), exists(tree)]);
    await killNow(child);
    await openScratch(directory);
    const afterwards = await foreign(directory);

    expect(whileAlive).toEqual([true, true]);
    expect(afterwards).toEqual([]);
  });

  test("sweeps what a process of the same number left that was started at another time", async () => {
    const directory = await temporaryDirectory();
    const [pid, rest = ""] = OWN.split("-");
    const [startTime, here] = rest.split(".");
    await writeFile(join(directory, `${pid}-${Number(startTime) - 1}.${here}-aa`), "");
    await writeFile(join(directory, `${pid}-${startTime}.${here}-bb`), "");

    await openScratch(directory);

    expect(await foreign(directory)).toEqual([]);
    expect(await readdir(directory)).toContain(`${pid}-${startTime}.${here}-bb`);
  });

  test("sweeps nothing that is not named after a process", async () => {
    const directory = await temporaryDirectory();
    const names = ["passwd", "somebody else's", "-1", "x-1.0-aa"];
    for (const name of names) await writeFile(join(directory, name), "");

    await openScratch(directory);

    expect(await foreign(directory)).toEqual(names.toSorted());
  });

  test("leaves alone what a process elsewhere renews, and sweeps it after ten minutes of silence", async () => {
    const directory = await temporaryDirectory();
    const [mark, work] = [`${ELSEWHERE}-aa-alive3`, `${ELSEWHERE}-aa-4`];
    for (const name of [mark, work]) await writeFile(join(directory, name), "");
    const ago = (minutes: number) => new Date(Date.now() - minutes * 60_000);
    // What it unpacks has times of its own, which say nothing.
    await utimes(join(directory, work), ago(-900), ago(-900));

    await utimes(join(directory, mark), ago(9), ago(9));
    await openScratch(directory);
    const early = await foreign(directory);
    await utimes(join(directory, mark), ago(11), ago(11));
    await openScratch(directory);

    expect(early).toEqual([work, mark]);
    expect(await foreign(directory)).toEqual([]);
  });

  test("renews its mark, so that others elsewhere know that it lives", async () => {
    const directory = await temporaryDirectory();
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    onTestFinished(() => void vi.useRealTimers());
    const scratch = await openScratch(directory);
    const [first = ""] = await readdir(directory);
    await utimes(join(directory, first), new Date(0), new Date(0));

    vi.advanceTimersByTime(30_000);
    const before = await waitFor(async () => (await readdir(directory)).find((name) => name !== first));
    const { mtimeMs } = await stat(join(directory, before));
    await scratch.close();

    expect(before).toMatch(/-alive1$/);
    expect(Date.now() - mtimeMs).toBeLessThan(60_000);
    expect(await exists(directory)).toBe(false);
  });

  test("is refused where a link leads elsewhere, and touches nothing there", async () => {
    const [directory, victim] = [await temporaryDirectory(), await temporaryDirectory()];
    const names = ["precious", `${DEAD}-aa-0`];
    for (const name of names) await writeFile(join(victim, name), "");
    await symlink(victim, join(directory, "tmp"));

    await expect(openScratch(join(directory, "tmp"))).rejects.toMatchObject({ code: "PLACE_UNUSABLE" });

    expect(await entriesOf(victim)).toEqual(names.toSorted());
  });

  test("sweeps what is too deep for any path", async () => {
    const directory = await temporaryDirectory();
    // No path may have more than 4096 bytes.
    const leave = '$_ = "d" x 250; mkdir $ARGV[0]; chdir $ARGV[0]; for my $at (1..20) { mkdir $_; chdir $_ }';
    execFileSync("perl", ["-e", leave, `${DEAD}-deep`], { cwd: directory });

    await openScratch(directory);

    expect(await foreign(directory)).toEqual([]);
  });

  test("opens although something in it cannot be removed", async () => {
    const directory = await temporaryDirectory();
    const mounted = `${DEAD}-mounted`;
    await mkdir(join(directory, mounted));
    const scratch = pathToFileURL(join(import.meta.dirname, "scratch.ts")).href;
    const open = `import { openScratch } from ${JSON.stringify(scratch)}; console.log((await openScratch(".")).path());`;
    const script = 'mount -t tmpfs none "$1" && shift && exec "$@"';
    const node = [process.execPath, "--input-type=module", "--eval", open];

    const said = execFileSync("unshare", ["-Urm", "sh", "-ec", script, "sh", mounted, ...node], {
      cwd: directory,
    });

    expect(said.toString()).toMatch(/^\d+-\d+\.[0-9a-f]+-/);
  });

  test("gives paths that are not there yet, each another", async () => {
    const scratch = await openScratch(await temporaryDirectory());

    const paths = Array.from({ length: 100 }, () => scratch.path());

    expect(new Set(paths).size).toBe(100);
    expect(await exists(paths[0] as string)).toBe(false);
  });
});

describe("write", () => {
  test("makes a file with its directories and its mode, and leaves nothing beside it", async () => {
    const directory = await temporaryDirectory();
    const scratch = await openScratch(join(directory, "tmp"));
    const target = join(directory, "a", "b", "busybox");
    const before = await readdir(join(directory, "tmp"));

    await scratch.write(target, new Uint8Array([0, 255]), 0o755);

    expect(await readFile(target)).toEqual(Buffer.from([0, 255]));
    expect((await stat(target)).mode & 0o777).toBe(0o755);
    expect(await readdir(join(directory, "tmp"))).toEqual(before);
  });

  test("shows readers the old content or the new, never a part", async () => {
    const directory = await temporaryDirectory();
    const scratch = await openScratch(join(directory, "tmp"));
    const target = join(directory, "file");
    const [old, fresh] = ["o".repeat(1 << 20), "f".repeat(1 << 21)];
    await scratch.write(target, old);

    const writing = { isDone: false };
    const seen = new Set<string>();
    const reader = (async () => {
      while (!writing.isDone) seen.add(await readFile(target, "utf8"));
    })();
    for (let turn = 0; turn < 8; turn++) await scratch.write(target, turn % 2 === 0 ? fresh : old);
    writing.isDone = true;
    await reader;

    expect([...seen].filter((text) => text !== old && text !== fresh)).toEqual([]);
  });

  test("keeps the old content when the new cannot be put in its place", async () => {
    const directory = await temporaryDirectory();
    const scratch = await openScratch(join(directory, "tmp"));
    await mkdir(join(directory, "taken", "inside"), { recursive: true });

    const writing = scratch.write(join(directory, "taken"), "new");

    await expect(writing).rejects.toThrow(expect.objectContaining({ code: "EISDIR" }));
    expect(await readdir(join(directory, "taken"))).toEqual(["inside"]);
  });
});

describe("close", () => {
  test("removes what is this process's, and the directory when that empties it", async () => {
    const directory = join(await temporaryDirectory(), "tmp");
    const scratch = await openScratch(directory);
    await writeFile(scratch.path(), "");
    await mkdir(scratch.path());

    await scratch.close();

    expect(await exists(directory)).toBe(false);
  });

  test("leaves what another living process is at work on", async () => {
    const directory = await temporaryDirectory();
    const { said } = await startChild(LEAVER, [directory]);
    const scratch = await openScratch(directory);
    await writeFile(scratch.path(), "");

    await scratch.close();

    const theirs = (JSON.parse(said) as string[]).map((path) => path.slice(directory.length + 1));
    const left = await entriesOf(directory);
    expect(left).toEqual(expect.arrayContaining(theirs));
    expect(left).toEqual(await foreign(directory));
  });
});

describe("scratchOwners", () => {
  test("tells the living from the dead, and has none where there is no directory", async () => {
    const directory = await temporaryDirectory();
    await openScratch(directory);
    for (const owner of [DEAD, ELSEWHERE]) await writeFile(join(directory, `${owner}-aa-0`), "");

    const owners = scratchOwners(directory);

    const living = owners.filter(({ isAlive }) => isAlive).map(({ name }) => name);
    expect(living.toSorted()).toEqual([OWN, ELSEWHERE].toSorted());
    expect(owners).toHaveLength(3);
    expect(scratchOwners(join(directory, "none"))).toEqual([]);
  });
});

describe("entriesOf", () => {
  test("tells a directory that is not there from one that cannot be read", async () => {
    const directory = await temporaryDirectory();
    await writeFile(join(directory, "file"), "");

    expect(await entriesOf(join(directory, "none"))).toEqual([]);
    await expect(entriesOf(join(directory, "file"))).rejects.toThrow(
      expect.objectContaining({ code: "ENOTDIR" }),
    );
  });
});

describe("makePlace", () => {
  test.each(["/proc/nowhere/store", "/dev/null/store"])("says at once that %s cannot be", async (place) => {
    await expect(makePlace(place)).rejects.toMatchObject({ code: "PLACE_UNUSABLE" });
  });

  test("says of a place that is there that it cannot be written to", async () => {
    // Root may write to any directory but those of a file system that has none to write.
    await expect(makePlace("/proc/sys")).rejects.toThrow(/^\/proc\/sys cannot be written to \(E\w+\)$/);
  });

  test("makes a directory with those above it, and is content with one that is there", async () => {
    const place = join(await temporaryDirectory(), "a", "b");

    await makePlace(place);
    await makePlace(place);

    expect(await entriesOf(place)).toEqual([]);
  });
});

describe("writeWhole", () => {
  test("replaces a file, and leaves nothing beside it where it cannot", async () => {
    const directory = await temporaryDirectory();
    const target = join(directory, "new", "list.json");
    for (const text of ["one", "two"]) await writeWhole(target, text);
    await mkdir(join(directory, "taken"));

    await expect(writeWhole(join(directory, "taken"), "three")).rejects.toThrow();

    expect(await readFile(target, "utf8")).toBe("two");
    expect((await stat(target)).mode & 0o777).toBe(0o644);
    expect(await readdir(directory)).toEqual(["new", "taken"]);
    expect(await readdir(join(directory, "new"))).toEqual(["list.json"]);
  });
});
