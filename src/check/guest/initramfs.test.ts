import { execFileSync, spawnSync } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { guestArchive, isRequestable } from "./initramfs.ts";

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

  test.each([
    ["none [integrity] confidentiality", "Y", "lockdown integrity 1"],
    ["[none] integrity confidentiality", "N", "lockdown none 0"],
    ["", "", "lockdown none 0"],
  ])("reports the lockdown '%s' where it is to", async (said, enforced, line) => {
    const directory = await temporaryDirectory();
    const script = guestArchive({ ...content, saysLockdown: true }).toString("latin1");
    const [lines = ""] = /^\$b mount -t securityfs .*^say lockdown .*?$/ms.exec(script) ?? [];
    if (said !== "") await writeFile(join(directory, "lockdown"), `${said}\n`);
    if (said !== "") await writeFile(join(directory, "sig_enforce"), `${enforced}\n`);
    const own = lines.replaceAll(/\/sys\/\S*\/(?=lockdown|sig_enforce)/g, `${directory}/`);

    const words = execFileSync("sh", ["-c", `say() { echo "$*"; }\nb=true\n${own}`], { encoding: "utf8" });

    expect(words).toBe(`${line}\n`);
    expect(guestArchive(content).includes("say lockdown")).toBe(false);
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

  test.each([
    ["after what holds it", "b", ["c 1", "b 0", "a 0", "c 0"], ""],
    ["again only as long as others go out", "d", ["c 1", "b 0", "a 0", "c 1"], "yes"],
  ])("takes a module out %s", async (_, holder, steps, failed) => {
    const script = guestArchive(content).toString("latin1");
    const [remove = ""] = /^take_out\(\) \{ rmmod.*^remove\(\) \{\n.*?^\}$/ms.exec(script) ?? [];
    const step = `step() {
      [ "$2" = c ] && case $out in *${holder}*) code=0 ;; *) code=1 ;; esac || code=0
      [ $code = 0 ] && out=$out$2
      echo "$2 $code"
    }`;

    const said = execFileSync(
      "sh",
      ["-c", `${step}\nb=busybox out= failed= loaded="c b a "\n${remove}\nremove removed\necho "$failed"`],
      { encoding: "utf8" },
    );

    expect(said.split("\n").slice(0, -1)).toEqual([...steps, failed]);
  });

  test.each([
    ["a step that does not come back", "3 removed tally", "hung removed tally"],
    ["no step that came back", "3", ""],
  ])("tells of %s", async (_, state, said) => {
    const directory = await temporaryDirectory();
    await writeFile(join(directory, "step"), `${state}\n`);
    const script = guestArchive(content).toString("latin1");
    const [watch = ""] = /^watch\(\) \{\n.*?^\}$/ms.exec(script) ?? [];
    const stubs = `rounds=
b() { case $1 in sleep) rounds=x$rounds; [ $rounds != xxxx ] ;; poweroff) exit ;; esac; }
messages() { :; }
say() { echo "$*"; }
b=b`;

    const output = execFileSync("sh", [
      "-c",
      `${stubs}\n${watch.replaceAll("/tmp/", `${directory}/`)}\nwatch`,
    ]);

    expect(output.toString().trim()).toBe(said);
  });

  test("takes out before a module what of the kernel's own holds it, and brings that back", async () => {
    const directory = await temporaryDirectory();
    const [sys, log] = [join(directory, "module"), join(directory, "log")];
    for (const [name, holder] of [["tally", "mac"], ["mac", "radio"], ["radio"]] as const) {
      await mkdir(join(sys, name, "holders"), { recursive: true });
      await writeFile(join(sys, name, "initstate"), "live\n");
      if (holder !== undefined) await writeFile(join(sys, name, "holders", holder), "");
    }
    const tree = { kind: "whole" as const, names: ["radio", "fs-x"] };
    const script = guestArchive({ ...content, kmod: [], tree }).toString("latin1");
    const [functions = ""] = /^gone=\ntake_out\(\) \{\n.*?^bring_back\(\) \{\n.*?^\}$/ms.exec(script) ?? [];
    const own = functions
      .replaceAll("/sys/module", sys)
      .replaceAll("/usr/sbin/modprobe", `echo >>${log} modprobe`);
    const rmmod = `rmmod() { echo "rmmod $1" >>${log}; rm -r ${sys}/$1; rm -f ${sys}/*/holders/$1; }`;

    execFileSync("sh", [
      "-c",
      `${rmmod}\n${own}\nloaded="doorbell tally "\ntake_out tally\nbring_back\nbring_back`,
    ]);

    expect((await readFile(log, "utf8")).trimEnd().split("\n")).toEqual([
      ...["rmmod radio", "rmmod mac", "rmmod tally", "modprobe -qa -- radio fs-x"],
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
    const [, configuring = ""] = /^(echo 'install .*?\.conf)$/ms.exec(script) ?? [];
    const config = join(directory, "driver.conf");
    execFileSync("sh", ["-c", configuring.replace("/etc/modprobe.d/driver.conf", config)]);
    expect(await readFile(config, "utf8")).toBe(`\
install tally /own tally /sets/0/tally.ko 'usb_common' '' $CMDLINE_OPTS
softdep tally pre:
options tally debug=1 names=a,b
alias fs-tally tally
`);
    // The kernel has a module of that name itself.
    const tree = join(directory, "lib", "modules", "6.1.0");
    await mkdir(tree, { recursive: true });
    execFileSync("depmod", ["-b", directory, "6.1.0"], { stdio: "ignore" });
    await writeFile(join(tree, "modules.softdep"), "softdep tally pre: crc32c\n");
    const asked = ["-d", directory, "-C", directory, "-S", "6.1.0", "-D", "fs-tally"];
    expect(execFileSync("modprobe", asked, { encoding: "utf8" })).toMatch(
      /^install \/own tally \/sets\/0\/tally.ko /,
    );
    expect(await readdir(directory)).toEqual(expect.arrayContaining(["etc", "own", "request"]));
    for (const program of ["init", "own", "request"]) execFileSync("sh", ["-n", join(directory, program)]);
  });

  test("brings along what belongs before and after a module that is asked for, in circles too", async () => {
    const directory = join(await temporaryDirectory(), "root");
    await mkdir(directory);
    const whole = { ...content, tree: { kind: "whole" as const, names: [] } };
    execFileSync("cpio", ["--extract", "--quiet", "--make-directories"], {
      cwd: directory,
      input: guestArchive(whole),
    });
    const stub = async (name: string, text: string) =>
      writeFile(join(directory, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    const [modprobe, insmod, own, log] = ["modprobe", "insmod", "own.sh", "log"].map((name) =>
      join(directory, name),
    ) as [string, string, string, string];
    await stub("insmod", `echo "insmod $*" >>${log}`);
    await stub(
      "modprobe",
      `echo "modprobe $*" >>${log}
for name; do
  case $name in
  base) ${own} base base.ko 'top crypto-cbc(*)' '' ;;
  top) ${own} top top.ko base '' ;;
  esac
done`,
    );
    const text = (await readFile(join(directory, "own"), "utf8"))
      .replace("#!/bin/busybox sh", "")
      .replaceAll("/tmp/", `${directory}/`)
      .replaceAll("/usr/sbin/modprobe", modprobe)
      .replaceAll("/usr/sbin/insmod", insmod);
    await stub("own.sh", text);

    execFileSync(own, ["top", "top.ko", "base", "later", "debug=1"]);

    expect((await readFile(log, "utf8")).trimEnd().split("\n")).toEqual([
      "modprobe -qa -- base",
      "modprobe -qa -- top crypto-cbc(*)",
      ...["insmod base.ko", "insmod top.ko debug=1"],
      "modprobe -qa -- later",
    ]);
    expect(await readdir(directory)).toEqual(expect.arrayContaining(["in-base", "in-top"]));
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

  test("runs a driver's own script with that kmod, whatever the shell has of its own", async () => {
    const directory = await temporaryDirectory();
    const kmod = [{ path: "usr/bin/kmod", mode: 0o100755, content: "ELF kmod" }];
    const archive = guestArchive({ ...content, kmod }).toString("latin1");
    const [, call = ""] = /step smoke script \$b (sh -c '.*' \.\/smoke)\n/.exec(archive) ?? [];
    const calls = call.replaceAll("/usr/sbin/", "echo kmod ");
    await writeFile(join(directory, "smoke"), 'modprobe "a b" -q\ninsmod ./c.ko\nexit 3\nmodprobe d\n');

    const { stdout, status } = spawnSync("sh", ["-c", calls], { cwd: directory, encoding: "utf8" });

    expect([status, stdout]).toEqual([3, "kmod modprobe a b -q\nkmod insmod ./c.ko\n"]);
  });

  test("gives the same bytes for the same content", () => {
    expect(guestArchive(content)).toEqual(guestArchive(structuredClone(content)));
  });
});
