import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { NOTHING_CHANGED } from "../base/progress.ts";
import { openBoard } from "./board.ts";

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
    expect(text.split("\n").filter((line) => line.startsWith("second line"))).toHaveLength(1);
  });

  test("on a terminal has no codes but its own", async () => {
    const own = new RegExp(`\\r${"\u001b"}\\[\\d+A${"\u001b"}\\[J`, "g");

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
    expect(text).toMatch(/── 3 as before, 1 done, 0 failed, 1 to do/);
    expect(text).not.toMatch(/4 done/);
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
});
