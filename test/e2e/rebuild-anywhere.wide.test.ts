/**
 * On a machine that reaches nothing but the registry: published artifacts are built again from what the registry keeps, bit
 * for bit, one of them for another architecture; and what their rebuilders state decides at the gate.
 */
import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { Spec, Validation } from "@cyclonedx/cyclonedx-library";
import { beforeAll, describe, expect, it } from "vitest";
import { viewPath } from "../../src/registry/view-path.ts";
import {
  CLOUD,
  type CliResult,
  DOORBELL,
  readIndices,
  type TestFarm,
  useFarms,
} from "../support/e2e-farm.ts";
import { CHECKOUT, type TestMirror } from "../support/e2e-mirror.ts";

const farms = useFarms();
const PEOPLE = ["alice", "bob", "carol"] as const;
let farm: TestFarm;
let machine: string;
let mirror: TestMirror;

beforeAll(async () => {
  mirror = await farms.mirror();
  const restless = { name: "restless", source: "restless", versions: ["1.0.0"] };
  farm = await farms.farm({
    mirror,
    drivers: [DOORBELL, { ...DOORBELL, name: "chime", strip: true, compress: "xz" }, restless],
    select: CLOUD,
    // Packages of roots are kept when they are made.
    warm: [],
  });
  await mkdir(join(farm.directory, "restless"));
  await writeFile(
    join(farm.directory, "restless", "Kbuild"),
    "obj-m := restless.o\nCFLAGS_restless.o := -DSIN='\"built by $(shell id -u)\"'\n",
  );
  await writeFile(
    join(farm.directory, "restless", "restless.c"),
    `#include <linux/module.h>
static int __init sin_init(void) { pr_info("%s\\n", SIN); return 0; }
module_init(sin_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Looks around");
`,
  );
  for (const person of PEOPLE) {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    const at = (name: string) => join(farm.directory, name);
    await writeFile(at(`${person}.key`), privateKey.export({ type: "pkcs8", format: "pem" }), {
      mode: 0o600,
    });
    await writeFile(at(`${person}.pem`), publicKey.export({ type: "spki", format: "pem" }));
  }
  await writeFile(
    join(farm.directory, "policy.yaml"),
    "require: [format, identity, reproducible]\nreproducible: {of: 2, by: [alice.pem, bob.pem, carol.pem], notTheBuilder: true}\n",
  );
  const config = JSON.parse(await readFile(farm.config, "utf8"));
  await writeFile(farm.config, JSON.stringify({ ...config, archive: "all", policy: "policy.yaml" }));
  await ok(farm.cli("catalog", "update"));
  await ok(farm.cli("build"));
  mirror.forget();
  machine = join(farm.directory, "empty-machine");
  await mkdir(machine);
});

async function ok(running: Promise<CliResult>): Promise<string> {
  const { exitCode, stdout, stderr } = await running;
  expect(exitCode, `${stdout}${stderr}`).toBe(0);
  return stdout;
}

/** Serves the store's `blobs`, `generations`, `channels` and `metadata` to the loopback of a network namespace, and nothing else is there. */
const EMPTY_MACHINE = `set -e
ip link set lo up
busybox httpd -f -p 127.0.0.1:8080 -h "$STORE" &
server=$!
trap 'kill $server' EXIT
sleep 0.3
"$@"`;

/** Runs kmodfarm where only the registry answers. */
async function alone(...argv: string[]): Promise<CliResult> {
  const command = [
    "--net",
    "--",
    "sh",
    "-c",
    EMPTY_MACHINE,
    "sh",
    join(CHECKOUT, "bin", "kmodfarm"),
    ...argv,
  ];
  const env = { PATH: process.env.PATH ?? "", STORE: farm.store, NO_COLOR: "1" };
  try {
    const { stdout, stderr } = await promisify(execFile)("unshare", command, {
      cwd: machine,
      env,
      maxBuffer: 1 << 26,
    });
    return { stdout, stderr, exitCode: 0 };
  } catch (thrown) {
    const { stdout, stderr, code } = thrown as { stdout: string; stderr: string; code: number };
    return { stdout, stderr, exitCode: code };
  }
}

const rebuild = (artifact: string, person: string) =>
  alone(
    ...[
      "rebuild",
      artifact,
      "--registry",
      "http://127.0.0.1:8080",
      "--root",
      join(farm.store, "metadata/root/1"),
    ],
    ...["--sign", join(farm.directory, `${person}.key`), "--to", statementOf(artifact, person)],
  );
const statementOf = (artifact: string, person: string) =>
  join(machine, `${artifact.replaceAll("/", "_")}-${person}.sigstore.json`);
const promote = () => farm.cli("promote", "--all", "--why", "rebuilt");

async function artifactOf(driver: string, architecture: string): Promise<string> {
  const all = (await readIndices(farm.store)).flatMap(({ candidate, stable }) => [...candidate, ...stable]);
  const found = all.find((one) => one.driver === driver && one.output.includes(`/${architecture}/`));
  if (found === undefined) throw new Error(`nothing was built of ${driver} for ${architecture}`);
  return viewPath(found).replace(/^view\//, "");
}

describe("on an empty machine", () => {
  it.each([
    ["doorbell", "x86_64"],
    ["doorbell", "aarch64"],
    ["chime", "x86_64"],
  ])("%s for %s is the same, bit for bit, and a statement says so", async (driver, architecture) => {
    const artifact = await artifactOf(driver, architecture);

    const { exitCode, stdout, stderr } = await rebuild(artifact, "alice");

    expect(exitCode, `${stdout}${stderr}`).toBe(0);
    expect(stdout).toMatch(/: equal, 2 modules, byte by byte[\s\S]*^statement: /m);
  });

  it("nothing else answers there", async () => {
    const { stderr, exitCode } = await alone("catalog", "update");

    expect(exitCode, stderr).not.toBe(0);
    expect(mirror.asked).toEqual([]);
  });

  it("what looks around is not the same, and the statement has the sections", async () => {
    const artifact = await artifactOf("restless", "x86_64");

    const { exitCode, stdout, stderr } = await rebuild(artifact, "carol");

    expect(exitCode, `${stdout}${stderr}`).toBe(1);
    expect(stdout).toMatch(/the user who built it/);
    const bundle = JSON.parse(await readFile(statementOf(artifact, "carol"), "utf8"));
    const { predicate } = JSON.parse(Buffer.from(bundle.dsseEnvelope.payload, "base64").toString());
    expect(predicate).toMatchObject({
      result: "FAILED",
      failedTests: ["restless.ko"],
      kmodfarm_rebuild: { modules: [{ name: "restless", differences: expect.any(Array) }] },
    });
  });
});

describe("at the gate", () => {
  it("one key of the two that are wanted promotes nothing, the second distinct one does", async () => {
    const [mine, other] = [await artifactOf("doorbell", "x86_64"), await artifactOf("doorbell", "aarch64")];
    await ok(farm.cli("statement", "add", statementOf(mine, "alice"), statementOf(other, "alice")));
    const first = await promote();
    const again = await farm.cli("statement", "add", statementOf(mine, "alice"));
    expect((await rebuild(mine, "bob")).exitCode).toBe(0);
    await ok(farm.cli("statement", "add", statementOf(mine, "bob")));
    const second = await promote();

    const shown = await readdir(join(farm.store, "view", mine));
    expect(shown).toEqual(
      expect.arrayContaining(["sbom.cdx.json", "rebuild.1.sigstore.json", "rebuild.2.sigstore.json"]),
    );
    const bill = await readFile(join(farm.store, "view", mine, "sbom.cdx.json"), "utf8");
    expect(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(bill)).toBeNull();
    expect(again.stdout).toMatch(/^known already: /);
    expect(first.stdout).not.toMatch(/^promoted/m);
    expect(first.stdout).toMatch(/1 of the 2 wanted keys besides the builder's/);
    expect(second.stdout.match(/^promoted .*$/gm)).toEqual([
      expect.stringContaining(mine.split("/").at(-1) ?? ""),
    ]);
  });

  it("the report of a rebuild with other bytes is shown, and blocks", async () => {
    const artifact = await artifactOf("restless", "x86_64");
    await ok(farm.cli("statement", "add", statementOf(artifact, "carol")));

    const { stdout } = await promote();

    expect(stdout).toMatch(/reproducible: fail: sha256:\w{16} built it again: other bytes: restless\.ko in /);
  });

  it("the registry holds together, and what nodes cannot see is still kept", async () => {
    await ok(farm.cli("fsck", "--full"));
    await ok(farm.cli("prune", "--keep", "1"));
    await ok(farm.cli("fsck", "--full"));
  });
});
