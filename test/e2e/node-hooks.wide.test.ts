/**
 * What deploy/node has for hosts, done once for real: the kernel hook by dpkg, which installs and removes a kernel in a root of
 * Debian; and the unit by systemd, in a machine that boots twice, the second time without its registry.
 */
import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";
import { CHECKOUT } from "../support/e2e-mirror.ts";
import {
  bootNode,
  buildDriver,
  makeDisk,
  type NodeRelease,
  nodeRelease,
  startNginx,
} from "../support/node-machine.ts";
import { blockOf, given, makeNodeRegistry, rootNote } from "../support/node-registry.ts";
import { startServer } from "../support/server.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const run = promisify(execFile);
const MOST_OUTPUT = { maxBuffer: 1 << 26 };
const CLIENT_FILES = [
  "kmodfarm-fetch",
  "kmodfarm-registry.sh",
  "kmodfarm-sets.sh",
  "kmodfarm-proofs.sh",
  "kmodfarm-lines.awk",
];
const made: { node?: NodeRelease; modules: Awaited<ReturnType<typeof buildDriver>> } = { modules: [] };
const known = () => made as Required<typeof made>;

beforeAll(async () => {
  made.node = await nodeRelease("trixie");
  made.modules = await buildDriver(made.node, "1.0.0", (_, text) => text);
});

async function publishDriver(place?: string) {
  const { node, modules } = known();
  const registry = await makeNodeRegistry(place);
  const artifact = await given(registry, { version: "1.0.0", modules });
  await registry.publish([
    blockOf(artifact, { release: node.release, uname: { kind: "uname", text: node.version } }),
  ]);
  return registry;
}

async function clientFiles(): Promise<Record<string, string | Buffer>> {
  const files: Record<string, string | Buffer> = { "etc/kmodfarm/root": rootNote() };
  for (const file of CLIENT_FILES)
    files[`usr/local/lib/kmodfarm/${file}`] = await readFile(join(CHECKOUT, "deploy/node", file));
  return files;
}

test("dpkg installs a kernel, and its driver is there before it is booted; what dpkg cannot remove, the next call does", async () => {
  const { node } = known();
  const root = join(await temporaryDirectory(), "root");
  await run("cp", ["-a", node.root, root], MOST_OUTPUT);
  const files = {
    ...(await clientFiles()),
    "etc/kmodfarm/drivers": "doorbell\n",
    "etc/kmodfarm/registries": "/srv/registry\n",
    "etc/kernel/postinst.d/zz-kmodfarm": await readFile(join(CHECKOUT, "deploy/node/kernel-postinst")),
  };
  for (const [path, content] of Object.entries(files)) {
    await mkdir(join(root, path, ".."), { recursive: true });
    await writeFile(join(root, path), content);
    await chmod(join(root, path), 0o755);
  }
  await publishDriver(join(root, "srv/registry"));
  const downloads = join(node.workshop, "downloads");
  const [image = ""] = (await readdir(downloads)).filter((name) => name.includes(node.release));
  await copyFile(join(downloads, image), join(root, "image.deb"));
  const inside = async (command: string) => {
    const script = 'mount -t proc proc "$1/proc" && exec chroot "$1" sh -c "$2"';
    const argv = ["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"];
    const { stdout } = await run("unshare", [...argv, "sh", "-c", script, "sh", root, command], MOST_OUTPUT);
    return stdout;
  };
  const modules = join(root, "lib/modules", node.release);
  const found = `modprobe --set-version ${node.release} --show-depends doorbell`;

  const installed = await inside("dpkg --install --force-depends /image.deb 2>&1");
  expect(installed).toMatch(/exact: doorbell 1\.0\.0 is in \/lib\/modules\//);
  expect(await inside(found)).toContain("/updates/kmodfarm/doorbell/doorbell.ko");
  expect((await readdir(join(modules, "updates/kmodfarm/doorbell"))).toSorted()).toContain("tally.ko");

  const removed = await inside(`dpkg --remove --force-depends linux-image-${node.release} 2>&1`);
  console.log(installed, removed, await readdir(modules));
  expect(await readdir(join(root, "lib/modules/.kmodfarm"))).toEqual([node.release]);
  await inside("sh /usr/local/lib/kmodfarm/kmodfarm-fetch doorbell || :");
  expect(await readdir(join(root, "lib/modules/.kmodfarm"))).toEqual([]);
  expect((await readdir(modules).catch(() => [])).filter((name) => name === "updates")).toEqual([]);
});

const REPORT_UNIT = `[Unit]
After=kmodfarm-fetch@doorbell.service
Wants=kmodfarm-fetch@doorbell.service
[Service]
Type=oneshot
ExecStart=/bin/sh /usr/local/lib/report
`;
const REPORT = `exec >/dev/console 2>&1
echo
echo "UNIT $(systemctl is-active kmodfarm-fetch@doorbell) $(cat /sys/module/doorbell/version)"
journalctl -b -o cat -u kmodfarm-fetch@doorbell | sed -n 's/^\\([a-z][A-Za-z]*: .*\\)$/SAID \\1/p'
echo ENDED
sync
busybox poweroff -f
`;

test("systemd fetches and loads the driver at boot, and loads it again if nothing can be fetched", async () => {
  const { node } = known();
  const registry = await publishDriver();
  const nginx = await startNginx(node, registry.directory);
  const control = await startServer((_, response) => void response.end("exec /lib/systemd/systemd\n"));
  const port = Number(new URL(control.url).port);
  const directory = await temporaryDirectory();
  const disk = await makeDisk(
    node,
    {
      ...(await clientFiles()),
      "etc/kmodfarm/registries": `http://10.0.2.2:${nginx.port}\n`,
      "etc/systemd/system/kmodfarm-fetch@.service": await readFile(
        join(CHECKOUT, "deploy/node/kmodfarm-fetch@.service"),
      ),
      "etc/systemd/system/report.service": REPORT_UNIT,
      "etc/systemd/system/multi-user.target.d/report.conf": "[Unit]\nWants=report.service\n",
      "usr/local/lib/report": REPORT,
    },
    directory,
  );
  const loaded = "UNIT active 1.0.0";

  const first = await bootNode(node, disk, port, directory);
  await nginx.stop();
  const second = await bootNode(node, disk, port, directory);

  expect(first).toEqual([loaded, expect.stringMatching(/^SAID exact: doorbell 1\.0\.0 is loaded from /)]);
  expect(second).toEqual([loaded, expect.stringMatching(/^SAID exact: .*(does not answer|gives no head)/)]);
});
