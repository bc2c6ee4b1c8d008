import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { guestArchive } from "./guest.ts";

const SECRET = "0123456789abcdef";

describe("guestArchive", () => {
  const module = (name: string) => ({ name, file: `${name}.ko`, bytes: Buffer.from(`module ${name}`) });
  const packed = { ...module("tally"), file: "tally.ko.xz" };
  const content = {
    busybox: Buffer.from("ELF busybox"),
    tree: [module("dummy")],
    sets: [{ modules: [module("tally"), module("doorbell")], smoke: "exit 0\n" }, { modules: [packed] }],
    secret: SECRET,
  };

  test("is what cpio(1) unpacks to a guest, and a script that a shell accepts", async () => {
    const directory = join(await temporaryDirectory(), "root");
    await mkdir(directory);

    execFileSync("cpio", ["--extract", "--quiet", "--make-directories"], {
      cwd: directory,
      input: guestArchive(content),
    });

    expect((await readdir(directory)).toSorted()).toEqual([
      ...["bin", "dev", "init", "proc", "secret", "sets", "sys", "tmp", "tree"],
    ]);
    expect(await readFile(join(directory, "sets/0/doorbell.ko"), "utf8")).toBe("module doorbell");
    expect(await readFile(join(directory, "sets/0/smoke"), "utf8")).toBe("exit 0\n");
    expect(await readFile(join(directory, "tree/dummy.ko"), "utf8")).toBe("module dummy");
    expect(await readFile(join(directory, "bin", "busybox"), "utf8")).toBe("ELF busybox");
    execFileSync("sh", ["-n", join(directory, "init")]);
  });

  test("inserts each set in its order, twice", () => {
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
  });

  test("holds its secret in one file, which the script empties before anything of a driver runs", () => {
    const archive = guestArchive(content).toString("latin1");
    const script = archive.slice(archive.indexOf("#!/bin/busybox sh"));

    expect(archive.split(SECRET)).toHaveLength(2);
    expect(script.indexOf("\n: >/secret\n")).toBeGreaterThan(script.indexOf("\nread -r secret </secret\n"));
    expect(script.indexOf("\n: >/secret\n")).toBeLessThan(script.indexOf("\nstep tree "));
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
