import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { makeSigningKey } from "../../test/support/apt-repository.ts";
import { serveFiles } from "../../test/support/rpm-repository.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { Http } from "../base/http.ts";
import { run } from "../base/run.ts";
import { openScratch } from "../base/scratch.ts";
import { DISTRIBUTIONS } from "../kernel/distributions/index.ts";
import { believedKeys, type KeyContext } from "./signing-keys.ts";

const KEY = makeSigningKey();
const OTHER_KEY = makeSigningKey();

async function openContext(): Promise<KeyContext & { readonly http: Http }> {
  const cache = await temporaryDirectory();
  const scratch = await openScratch(join(cache, "tmp"));
  const http = new Http();
  onTestFinished(async () => {
    await http.close();
    await scratch.close();
  });
  return { cache, scratch, http };
}

const source = (place: { readonly file?: string; readonly urls?: readonly string[] }) => ({
  ...{ what: "almalinux9.4", urls: [], fingerprints: [KEY.fingerprint] },
  ...place,
});

async function fingerprintsOf(keys: Buffer): Promise<string[]> {
  const home = await temporaryDirectory();
  await writeFile(join(home, "keys"), keys);
  const argv = ["gpg", "--homedir", home, "--with-colons", "--show-keys", join(home, "keys")];
  return [...(await run(argv)).stdout.matchAll(/^fpr:+([0-9A-F]+):/gm)].map(([, found = ""]) => found);
}

describe("keys", () => {
  test("are believed by their fingerprints, and others of the same file are left out", async () => {
    const file = join(await temporaryDirectory(), "keys.gpg");
    await writeFile(file, Buffer.concat([await readFile(OTHER_KEY.keyring), await readFile(KEY.keyring)]));

    const keys = await believedKeys(source({ file }), await openContext());

    expect(keys.toString()).toMatch(/^-----BEGIN PGP PUBLIC KEY BLOCK-----\n/);
    expect(await fingerprintsOf(keys)).toEqual([KEY.fingerprint]);
  });

  test.each<[string, () => Promise<Buffer>]>([
    ["somebody else's", () => readFile(OTHER_KEY.armoured)],
    ["no key", async () => Buffer.from("<html>not found</html>")],
    ["nothing", async () => Buffer.alloc(0)],
    ["a key that is cut off", async () => (await readFile(KEY.keyring)).subarray(0, 40)],
  ])("are refused, with what is there, when a server has %s", async (_, bytes) => {
    const { url } = await serveFiles(new Map([["key.asc", await bytes()]]));
    const context = await openContext();

    await expect(believedKeys(source({ urls: [`${url}/key.asc`] }), context)).rejects.toThrow(
      expect.objectContaining({
        code: "SIGNATURE_INVALID",
        message: expect.stringContaining(KEY.fingerprint),
        hint: expect.stringContaining("fingerprints"),
      }),
    );
  });

  test("that were believed once are good while their server is away", async () => {
    const { url, files } = await serveFiles(new Map([["key.asc", await readFile(KEY.armoured)]]));
    const context = await openContext();
    const place = source({ urls: [`${url}/key.asc`] });
    const before = await believedKeys(place, context);
    files.clear();

    expect(await fingerprintsOf(await believedKeys(place, context))).toEqual([KEY.fingerprint]);
    expect(await fingerprintsOf(before)).toEqual([KEY.fingerprint]);
    await expect(believedKeys({ ...place, fingerprints: [OTHER_KEY.fingerprint] }, context)).rejects.toThrow(
      expect.objectContaining({ code: "REMOTE_UNAVAILABLE", hint: expect.stringContaining("keyring") }),
    );
  });
});

test("every release with rpm packages and a toolchain image has keys, whole and over https", () => {
  const releases = DISTRIBUTIONS.flatMap((one) => (one.format === "rpm" ? one.releases : []));
  const known = releases.flatMap(({ keys }) => keys ?? []);

  expect(known.length).toBeGreaterThan(50);
  for (const { fingerprints, urls } of known) {
    expect(fingerprints.length).toBeGreaterThan(0);
    for (const one of fingerprints) expect(one).toMatch(/^[0-9A-F]{40}$/);
    for (const url of urls) expect(url).toMatch(/^https:\/\//);
  }
  const imaged = /^(?:almalinux|rocky|amazonlinux|fedora4[345]$|centos|ol)/;
  const without = releases.filter(({ key, keys }) => imaged.test(key) && keys === undefined);
  expect(without.map(({ key }) => key)).toEqual([]);
});
