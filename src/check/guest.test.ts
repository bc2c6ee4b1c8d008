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
    at("log [    1.0] doorbell: hello"),
    at("inserted doorbell 0 "),
    at("removed doorbell 0 "),
    at("end 12288"),
  ].join("");

  test("reads what a guest says", () => {
    expect(readGuestReport(GOOD, NONCE)).toEqual({
      release: "6.1.0-56-amd64",
      taintBefore: 0,
      taint: 12288,
      inserted: new Map([["doorbell", { exitCode: 0, message: "" }]]),
      removed: new Map([["doorbell", { exitCode: 0, message: "" }]]),
      log: ["[    1.0] doorbell: hello"],
      ended: true,
      lastWords: [],
    });
  });

  test("keeps what a refused module was told", () => {
    const { inserted } = readGuestReport(
      at("inserted doorbell 1 insmod: can't insert 'doorbell.ko': Invalid module format"),
      NONCE,
    );

    expect(inserted.get("doorbell")).toEqual({
      exitCode: 1,
      message: "insmod: can't insert 'doorbell.ko': Invalid module format",
    });
  });

  test("finds its lines behind words of the kernel on the same line, and puts other lines aside", () => {
    const console = `[    0.1] Linux version 6.1\r\n[    0.9] random: crng init done${at("begin 6.1.0-56-amd64 0")}[    1.1] BUG: unable to handle page fault\n${at("end 0")}`;

    const report = readGuestReport(console, NONCE);

    expect(report).toMatchObject({ release: "6.1.0-56-amd64", ended: true });
    expect(report.lastWords).toEqual([
      "[    0.1] Linux version 6.1",
      "[    1.1] BUG: unable to handle page fault",
    ]);
  });

  test("has not ended when the console breaks off", () => {
    const cut = GOOD.slice(0, GOOD.indexOf("removed"));

    const report = readGuestReport(`${cut}\r\nKernel panic - not syncing`, NONCE);

    expect(report.ended).toBe(false);
    expect(report.inserted.get("doorbell")?.exitCode).toBe(0);
    expect([...report.removed]).toEqual([]);
    expect(report.lastWords.at(-1)).toBe("Kernel panic - not syncing");
  });

  test.each([
    ["in the middle of its number", `${GOOD.slice(0, GOOD.indexOf("end 12288"))}end 12`],
    ["before its number", `${GOOD.slice(0, GOOD.indexOf("end 12288"))}end \r\n`],
  ])("has not ended when the last line breaks off %s", (_, console) => {
    const report = readGuestReport(console, NONCE);

    expect(report.ended).toBe(false);
    expect(report).not.toHaveProperty("taint");
  });

  test("believes nothing in a line that does not know the secret of this boot", () => {
    const forged = [
      "begin 6.1.0-56-amd64 0",
      "@ffffffffffffffff inserted doorbell 0 ",
      "@ inserted doorbell 0 ",
      `@${NONCE}inserted doorbell 0 `,
      `${NONCE} end 0`,
      "end 0",
    ].join("\r\n");

    const report = readGuestReport(forged, NONCE);

    expect(report).toMatchObject({ ended: false, log: [] });
    expect(report.inserted.size).toBe(0);
    expect(report).not.toHaveProperty("release");
    expect(report.lastWords).toHaveLength(6);
  });

  test("takes what a module logs for a message, whatever it says", () => {
    const report = readGuestReport(at(`log [  1.0] inserted doorbell 0 `) + at("log end 0"), NONCE);

    expect(report.inserted.size).toBe(0);
    expect(report.ended).toBe(false);
    expect(report.log).toEqual(["[  1.0] inserted doorbell 0", "end 0"]);
  });

  test("passes no control characters on to a terminal", () => {
    const hostile = "\u001b[31mred\u001b[0m \u001b]0;title\u0007 \u009b2J\u0000 bell\u0008";
    const report = readGuestReport(
      `${at(`log ${hostile}`)}${at(`inserted a 1 ${hostile}`)}${hostile}\n`,
      NONCE,
    );

    const text = JSON.stringify([report.log, report.lastWords, report.inserted.get("a")?.message]);
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
      at("end 7"),
      at("end"),
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

        expect(report.ended).toBe(new RegExp(`@${NONCE} end \\d+( [^\\n]*)?\\n`).test(console));
        if (!console.includes(`@${NONCE} `)) expect(report.inserted.size + report.log.length).toBe(0);
        expect([...report.log, ...report.lastWords].some((text) => /\p{Cc}/u.test(text))).toBe(false);
      }),
    );
  });
});

describe("guestArchive", () => {
  const content = {
    busybox: Buffer.from("ELF busybox"),
    modules: [
      { name: "tally", bytes: Buffer.from("module t") },
      { name: "doorbell", bytes: Buffer.from("module d") },
    ],
    nonce: NONCE,
  };

  test("is what cpio(1) unpacks to a guest, and a script that a shell accepts", async () => {
    const directory = join(await temporaryDirectory(), "root");
    await mkdir(directory);

    execFileSync("cpio", ["--extract", "--quiet", "--make-directories"], {
      cwd: directory,
      input: guestArchive(content),
    });

    expect((await readdir(directory)).toSorted()).toEqual(["bin", "dev", "init", "modules", "proc", "sys"]);
    expect(await readFile(join(directory, "modules", "doorbell.ko"), "utf8")).toBe("module d");
    expect(await readFile(join(directory, "bin", "busybox"), "utf8")).toBe("ELF busybox");
    execFileSync("sh", ["-n", join(directory, "init")]);
  });

  test("inserts modules in the given order, and says each line with the secret", () => {
    const archive = guestArchive(content).toString("latin1");

    expect(archive).toContain("<<'MODULES'\ntally\ndoorbell\nMODULES\n");
    expect(archive.split(`@${NONCE} `).length).toBeGreaterThan(2);
  });

  test("gives the same bytes for the same content", () => {
    expect(guestArchive(content)).toEqual(guestArchive(structuredClone(content)));
  });
});
