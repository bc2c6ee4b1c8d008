/**
 * Names that steer terminals, in files that kmodfarm only looks at: shown and not obeyed, and JSON stays JSON.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { cli } from "../support/e2e-farm.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const STEERING = /[\p{Cc}\p{Bidi_Control}]/u;
const NAMES = [
  Buffer.from("red\u001b[31m.ko"),
  Buffer.from("c1\u009b31m.ko"),
  Buffer.from("delete\u007f.ko"),
  Buffer.from("bidi\u202eok.ko"),
  Buffer.from("isolate\u2066.ko"),
  Buffer.from("two\nlines.ko"),
  Buffer.from("next\u0085line.ko"),
  Buffer.from([0x66, 0xff, 0xfe, 0x9b, 0x2e, 0x6b, 0x6f]),
];

it("audit of a directory with names that steer terminals", async () => {
  const directory = await temporaryDirectory();
  const place = join(directory, "6.1.0-56-amd64");
  await mkdir(place);
  for (const name of NAMES) await writeFile(Buffer.concat([Buffer.from(`${place}/`), name]), "no module");

  const [text, json] = [
    await cli(["audit", "."], { cwd: directory }),
    await cli(["audit", ".", "--json"], { cwd: directory }),
  ];

  expect(JSON.stringify(JSON.parse(json.stdout))).toContain("c1\u009b31m.ko");
  for (const output of [text.stdout, text.stderr, json.stdout, json.stderr])
    expect(output.replaceAll("\n", "")).not.toMatch(STEERING);
});

it("an error that names such a file is one JSON document", async () => {
  const { stderr } = await cli(["audit", "no such\u001b[2K\u009b\u202edirectory", "--json"], {
    cwd: await temporaryDirectory(),
  });

  expect(JSON.parse(stderr).error.message).toContain("no such\u001b[2K\u009b\u202edirectory");
  expect(stderr.replaceAll("\n", "")).not.toMatch(STEERING);
});
