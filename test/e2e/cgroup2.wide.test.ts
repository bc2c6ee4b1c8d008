/**
 * Control groups of version 2, on a kernel that has nothing else: a virtual machine with Node.js, bubblewrap and
 * the sandbox's own source, once as the first process of the machine and once where a service manager would put us.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { probeAccelerator } from "../../src/check/guest/qemu.ts";
import { makeBusyboxRoot } from "../support/busybox-root.ts";
import { sharedElement } from "../support/e2e-farm.ts";
import { CHECKOUT, TEST_CACHE } from "../support/e2e-mirror.ts";
import { sharedDirectory } from "../support/temporary.ts";

const directory = sharedDirectory();
const root = makeBusyboxRoot();
const PROGRAMS = ["bwrap", "setpriv", "prlimit", "unshare", "mount"];

/** In the guest: what each script was stopped by, and where groups were made. */
const MODULE = `
  import { mkdirSync } from "node:fs";
  import { bubblewrap } from "/farm/src/builder/sandboxes/bubblewrap.ts";
  import { groupPlaces } from "/farm/src/builder/sandboxes/cgroup.ts";
  const SCRIPTS = {
    enough: "dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null; exit 7",
    killed: "sh -c 'kill -9 $$'; exit $?",
    memory: "dd if=/dev/zero of=/dev/null bs=300M count=1 2>/dev/null; exit 0",
    together: "for i in 1 2 3 4 5 6; do dd if=/dev/zero bs=50M 2>/dev/null | sleep 30 & done; wait",
    processes: "i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); done; wait",
    disk: "for i in 1 2 3 4 5; do dd if=/dev/zero of=/tmp/$i bs=1M count=8 2>/dev/null; done; sleep 30",
  };
  const results = {};
  for (const [name, script] of Object.entries(SCRIPTS)) {
    const place = "/tmp/" + process.argv[1] + "-" + name;
    for (const part of ["output", "scratch"]) mkdirSync(place + "/" + part, { recursive: true });
    try {
      const { exitCode, stopped } = await bubblewrap.run({
        root: "/root", inputs: [], outputs: [[place + "/output", "/output"]], scratch: place + "/scratch",
        links: [], emptyDirectories: [], env: { PATH: "/bin" }, argv: ["/bin/sh", "-c", script],
        timeoutMs: 60000, memoryBytes: 200 << 20, processLimit: 60, writableBytes: 32 << 20,
        outputLimitBytes: 1 << 20, logFile: place + "/log",
      });
      results[name] = [exitCode, stopped ?? null];
    } catch (thrown) {
      results[name] = String(thrown.message);
    }
  }
  console.log("RESULT " + JSON.stringify({ where: process.argv[1], places: await groupPlaces(), results }));`;

const INIT = `#!/bin/busybox sh
if [ "$1" != moved ]; then
  mount -t tmpfs -o size=90% none /new
  cp -a /bin /farm /lib /lib64 /root /usr /init /new/
  mkdir /new/proc /new/sys /new/dev /new/tmp /new/run /new/etc
  exec switch_root /new /bin/busybox sh /init moved
fi
export PATH=/bin:/usr/bin
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
mount -t cgroup2 none /sys/fs/cgroup
exec >/dev/ttyS0 2>&1
cd /farm
/bin/node --disable-warning=ExperimentalWarning --input-type=module --eval "$(cat /farm/try.js)" top
# As a service manager does it: a slice that hands its controllers on, and us in a scope below.
mkdir -p /sys/fs/cgroup/user.slice/session.scope
echo +memory +pids >/sys/fs/cgroup/cgroup.subtree_control
echo +memory +pids >/sys/fs/cgroup/user.slice/cgroup.subtree_control
echo $$ >/sys/fs/cgroup/user.slice/session.scope/cgroup.procs
/bin/node --disable-warning=ExperimentalWarning --input-type=module --eval "$(cat /farm/try.js)" below
echo "LEFT $(find /sys/fs/cgroup -name 'kmodfarm-*' | wc -l)"
busybox poweroff -f
`;

interface Result {
  readonly where: string;
  readonly places: unknown;
  readonly results: Readonly<Record<string, unknown>>;
}

describe("on a machine with control groups of version 2 alone", () => {
  const guest: { console?: string; results?: readonly Result[] } = {};

  beforeAll(async () => {
    const { packages } = await sharedElement("x86_64");
    const vmlinuz = join(TEST_CACHE, "farms/shared/cache/boot", `${packages.image[0].sha256}-vmlinuz`);
    const initramfs = makeInitramfs();
    const argv = [
      ...["-accel", await probeAccelerator("x86_64")],
      "-cpu",
      "max",
      "-m",
      "3072",
      "-nodefaults",
      "-display",
      "none",
    ];
    const boot = ["-no-reboot", "-serial", "stdio", "-kernel", vmlinuz, "-initrd", initramfs];
    guest.console = execFileSync(
      "qemu-system-x86_64",
      [...argv, ...boot, "-append", "console=ttyS0 panic=-1 quiet rdinit=/init"],
      { timeout: 1_500_000, stdio: ["ignore", "pipe", "inherit"] },
    ).toString();
    guest.results = [...guest.console.matchAll(/^RESULT (.*)$/gm)].map(([, text]) => JSON.parse(text ?? ""));
  });

  it.each([
    ["top", "/sys/fs/cgroup"],
    ["below", "/sys/fs/cgroup/user.slice"],
  ])("limits are kept from the %s", (where, parent) => {
    const found = guest.results?.find((one) => one.where === where);

    expect(found?.places, guest.console).toEqual([
      { version: 2, directory: parent, controllers: ["memory", "pids"] },
    ]);
    expect(found?.results).toEqual({
      enough: [7, null],
      killed: [137, null],
      memory: [137, "memoryLimit"],
      together: [137, "memoryLimit"],
      processes: [expect.any(Number), "processLimit"],
      disk: [137, "writeLimit"],
    });
  });

  it("no group is left", () => {
    expect(guest.console).toMatch(/^LEFT 0\s*$/m);
  });
});

function makeInitramfs(): string {
  const tree = join(directory, "tree");
  for (const name of ["bin", "new", "farm/src/builder", "lib", "lib64", "usr", "proc", "sys", "dev", "tmp"])
    mkdirSync(join(tree, name), { recursive: true });
  cpSync(root, join(tree, "root"), { recursive: true, verbatimSymlinks: true });
  cpSync(join(root, "bin"), join(tree, "bin"), { recursive: true, verbatimSymlinks: true });
  for (const program of PROGRAMS) install(execFileSync("which", [program]).toString().trim(), program, tree);
  // Busybox' own would run its own mount.
  install("/bin/sh", "sh", tree);
  install(process.execPath, "node", tree);
  for (const folder of ["base", "build/sandboxes"])
    cpSync(join(CHECKOUT, "src", folder), join(tree, "farm/src", folder), { recursive: true });
  copyFileSync(join(CHECKOUT, "package.json"), join(tree, "farm/package.json"));
  writeFileSync(join(tree, "farm/try.js"), MODULE);
  writeFileSync(join(tree, "init"), INIT, { mode: 0o755 });
  const file = join(directory, "initramfs");
  execFileSync("sh", ["-c", 'cd "$1" && find . | cpio --quiet -o -H newc >"$2"', "sh", tree, file]);
  return file;
}

/** A program with the libraries that its loader will look for. */
function install(program: string, name: string, tree: string): void {
  execFileSync("rm", ["-f", join(tree, "bin", name)]); // Busybox may have one of that name.
  copyFileSync(realpathSync(program), join(tree, "bin", name));
  for (const [library] of execFileSync("ldd", [program]).toString().matchAll(/\/\S+/g)) {
    mkdirSync(join(tree, dirname(library)), { recursive: true });
    copyFileSync(realpathSync(library), join(tree, library));
  }
}
