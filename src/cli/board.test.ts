import { PassThrough } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { NOTHING_CHANGED } from "../base/progress.ts";
import { openBoard } from "./board.ts";

beforeEach(() => void vi.stubEnv("GITHUB_ACTIONS", ""));
afterEach(() => void vi.unstubAllEnvs());

const HOSTILE = "red\u001b[31m\u009b2K\u202e\nsecond line";

async function written(format: "text" | "json", isTTY: boolean): Promise<string> {
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 200 });
  const board = await openBoard({ format, stream: stream as unknown as NodeJS.WriteStream });
  board.say(HOSTILE);
  board.element(of(HOSTILE), "building", HOSTILE);
  board.element(of(HOSTILE), "failed", HOSTILE);
  board.close();
  stream.end();
  return (await stream.toArray()).join("");
}

const of = (name: string) => ({ key: name, name });

describe("a board", () => {
  test("shows a stranger's words as they are, and does not obey them", async () => {
    const text = await written("text", false);

    expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Bidi_Control}]/u);
    // What is said may have lines; an element has one.
    expect(text.split("\n").filter((line) => line.trimStart().startsWith("second line"))).toHaveLength(1);
  });

  test("on a terminal has no codes but its own", async () => {
    const own = new RegExp(`\\r?${"\u001b"}\\[(\\d+A|K|\\d+m)`, "g");

    expect((await written("text", true)).replaceAll(own, "").replaceAll("\n", "")).not.toMatch(
      /[\p{Cc}\p{Bidi_Control}]/u,
    );
  });

  test("on a terminal does not count what an earlier run did as this one's work", async () => {
    const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 200 });
    const board = await openBoard({ format: "text", stream: stream as unknown as NodeJS.WriteStream });

    for (const name of ["a", "b", "c"]) board.element(of(name), "published", NOTHING_CHANGED);
    board.element(of("d"), "building");
    board.element(of("e"), "published");
    board.close();
    stream.end();

    const text = (await stream.toArray()).join("");
    expect(text).toMatch(/── 1 done, 0 failed, 1 to do, 3 as before/);
    expect(text).not.toMatch(/4 done/);
  });

  test.each([true, false])("says what many elements fail by once (terminal: %s)", async (isTTY) => {
    const stream = Object.assign(new PassThrough(), { isTTY, columns: 400 });
    const board = await openBoard({ format: "text", stream: stream as unknown as NodeJS.WriteStream });
    const why = `the toolchain root of debian12 cannot be made: ${"connection refused ".repeat(4)}`;

    for (const name of ["a", "b"]) board.element(of(name), "failed", why);
    for (const name of ["c", "d"]) board.element(of(name), "failed", "no header");
    board.element(of("e"), "candidate", why);
    board.close();
    stream.end();

    const text = stripVTControlCharacters((await stream.toArray()).join(""));
    expect(text.match(/failed +a: the toolchain root|failed +b: for the same reason as a/g)).toHaveLength(2);
    expect(text.match(/failed +[cd]: no header|candidate +e: the toolchain root/g)).toHaveLength(3);
  });

  test("that writes JSON writes lines of it, with the words as they were", async () => {
    const lines = (await written("json", false)).trimEnd().split("\n");

    expect(lines.map((line) => JSON.parse(line).text ?? JSON.parse(line).detail)).toEqual([
      HOSTILE,
      HOSTILE,
      HOSTILE,
    ]);
    expect(lines.join("")).not.toMatch(/[\p{Cc}\p{Bidi_Control}]/u);
  });

  test("in a log has the time, what takes long, and how it ends", async () => {
    expect(await plain("usual")).toBe(`\
12:00:00 catalog: 3 kernels
         and 2 suites
12:00:00 building    a
12:00:00 published   a
12:00:00 failed      b: no
`);
  });

  test("that is quiet has only what failed, and one that is loud every stage", async () => {
    expect(await plain("quiet")).toBe("12:00:00 failed      b: no\n");
    expect((await plain("verbose")).split("\n").map((line) => line.slice(9, 20).trim())).toEqual([
      ...[
        "asking",
        "catalog: 3",
        "and 2 suite",
        "fetching",
        "building",
        "published",
        "published",
        "failed",
        "",
      ],
    ]);
  });

  test("is a group on GitHub's runners", async () => {
    vi.stubEnv("GITHUB_ACTIONS", "true");

    expect(await plain("usual")).toMatch(/^::group::Progress\n12:00:00 [\s\S]*\n::endgroup::\n$/);
  });
});

describe("a log in which nothing happens for long", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const after = async (seconds: number, loudness: "quiet" | "usual" = "usual") => {
    const stream = new PassThrough() as unknown as NodeJS.WriteStream;
    const board = await openBoard({ format: "text", stream, loudness });
    for (const name of ["a", "b"]) board.element(of(name), "toolchain", "debian12 gcc-12");
    board.element(of("c"), "waiting");
    board.task?.("asking the mirrors", "3 of 4");
    vi.advanceTimersByTime(seconds * 1000);
    board.close();
    vi.advanceTimersByTime(300_000);
    stream.end();
    const text = (await (stream as unknown as PassThrough).toArray()).join("");
    return text.split("\n").map((line) => line.slice("12:00:00 ".length));
  };
  const LINE = "still at work: asking the mirrors (3 of 4), preparing toolchains for 2 elements";

  test("says what is being done, again and again, until it is closed", async () => {
    expect(await after(25)).toEqual([""]);
    expect(await after(70)).toEqual([LINE, LINE, ""]);
  });

  test("says nothing where it is to be quiet", async () => {
    expect(await after(300, "quiet")).toEqual([""]);
  });
});

async function plain(loudness: "quiet" | "usual" | "verbose"): Promise<string> {
  const stream = new PassThrough() as unknown as NodeJS.WriteStream;
  const now = () => new Date("2026-11-28T12:00:00Z");
  const board = await openBoard({ format: "text", stream, loudness, now });
  board.task?.("asking", "");
  board.task?.("asking", "3 of 4");
  board.task?.("asking", undefined);
  board.say("catalog: 3 kernels\nand 2 suites");
  board.element(of("a"), "fetching", "headers");
  board.element(of("a"), "building");
  board.element(of("a"), "building");
  board.element(of("a"), "published");
  board.element(of("c"), "published", NOTHING_CHANGED);
  board.element(of("b"), "failed", "no");
  board.close();
  stream.end();
  return (await (stream as unknown as PassThrough).toArray()).join("");
}
