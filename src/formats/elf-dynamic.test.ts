import { execFileSync } from "node:child_process";
import { readFileSync, realpathSync } from "node:fs";
import { expect, test } from "vitest";
import { readDynamicElf } from "./elf-dynamic.ts";

const said = (file: string, expression: RegExp) =>
  [...execFileSync("readelf", ["-d", "-l", "-W", file]).toString().matchAll(expression)].map(
    ([, name]) => name,
  );
const LIBC = realpathSync(
  process.arch === "x64" ? "/lib/x86_64-linux-gnu/libc.so.6" : "/lib/aarch64-linux-gnu/libc.so.6",
);

test.each(["/bin/ls", "/bin/sh", "/usr/bin/xz", LIBC])("%s is read as readelf reads it", (file) => {
  const read = readDynamicElf(readFileSync(realpathSync(file)));

  expect(read?.needed).toEqual(said(file, /Shared library: \[(.+)\]/g));
  expect([read?.soname].filter((name) => name !== undefined)).toEqual(
    said(file, /Library soname: \[(.+)\]/g),
  );
  expect([read?.interpreter].filter((name) => name !== undefined)).toEqual(
    said(file, /program interpreter: (.+)\]/g),
  );
});

test("what is no such file is undefined, wherever it is cut off", () => {
  const bytes = readFileSync("/bin/ls").subarray(0, 4096);

  expect(readDynamicElf(Buffer.from("text"))).toBeUndefined();
  for (let end = 0; end < bytes.length; end += 7)
    expect(() => readDynamicElf(bytes.subarray(0, end))).not.toThrow();
});
