import { describe, expect, test } from "vitest";
import { cut, isColourful, isLive, painted, sizeOf, wrapped } from "./terminal.ts";

const TERMINAL = { isTTY: true, columns: 80, rows: 24 };

describe("a stream", () => {
  test.each<[string, object, Record<string, string>, boolean, boolean]>([
    ["a terminal", TERMINAL, { TERM: "xterm" }, true, true],
    ["a terminal with NO_COLOR", TERMINAL, { TERM: "xterm", NO_COLOR: "1" }, true, false],
    ["a terminal with an empty NO_COLOR", TERMINAL, { TERM: "xterm", NO_COLOR: "" }, true, true],
    ["a dumb terminal", TERMINAL, { TERM: "dumb" }, false, false],
    ["a pipe", {}, { TERM: "xterm" }, false, false],
  ])("that is %s is redrawn and coloured as far as it can be", (_, stream, environment, live, colourful) => {
    expect([isLive(stream, environment), isColourful(stream, environment)]).toEqual([live, colourful]);
  });

  test("that does not know its size is taken for a usual one", () => {
    expect(sizeOf({ columns: 0, rows: 0 })).toEqual({ columns: 80, rows: 24 });
    expect(sizeOf({})).toEqual({ columns: 80, rows: 24 });
  });
});

test("a sentence that is too wide is broken between words, and goes on behind a margin", () => {
  expect(wrapped("one two three four\nshort\n", 10)).toBe("one two\n  three\n  four\nshort\n");
  expect(wrapped("  at: a sentence of words", 14)).toBe("  at: a\n    sentence\n    of words");
});

test("a path is never broken, and what fits stays as it is", () => {
  const path = "/var/lib/kmodfarm/store/view";

  expect(wrapped(`log: ${path} it is`, 12)).toBe(`log:\n  ${path}\n  it is`);
  expect(wrapped(path, 12)).toBe(path);
  expect(wrapped("debian12  x86_64 ", 17)).toBe("debian12  x86_64 ");
});

test("a text that is cut shows that it is, and is as wide as it may be", () => {
  expect([cut("kernel", 6), cut("kernels", 6), cut("x", 0)]).toEqual(["kernel", "kerne…", "…"]);
});

test("words that say how it went are coloured where they are a cell, and nowhere else", () => {
  const shown = painted("failed      hello\nhello  stable  failed to load\nhello failed\nfailedly\n");

  expect(shown).toBe(
    "\u001b[31mfailed\u001b[0m      hello\nhello  \u001b[32mstable\u001b[0m  \u001b[31mfailed\u001b[0m to load\nhello failed\nfailedly\n",
  );
});
