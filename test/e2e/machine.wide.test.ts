/**
 * What this machine lacks is said as that: no QEMU, no space where the cache is. In mount namespaces of their own, so as
 * root only.
 */
import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { architecture, hostArchitecture } from "../../src/kernel/architecture.ts";
import { useFarms } from "../support/e2e-farm.ts";
import { CHECKOUT } from "../support/e2e-mirror.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const farms = useFarms();

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program after some lines of shell, in a mount namespace that ends with it. */
async function inMounts(lines: string, argv: readonly string[], cwd?: string): Promise<Ended> {
  const started = promisify(execFile)(
    "unshare",
    ["--mount", "--propagation", "private", "sh", "-ec", `${lines}\nexec "$@"`, "sh", ...argv],
    { cwd, maxBuffer: 64 << 20 },
  );
  return started.then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: Ended) => error,
  );
}

it("without QEMU there is no guest that could be silent", async () => {
  const directory = await temporaryDirectory();
  const host = hostArchitecture(process.arch) ?? "x86_64";
  const { program, package: from } = architecture(host).qemu;
  await mkdir(join(directory, "upper"));
  await mkdir(join(directory, "work"));
  const hidden = `mount -t tmpfs tmpfs ${directory}
mkdir ${directory}/upper ${directory}/work
mknod ${directory}/upper/${program} c 0 0
mount -t overlay overlay -o lowerdir=/usr/bin,upperdir=${directory}/upper,workdir=${directory}/work /usr/bin`;
  const script = `const { bootGuest } = await import(${JSON.stringify(join(CHECKOUT, "src/check/guest/qemu.ts"))});
const guest = { architecture: ${JSON.stringify(host)}, vmlinuz: "/v", initramfs: "/i", console: "/c" };
await bootGuest(guest).catch(({ code, message, hint }) => console.log(JSON.stringify({ code, message, hint })));`;

  const { stdout, stderr } = await inMounts(hidden, [process.execPath, "--input-type=module", "-e", script]);

  expect(JSON.parse(stdout || JSON.stringify(stderr))).toEqual({
    code: "TOOL_MISSING",
    message: expect.stringContaining(`${program} is not installed`),
    hint: expect.stringContaining(`apt-get install ${from}`),
  });
});

it.each([2, 40])("a cache of %i MiB that is full is no bad mirror: DISK_FULL, exit 3", async (size) => {
  const mirror = await farms.mirror();
  const farm = await farms.farm({ mirror, warm: [] });
  await mkdir(farm.cache, { recursive: true });

  const { code, stdout, stderr } = await inMounts(
    `mount -t tmpfs -o size=${size}m tmpfs ${farm.cache}`,
    [join(CHECKOUT, "bin/kmodfarm"), "run", "--config", farm.config],
    farm.directory,
  );

  expect([code, `${stdout}${stderr}`]).toEqual([3, expect.stringContaining("[DISK_FULL]")]);
  expect(`${stdout}${stderr}`).not.toMatch(/\[(REMOTE_UNAVAILABLE|TOOL_FAILED|BUG)\]/);
});
