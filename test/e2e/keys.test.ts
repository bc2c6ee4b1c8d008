/**
 * A night with keys: modules are signed without being built again, and neither keys nor passwords are anywhere but in
 * their files.
 */
import { execFileSync } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { appendFile, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { readSigner, verifySignature } from "../../src/check/signature.ts";
import { splitSignature } from "../../src/formats/module-signature.ts";
import { cli, readStable, type TestFarm, useFarms } from "../support/e2e-farm.ts";
import { ISSUER, SUBJECT, startSigstore, token } from "../support/sigstore.ts";

const farms = useFarms();
const PASSWORD = "password-that-nobody-else-has";
let farm: TestFarm;
const said: string[] = [];

beforeAll(async () => {
  const select = { architectures: ["x86_64"], flavours: ["cloud"], kernelRelease: "6[.]1[.]0-.*", newest: 1 };
  farm = await farms.farm({ mirror: await farms.mirror(), select });
  // A repository of its own: git 2.39 cannot say what it ignores inside a directory that it ignores.
  execFileSync("git", ["init", "-q"], { cwd: farm.driver });
  await writeFile(join(farm.directory, "password"), `${PASSWORD}\n`);
  for (const name of ["old", "next"]) {
    const argv = ["keys", "create", name, "--for", "module", "--password-file", "password"];
    const made = await farm.cli(...argv);
    expect(made.exitCode, made.stderr).toBe(0);
  }
});

const keys = Object.fromEntries(
  ["old", "next"].map((name) => [
    name,
    { for: "module", file: `.kmodfarm/keys/${name}.pem`, passwordFile: "password" },
  ]),
);
const signatures = (...names: readonly string[]) =>
  names.map((key) => ({ certificate: `.kmodfarm/keys/${key}.der`, key }));

async function run(): Promise<string> {
  const { stdout, stderr, exitCode } = await farm.cli("run");
  said.push(stdout, stderr);
  expect(exitCode, stderr).toBe(0);
  return stdout + stderr;
}

async function shownSignatures(): Promise<string[]> {
  const found: string[] = [];
  for (const { driver, output } of await readStable(farm.store)) {
    const folder = join(farm.store, "view", driver, output);
    for (const file of await readdir(folder)) {
      const [, module, keyId] = /^(\w+\.ko)\.([0-9a-f]{40})\.p7s$/.exec(file) ?? [];
      if (module === undefined) continue;
      const [bytes, sidecar, certificate] = await Promise.all(
        [module, file, `${keyId}.der`].map((name) => readFile(join(folder, name))),
      );
      const split = splitSignature(Buffer.concat([bytes as Buffer, sidecar as Buffer]), file);
      expect(verifySignature(split, [readSigner(certificate as Buffer, file)]).kind).toBe("good");
      found.push(
        `${module} ${execFileSync("modinfo", ["-F", "name", join(folder, module)])
          .toString()
          .trim()}`,
      );
    }
  }
  return found.toSorted();
}

it("signs what it publishes, and adds another key's signatures without a build", async () => {
  await farm.configure({ keys, signatures: signatures("old") });
  expect(await run()).toMatch(/1 stable, 0 candidates, 0 failed, 1 of them new/);
  const [before] = await readStable(farm.store);
  expect(await shownSignatures()).toEqual(["doorbell", "tally"].map((name) => `${name}.ko ${name}`));

  await farm.configure({ keys, signatures: signatures("old", "next") });
  expect(await run()).toMatch(
    /1 stable.* 0 of them new[\s\S]*signatures: 1 published artifacts were signed anew/,
  );

  const [after] = await readStable(farm.store);
  expect(await shownSignatures()).toHaveLength(4);
  expect([after?.manifest, after?.recipe]).toEqual([before?.manifest, before?.recipe]);
  expect((await farm.cli("fsck", "--full")).exitCode).toBe(0);
  expect(await run()).not.toMatch(/signed anew/);
}, 1_200_000);

it("states what it builds as an identity, with no key; and whoever has its roots verifies that", async () => {
  await using sigstore = await startSigstore();
  await writeFile(join(farm.directory, "token"), token());
  await writeFile(join(farm.directory, "trusted_root.json"), sigstore.roots);
  const identity = { issuer: ISSUER, subject: SUBJECT, roots: "trusted_root.json" };
  const keyless = { ...identity, fulcio: sigstore.url, rekor: sigstore.url, tokenFile: "token" };
  await farm.configure({ keys: { ...keys, ci: { for: "builder", keyless } } });
  await appendFile(join(farm.driver, "doorbell.c"), "/* changed */\n");

  expect(await run()).toMatch(/1 stable, 0 candidates, 0 failed, 1 of them new/);

  const [published] = await readStable(farm.store);
  const bundle = join(
    farm.store,
    "view",
    published?.driver ?? "",
    published?.output ?? "",
    "provenance.sigstore.json",
  );
  expect(JSON.parse(await readFile(bundle, "utf8")).verificationMaterial).toMatchObject({
    certificate: {},
    tlogEntries: [{}],
  });
  const policy = async (name: string, subject: string) => {
    const builders = [{ id: SUBJECT, keyless: { ...identity, subject } }];
    await writeFile(join(farm.directory, name), JSON.stringify({ builders }));
    return cli(["verify", farm.store, "--policy", join(farm.directory, name)]);
  };
  const own = await policy("policy.yaml", SUBJECT);
  expect(own.exitCode, own.stderr).toBe(0);
  const strange = await policy("strange.yaml", `${SUBJECT}x`);
  expect([strange.exitCode, strange.stdout + strange.stderr]).toEqual([
    4,
    expect.stringContaining("none of the policy's builders signed its statement"),
  ]);
  await writeFile(join(farm.directory, "token"), "");
  const without = await farm.cli("run");
  expect([without.exitCode, without.stderr]).toEqual([2, expect.stringContaining("KEY_LOCKED")]);
}, 600_000);

it("leaves keys, passwords and tokens nowhere", async () => {
  const needles = [Buffer.from(PASSWORD), Buffer.from(token().split(".")[1] ?? "")];
  for (const name of await readdir(join(farm.directory, ".kmodfarm", "keys"))) {
    if (!name.endsWith(".pem")) continue;
    const pem = await readFile(join(farm.directory, ".kmodfarm", "keys", name), "utf8");
    const { d = "" } = createPrivateKey({ key: pem, passphrase: PASSWORD }).export({ format: "jwk" });
    needles.push(Buffer.from(pem.split("\n")[1] ?? ""), Buffer.from(d, "base64url"), Buffer.from(d));
  }
  expect(needles.length).toBeGreaterThan(10);
  for (const text of said)
    for (const needle of needles) expect(text.includes(needle.toString("latin1"))).toBe(false);
  const files = execFileSync("find", [farm.store, farm.cache, "-type", "f", "-size", "-8M", "-print0"], {
    maxBuffer: 1 << 26,
  })
    .toString()
    .split("\0")
    .filter(Boolean);
  expect(files.length).toBeGreaterThan(20);
  for (const file of files) {
    const bytes = await readFile(file);
    expect(
      needles.some((needle) => bytes.includes(needle)),
      file,
    ).toBe(false);
  }
});
