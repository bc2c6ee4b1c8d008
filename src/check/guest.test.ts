import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { guestArchive, readGuestReport } from "./guest.ts";

const NONCE = "0123456789abcdef";
const at = (text: string) => `@${NONCE} ${text}\r\n`;

describe("readGuestReport", () => {
  const GOOD = [
    at("begin 6.1.0-56-amd64 0"),
    at("log [    0.9] dummy: hello"),
    at("tree dummy 0 "),
    at("set 0 0"),
    at("log [    1.0] doorbell: hello"),
    at("inserted doorbell 0 "),
    at("removed doorbell 0 "),
    at("done 0 12288"),
    at("end"),
  ].join("");
  const inSet = (...lines: string[]) =>
    readGuestReport([at("set 0 0"), ...lines].join(""), NONCE).sets.get(0);

  test("reads what a guest says", () => {
    expect(readGuestReport(GOOD, NONCE)).toEqual({
      release: "6.1.0-56-amd64",
      tree: [{ module: "dummy", exitCode: 0, message: "" }],
      sets: new Map([
        [
          0,
          {
            ...{ taintBefore: 0, taint: 12288 },
            steps: [
              { verb: "inserted", module: "doorbell", exitCode: 0, message: "" },
              { verb: "removed", module: "doorbell", exitCode: 0, message: "" },
            ],
            log: ["[    1.0] doorbell: hello"],
          },
        ],
      ]),
      log: ["[    0.9] dummy: hello", "[    1.0] doorbell: hello"],
      ended: true,
      lastWords: [],
    });
  });

  test("keeps what a refused module was told", () => {
    const words = "insmod: can't insert 'doorbell.ko': Invalid module format";

    expect(inSet(at(`inserted doorbell 1 ${words}`))?.steps).toEqual([
      { verb: "inserted", module: "doorbell", exitCode: 1, message: words },
    ]);
  });

  test("keeps which step did not come back", () => {
    expect(inSet(at("hung removed doorbell"))).toMatchObject({
      hung: { verb: "removed", module: "doorbell" },
    });
  });

  test("parts the sets of one boot", () => {
    const two = [at("set 0 0"), at("log a"), at("done 0 1"), at("set 1 1"), at("log b"), at("done 1 1")].join(
      "",
    );

    const { sets } = readGuestReport(two, NONCE);

    expect([...sets].map(([index, { taintBefore, log }]) => [index, taintBefore, ...log])).toEqual([
      [0, 0, "a"],
      [1, 1, "b"],
    ]);
  });

  test("finds its lines behind words of the kernel on the same line, and puts other lines aside", () => {
    const console = `[    0.1] Linux version 6.1\r\n[    0.9] random: crng init done${at("begin 6.1.0-56-amd64 0")}[    1.1] BUG: unable to handle page fault\n${at("end")}`;

    const report = readGuestReport(console, NONCE);

    expect(report).toMatchObject({ release: "6.1.0-56-amd64", ended: true });
    expect(report.lastWords).toEqual([
      "[    0.1] Linux version 6.1",
      "[    1.1] BUG: unable to handle page fault",
    ]);
  });

  test("has not ended when the console breaks off", () => {
    const cut = GOOD.slice(0, GOOD.indexOf(`@${NONCE} removed`));

    const report = readGuestReport(`${cut}\r\nKernel panic - not syncing`, NONCE);

    expect(report.ended).toBe(false);
    expect(report.sets.get(0)?.steps).toHaveLength(1);
    expect(report.sets.get(0)).not.toHaveProperty("taint");
    expect(report.lastWords.at(-1)).toBe("Kernel panic - not syncing");
  });

  test.each([
    ["in the middle of its number", "done 0 12"],
    ["before its number", "done 0 \r\n"],
  ])("has no taint when the last line breaks off %s", (_, line) => {
    expect(inSet(`@${NONCE} ${line}`)).not.toHaveProperty("taint");
  });

  test("believes nothing in a line that does not know the secret of this boot", () => {
    const forged = [
      "begin 6.1.0-56-amd64 0",
      "@ffffffffffffffff set 0 0",
      "@ffffffffffffffff inserted doorbell 0 ",
      "@ inserted doorbell 0 ",
      `@${NONCE}inserted doorbell 0 `,
      `${NONCE} end`,
      "end",
    ].join("\r\n");

    const report = readGuestReport(forged, NONCE);

    expect(report).toMatchObject({ ended: false, log: [], tree: [] });
    expect(report.sets.size).toBe(0);
    expect(report).not.toHaveProperty("release");
    expect(report.lastWords).toHaveLength(7);
  });

  test("takes what a module logs for a message, whatever it says", () => {
    const report = inSet(at("log [  1.0] inserted doorbell 0 "), at("log done 0 0"), at("log end"));

    expect(report?.steps).toEqual([]);
    expect(report).not.toHaveProperty("taint");
    expect(report?.log).toEqual(["[  1.0] inserted doorbell 0", "done 0 0", "end"]);
  });

  test("passes no control characters on to a terminal", () => {
    const hostile = "\u001b[31mred\u001b[0m \u001b]0;title\u0007 \u009b2J\u0000 bell\u0008";
    const report = readGuestReport(
      `${at("set 0 0")}${at(`log ${hostile}`)}${at(`inserted a 1 ${hostile}`)}${hostile}\n`,
      NONCE,
    );

    const text = JSON.stringify([report.log, report.lastWords, report.sets.get(0)]);
    expect(text).not.toMatch(/\\u00[01]|\\b/);
    expect(report.lastWords[0]).toMatch(/^red /);
  });

  test("keeps only the last words, and no endless line", () => {
    const console = Array.from({ length: 100 }, (_, index) => `line ${index}\n`).join("");

    const report = readGuestReport(`${console}${"x".repeat(10_000)}`, NONCE);

    expect(report.lastWords).toHaveLength(40);
    expect(report.lastWords.at(-1)).toHaveLength(500);
  });

  test("is never surprised, and never says more than the secret allows", () => {
    const word = fc.constantFrom(
      at("begin 6.1 0"),
      at("set 0 0"),
      at("set"),
      at("done 0 7"),
      at("done"),
      at("end"),
      at("hung removed"),
      at("inserted"),
      at("log"),
      "@",
      NONCE,
      "\r",
      "\n",
      " ",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(word, fc.string({ unit: "binary" }))), (parts) => {
        const console = parts.join("").replaceAll("\r", "");

        const report = readGuestReport(parts.join(""), NONCE);

        expect(report.ended).toBe(new RegExp(`@${NONCE} end( [^\\n]*)?\\n`).test(console));
        if (!console.includes(`@${NONCE} `)) expect(report.sets.size + report.log.length).toBe(0);
        expect([...report.log, ...report.lastWords].some((text) => /\p{Cc}/u.test(text))).toBe(false);
      }),
    );
  });
});

describe("guestArchive", () => {
  const module = (name: string) => ({ name, file: `${name}.ko`, bytes: Buffer.from(`module ${name}`) });
  const packed = { ...module("tally"), file: "tally.ko.xz" };
  const content = {
    busybox: Buffer.from("ELF busybox"),
    tree: [module("dummy")],
    sets: [{ modules: [module("tally"), module("doorbell")], smoke: "exit 0\n" }, { modules: [packed] }],
    nonce: NONCE,
  };

  test("is what cpio(1) unpacks to a guest, and a script that a shell accepts", async () => {
    const directory = join(await temporaryDirectory(), "root");
    await mkdir(directory);

    execFileSync("cpio", ["--extract", "--quiet", "--make-directories"], {
      cwd: directory,
      input: guestArchive(content),
    });

    expect((await readdir(directory)).toSorted()).toEqual([
      ...["bin", "dev", "init", "proc", "sets", "sys", "tmp", "tree"],
    ]);
    expect(await readFile(join(directory, "sets/0/doorbell.ko"), "utf8")).toBe("module doorbell");
    expect(await readFile(join(directory, "sets/0/smoke"), "utf8")).toBe("exit 0\n");
    expect(await readFile(join(directory, "tree/dummy.ko"), "utf8")).toBe("module dummy");
    expect(await readFile(join(directory, "bin", "busybox"), "utf8")).toBe("ELF busybox");
    execFileSync("sh", ["-n", join(directory, "init")]);
  });

  test("inserts each set in its order, twice, and says each line with the secret", () => {
    const archive = guestArchive(content).toString("latin1");
    const plan = archive.slice(archive.indexOf("begin_set 0\n"), archive.indexOf("\nstop\n"));

    expect(plan.split("\n")).toEqual([
      "begin_set 0",
      ...["insert inserted tally tally.ko", "insert inserted doorbell doorbell.ko"],
      ...["smoke", "remove removed"],
      ...["insert reinserted tally tally.ko", "insert reinserted doorbell doorbell.ko"],
      ...["remove reremoved", "end_set"],
      "begin_set 1",
      ...["insert inserted tally tally.ko.xz", "remove removed"],
      ...["insert reinserted tally tally.ko.xz", "remove reremoved", "end_set"],
    ]);
    expect(archive.split(`@${NONCE} `).length).toBeGreaterThan(2);
  });

  test("lets the distribution's own kmod insert where there is one", () => {
    const kmod = [{ path: "usr/bin/kmod", mode: 0o100755, content: "ELF kmod" }];

    expect(guestArchive(content).toString("latin1")).toContain("$b insmod");
    expect(guestArchive({ ...content, kmod }).toString("latin1")).toContain("/usr/sbin/insmod");
  });

  test("gives the same bytes for the same content", () => {
    expect(guestArchive(content)).toEqual(guestArchive(structuredClone(content)));
  });
});
