/**
 * Kernels of a distribution under Secure Boot, with real firmware: which modules they take, and what a node answers before it
 * tries. In the firmware's `db` first, then by shim's list of the machine's owner.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { openScratch } from "../../src/base/scratch.ts";
import { withFirmware } from "../../src/check/guest/firmware.ts";
import { commandLineOf } from "../../src/check/guest/qemu.ts";
import { type TestFarm, useFarms } from "../support/e2e-farm.ts";
import { CHECKOUT } from "../support/e2e-mirror.ts";
import { type ModuleSigner, makeModuleSigner } from "../support/module-signer.ts";
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
import { sharedDirectory, temporaryDirectory } from "../support/temporary.ts";

const farms = useFarms();
const place = sharedDirectory();
const made: {
  node?: NodeRelease;
  farm?: TestFarm;
  ours?: ModuleSigner;
  stranger?: ModuleSigner;
  modules: Awaited<ReturnType<typeof buildDriver>>;
} = { modules: [] };
const known = () => made as Required<typeof made>;

beforeAll(async () => {
  made.node = await nodeRelease("trixie");
  made.modules = await buildDriver(made.node, "1.0.0", (_, text) => text);
  made.farm = await farms.farm({ mirror: await farms.mirror(), releases: ["debian13"], warm: [] });
  made.ours = await makeModuleSigner(place, "ours");
  made.stranger = await makeModuleSigner(place, "stranger");
  const updated = await made.farm.cli("catalog", "update");
  if (updated.exitCode !== 0) throw new Error(updated.stderr);
});

type Sign = (module: Buffer) => Promise<Buffer>;
const signedBy =
  (who: "ours" | "stranger"): Sign =>
  async (module) =>
    Buffer.concat([module, await known()[who].sidecar(module)]);
/** One bit of what modinfo shows. */
const damaged: Sign = async (module) => {
  const bytes = await signedBy("ours")(module);
  const at = bytes.indexOf("description=") + "description=".length;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
};
const REJECTED = /its signature is not accepted: .*Key was rejected by service/;

async function load(name: string, sign: Sign, ...options: string[]) {
  const directory = join(place, name);
  await mkdir(directory, { recursive: true });
  const files = await Promise.all(
    known().modules.map(async ({ file, content }) => {
      await writeFile(join(directory, file), await sign(content));
      return join(directory, file);
    }),
  );
  const { exitCode, stdout, stderr } = await known().farm.cli(
    ...["load", ...files, "--kernel", `debian13/x86_64/${known().node.release}`, "--json", "--secure-boot"],
    ...["--enrol", known().ours.certificate, ...options],
  );
  const { verdict, lockdown } = JSON.parse(stdout || `{"verdict":${JSON.stringify(stderr)}}`);
  console.log(
    `${name} ${options.join(" ")}: exit ${exitCode} ${JSON.stringify(verdict)} ${JSON.stringify(lockdown)}`,
  );
  return { exitCode, lockdown, words: [verdict.verdict, ...(verdict.reasons ?? [])].join("\n") };
}

const LOCKED = { mode: "integrity", enforcesSignatures: true };

test.each([
  ["ours", signedBy("ours"), 0, /^pass\n.*loaded with kmod and unloaded, twice/],
  ["unsigned", async (module: Buffer) => module, 1, REJECTED],
  ["stranger", signedBy("stranger"), 1, REJECTED],
  ["damaged", damaged, 1, REJECTED],
] as const)(
  "a kernel with our certificate in db judges modules that are %s",
  async (name, sign, exitCode, words) => {
    expect(await load(name, sign)).toEqual({
      exitCode,
      lockdown: LOCKED,
      words: expect.stringMatching(words),
    });
  },
);

test.each([
  ["ours", signedBy("ours"), 0, /^pass\n/],
  ["stranger", signedBy("stranger"), 1, REJECTED],
] as const)(
  "a kernel with our certificate in shim's list judges modules that are %s",
  async (name, sign, exitCode, words) => {
    expect(await load(name, sign, "--mok")).toEqual({
      ...{ exitCode, lockdown: LOCKED, words: expect.stringMatching(words) },
    });
  },
);

const CLIENT_FILES = [
  "kmodfarm-fetch",
  "kmodfarm-registry.sh",
  "kmodfarm-sets.sh",
  "kmodfarm-proofs.sh",
  "kmodfarm-lines.awk",
];

test("a node names the key that is to be enrolled before it fetches a module, and loads once it is", async () => {
  const { node, ours, modules } = known();
  const registry = await makeNodeRegistry();
  const signatures = await Promise.all(
    modules.map(async ({ file, content }) => ({
      ...{ file, keyId: ours.keyId, content: await ours.sidecar(content) },
    })),
  );
  const artifact = await given(registry, { version: "1.0.0", modules, signatures });
  await registry.publish([
    blockOf(artifact, { release: node.release, uname: { kind: "uname", text: node.version } }),
  ]);
  const nginx = await startNginx(node, registry.directory);
  const script = `
said=$(dash /usr/local/lib/kmodfarm/kmodfarm-fetch doorbell --load --registry http://10.0.2.2:${nginx.port} 2>&1)
echo "SAID $? $said"
echo "LOCKED $(cat /sys/kernel/security/lockdown)"
echo "TAINT $(cat /proc/sys/kernel/tainted) $(cat /sys/module/doorbell/version 2>/dev/null)"
echo "DISK $(modinfo -F signer doorbell 2>/dev/null)"
`;
  const control = await startServer((_, response) => void response.end(script));
  const port = Number(new URL(control.url).port);
  const directory = await temporaryDirectory();
  const files: Record<string, string | Buffer> = { "etc/kmodfarm/root": rootNote() };
  for (const file of CLIENT_FILES)
    files[`usr/local/lib/kmodfarm/${file}`] = await readFile(join(CHECKOUT, "deploy/node", file));
  const disk = await makeDisk(node, files, directory);
  const scratch = await openScratch(join(directory, "scratch"));
  const boot = (...enrolled: Buffer[]) =>
    withFirmware(
      { list: "db", enrolled },
      {
        vmlinuz: join(node.kernel, `boot/vmlinuz-${node.release}`),
        initramfs: "",
        commandLine: commandLineOf("x86_64"),
      },
      scratch,
      (firmware) => bootNode(node, disk, port, directory, firmware),
    );
  try {
    const without = await boot();
    const withKey = await boot(await readFile(ours.certificate));

    expect(without).toEqual([
      expect.stringMatching(
        new RegExp(`^SAID 3 cannotLoad: signatures are enforced .* is signed by: ?${ours.keyId}`),
      ),
      expect.stringMatching(/^LOCKED none \[integrity\]/),
      expect.stringMatching(/^TAINT 0 $/),
      expect.stringMatching(/^DISK $/),
    ]);
    expect(withKey).toEqual([
      expect.stringMatching(/^SAID 0 exact: doorbell 1\.0\.0 is loaded from /),
      expect.stringMatching(/^LOCKED none \[integrity\]/),
      expect.stringMatching(/^TAINT 4096 1\.0\.0$/),
      expect.stringMatching(/^DISK ./),
    ]);
  } finally {
    await nginx.stop();
    await scratch.close();
  }
});
