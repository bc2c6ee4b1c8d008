import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { Secret } from "../../base/secret.ts";
import { createKey } from "../../signing/create.ts";
import { parseConfig } from "../config/index.ts";
import { keySettings } from "../config/keys.ts";
import { keyFindings } from "./key-findings.ts";
import { makeMissingKeys } from "./keys.ts";

const shown = async (config: Parameters<typeof keyFindings>[0]) =>
  (await keyFindings(config)).map(({ subject, state, fact }) => `${state} ${subject}: ${fact}`);

test("are made by a first run, for their owner alone, and each weakness is named", async () => {
  const base = await temporaryDirectory();
  const keyDirectory = join(base, ".kmodfarm", "keys");
  const config = { keys: [], keyDirectory, base };
  expect(await shown(config)).toEqual(
    ["root", "head", "builder", "log"].map(
      (role) => `good key ${role} (${role}): ${keyDirectory}/${role}.pem (will be created)`,
    ),
  );
  const said: string[] = [];

  await makeMissingKeys(config, (text) => said.push(text));
  await makeMissingKeys(config, (text) => said.push(text));

  expect(await readFile(join(base, ".kmodfarm", ".gitignore"), "utf8")).toBe("*\n");
  expect(said).toEqual([
    expect.stringMatching(/^keys: none are configured, so this run made some .*: root, head, builder, log;/),
  ]);
  expect(await shown(config)).toEqual([
    ...["root", "head", "builder", "log"].map((role) =>
      expect.stringContaining(`note key ${role} (${role}): ${keyDirectory}/${role}.pem has no password`),
    ),
    expect.stringContaining("note keys: the keys of all roles are on this machine"),
  ]);
  await chmod(join(keyDirectory, "head.pem"), 0o640);
  expect(await shown(config)).toContain(`problem key head (head): others can read ${keyDirectory}/head.pem`);
});

test("are each made by one of two first runs, and reported by that one alone", async () => {
  const base = await temporaryDirectory();
  const config = { keys: [], keyDirectory: join(base, ".kmodfarm", "keys"), base };

  const made = await Promise.all([1, 2].map(() => makeMissingKeys(config, () => {})));

  expect(made.flat().toSorted()).toEqual(["builder", "head", "log", "root"]);
});

test("are not made where some are configured, and those are looked at", async () => {
  const base = await temporaryDirectory();
  await mkdir(join(base, "keys"));
  await writeFile(join(base, "password"), "secret\n");
  const key = { name: "head", kind: "p256", directory: join(base, "keys"), hasCertificate: false } as const;
  await createKey({ ...key, password: () => new Secret("secret") });
  const { keys } = parseConfig(
    JSON.stringify({
      keys: {
        head: { for: "head", file: "keys/head.pem", passwordFile: "password" },
        lost: { for: "builder", file: "keys/lost.pem" },
        mok: { for: "module", pkcs11: { uri: "pkcs11:token=farm;object=mok", module: "/usr/lib/p11.so" } },
      },
    }),
    "kmodfarm.yaml",
  );
  const config = { keys: keySettings(base, keys), keyDirectory: join(base, "none"), base };

  await makeMissingKeys(config, () => expect.unreachable());

  expect(await shown(config)).toEqual([
    `good key head (head): ${base}/keys/head.pem, encrypted`,
    `problem key lost (builder): ${base}/keys/lost.pem does not exist`,
    "good key mok (module): in a token: pkcs11:token=farm;object=mok",
  ]);
});

test.each([
  ["{head: {for: builder, file: k}}", "it is for builder; give it another name"],
  ["{a: {for: head}}", "either `file` or `pkcs11`"],
  [
    "{a: {for: head, file: k, passwordFile: p, passwordEnvironment: P}}",
    "either `passwordFile` or `passwordEnvironment`",
  ],
  [
    "{a: {for: module, pkcs11: {uri: 'pkcs11:object=x?pin-value=1', module: /l.so}}}",
    "not a URI of PKCS #11",
  ],
  [
    "{a: {for: module, pkcs11: {uri: 'pkcs11:object=x;pin-source=1', module: /l.so}}}",
    "a PIN has no place in it",
  ],
])("in the configuration %s are refused", (keys, fact) => {
  expect(() => parseConfig(`keys: ${keys}`, "kmodfarm.yaml")).toThrow(fact);
});

test.each([
  ["signatures: [{certificate: c, key: b}]", 'the key "b" is not one of `keys`'],
  ["signatures: [{certificate: c, key: a}]", 'the key "a" is for head, not for modules'],
  ["signatures: [{certificate: c, key: constructor}]", 'the key "constructor" is not one of `keys`'],
])("that sign modules must be for that: %s", (text, fact) => {
  expect(() => parseConfig(`keys: {a: {for: head, file: k}}\n${text}`, "kmodfarm.yaml")).toThrow(fact);
});

test("of an identity there is no key to find, but roots that others verify it by", async () => {
  const base = await temporaryDirectory();
  const keyless = {
    issuer: "https://issuer.example",
    subject: "https://example.org/night",
    roots: "roots.json",
  };
  const { keys } = parseConfig(JSON.stringify({ keys: { ci: { for: "builder", keyless } } }), "a");
  const config = { keys: keySettings(base, keys), keyDirectory: join(base, "keys"), base };

  expect((await shown(config))[0]).toMatch(/^problem key ci \(builder\): .*`roots` cannot be read$/);
  await writeFile(join(base, "roots.json"), "{}");
  expect((await shown(config))[0]).toBe(
    "good key ci (builder): no key is kept: certificates name https://example.org/night",
  );
});
