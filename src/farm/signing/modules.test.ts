import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeEntry } from "../../../test/support/artifacts.ts";
import { makeElement } from "../../../test/support/elements.ts";
import { sharedDirectory, temporaryDirectory } from "../../../test/support/temporary.ts";
import { readSigner, verifySignature } from "../../check/signature.ts";
import { splitSignature } from "../../formats/module-signature.ts";
import { blobPath, putBlob, readBlob } from "../../registry/blobs.ts";
import type { IndexEntry } from "../../registry/documents.ts";
import { openFolderStore } from "../../registry/stores/folder.ts";
import { viewFiles } from "../../registry/view.ts";
import { createKey } from "../../signing/create.ts";
import type { DriverConfig } from "../config/driver.ts";
import { keySettings } from "../config/keys.ts";
import { FarmSigning } from "./keys.ts";
import { ModuleSigning } from "./modules.ts";

const place = sharedDirectory();
const KEYS = {
  old: { for: "module" as const, file: "old.pem" },
  next: { for: "module" as const, file: "next.pem" },
};
const [OLD, NEXT] = (["old", "next"] as const).map((key) => ({ certificate: `${key}.der`, key })) as [
  { certificate: string; key: string },
  { certificate: string; key: string },
];
const signing = new FarmSigning({ keys: keySettings(place, KEYS), keyDirectory: place });
afterAll(() => signing[Symbol.asyncDispose]());
beforeAll(async () => {
  await createKey({ name: "old", kind: "rsa", directory: place, hasCertificate: true });
  await createKey({ name: "next", kind: "p256", directory: place, hasCertificate: true });
});

const BYTES = Buffer.from("the module with debugging information");
const STRIPPED = Buffer.from("the module without");

async function farm() {
  const store = await openFolderStore(join(await temporaryDirectory(), "store"));
  const [digest, stripped] = [await putBlob(store, BYTES), await putBlob(store, STRIPPED)];
  const element = makeElement();
  const entry: IndexEntry = {
    ...makeEntry(element),
    modules: [{ name: "bell", digest, size: BYTES.length, stripped }],
  };
  const signedWith = async (
    signatures: DriverConfig["signatures"],
    before: IndexEntry = entry,
    isLost?: (digest: string) => boolean,
  ) => {
    const drivers = [{ name: element.driver, source: ".", versions: ["1"], signatures }];
    const config = { drivers, signatures: [], base: place } as never;
    return new ModuleSigning(config, signing, store).signed(before, isLost);
  };
  return { store, entry, signedWith };
}

const signaturesOf = ({ modules }: IndexEntry) => modules[0]?.signatures ?? [];

test("every certificate gets a file beside the module that makes it a signed one", async () => {
  const { store, signedWith } = await farm();

  const signed = await signedWith([OLD, NEXT]);

  expect(signaturesOf(signed)).toHaveLength(2);
  for (const { certificate, digest, keyId, size } of signaturesOf(signed)) {
    const sidecar = await readBlob(store, digest);
    const signer = readSigner(await readBlob(store, certificate), "a certificate");
    const module = splitSignature(Buffer.concat([STRIPPED, sidecar]), "bell.ko");
    expect(sidecar).toHaveLength(size);
    expect(module.content).toEqual(STRIPPED);
    expect(verifySignature(module, [signer])).toMatchObject({ kind: "good" });
    const other = splitSignature(Buffer.concat([BYTES, sidecar]), "bell.ko");
    expect(verifySignature(other, [signer])).toMatchObject({ kind: "bad", code: "wrongSignature" });
    expect(viewFiles(signed).map(([path]) => path.split("/").at(-1))).toEqual(
      expect.arrayContaining([`bell.ko.${keyId}.p7s`, `${keyId}.der`]),
    );
  }
});

test("another key signs what is published without touching what is there, and one that goes takes its signatures along", async () => {
  const { entry, signedWith } = await farm();
  const first = await signedWith([OLD]);
  const both = await signedWith([OLD, NEXT], first);
  const last = await signedWith([NEXT], both);

  expect(signaturesOf(both)[0]).toEqual(signaturesOf(first)[0]);
  expect(signaturesOf(last)).toEqual([signaturesOf(both)[1]]);
  expect(await signedWith([NEXT, OLD], both)).toBe(both);
  expect(await signedWith([], both)).toEqual(entry);
  expect(await signedWith(undefined)).toBe(entry);
  expect([first, both, last].map(({ manifest, recipe }) => [manifest, recipe])).toEqual(
    Array.from({ length: 3 }, () => [entry.manifest, entry.recipe]),
  );
});

test("a signature that the store lost is made again, of the same bytes", async () => {
  const { store, signedWith } = await farm();
  const signed = await signedWith([OLD, NEXT]);
  const lost = new Set(signaturesOf(signed).map(({ digest }) => digest));
  for (const digest of lost) await store.remove(blobPath(digest));

  const again = await signedWith([OLD, NEXT], signed, (digest) => lost.has(digest as never));

  expect(again).toEqual(signed);
  for (const digest of lost) await readBlob(store, digest);
});

test("a certificate of another key signs nothing, and neither does one that nodes could not name", async () => {
  const { signedWith } = await farm();
  await expect(signedWith([{ ...OLD, key: "next" }])).rejects.toMatchObject({
    code: "KEY_UNREADABLE",
    message: expect.stringMatching(/old\.der is the certificate of another key than next$/),
  });
  const argv = ["req", "-new", "-x509", "-key", "old.pem", "-config", "/dev/null", "-subj", "/CN=x"];
  const bare = ["-addext", "subjectKeyIdentifier=none", "-outform", "DER", "-out", "bare.der"];
  execFileSync("openssl", [...argv, ...bare], { cwd: place, stdio: "pipe" });
  await expect(signedWith([{ certificate: "bare.der", key: "old" }])).rejects.toMatchObject({
    message: expect.stringContaining("has no subject key identifier"),
  });
  await writeFile(join(place, "none.der"), "nothing");
  await expect(signedWith([{ certificate: "none.der", key: "old" }])).rejects.toMatchObject({
    code: "FILE_UNREADABLE",
  });
});
