import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { guestArchive, isRequestable } from "./guest.ts";

const SECRET = "0123456789abcdef";

describe("guestArchive", () => {
  const module = (name: string) => ({ name, file: `${name}.ko`, bytes: Buffer.from(`module ${name}`) });
  const packed = { ...module("tally"), file: "tally.ko.xz" };
  const content = {
    busybox: Buffer.from("ELF busybox"),
    tree: { kind: "some" as const, modules: [module("dummy")] },
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
      ...["bin", "dev", "init", "proc", "request", "secret", "sets", "sys", "tmp", "tree", "usr"],
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

  test("lets modprobe bring what the sets want of the kernel's own, and finds a set's modules first", async () => {
    const directory = join(await temporaryDirectory(), "root");
    await mkdir(directory);
    const tally = {
      ...module("tally"),
      parameters: ["debug=1", "names=a,b"],
      aliases: ["fs-tally", "a'b"],
      softdeps: { pre: ["usb_common"], post: [] },
    };
    const kmod = [{ path: "usr/sbin/modprobe", mode: 0o120777, content: "../bin/kmod" }];
    const whole = {
      ...content,
      kmod,
      tree: { kind: "whole" as const, names: ["usb_common", "crypto-cbc(aes)"] },
      sets: [{ modules: [tally] }],
    };

    execFileSync("cpio", ["--extract", "--quiet", "--make-directories"], {
      cwd: directory,
      input: guestArchive(whole),
    });

    const script = await readFile(join(directory, "init"), "utf8");
    expect(script.split("\n").filter((line) => line.startsWith("step tree"))).toEqual([
      "step tree 'usb_common' /usr/sbin/modprobe -- 'usb_common'",
      "step tree 'crypto-cbc(aes)' /usr/sbin/modprobe -- 'crypto-cbc(aes)'",
    ]);
    expect(script).toContain("insert inserted tally tally.ko 'debug=1' 'names=a,b'\n");
    expect(script).toContain(`
echo 'install tally /own tally /sets/0/tally.ko $CMDLINE_OPTS
softdep tally pre: usb_common
options tally debug=1 names=a,b
alias fs-tally tally' >/etc/modprobe.d/set.conf
begin_set 0
`);
    expect(await readdir(directory)).toEqual(expect.arrayContaining(["etc", "own", "request"]));
    for (const program of ["init", "own", "request"]) execFileSync("sh", ["-n", join(directory, program)]);
  });

  test("says what was asked for where nothing of the kernel's own is there", () => {
    const kmod = [{ path: "usr/sbin/modprobe", mode: 0o120777, content: "../bin/kmod" }];

    const archive = guestArchive({ ...content, kmod }).toString("latin1");

    expect(archive).toContain('echo "<6>kmodfarm: asked for $name" >/dev/kmsg');
    expect(archive).not.toContain("../bin/kmod");
  });

  test.each([
    ["usb_common", true],
    ["crypto-cbc(aes)", true],
    ["a b", false],
    ["a'b", false],
    ["-r", false],
    ["", false],
  ])("asks modprobe for %j: %s", (name, isAsked) => {
    expect(isRequestable(name)).toBe(isAsked);
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
