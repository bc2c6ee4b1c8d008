/** What every member of the family of keys must do: sign what OpenSSL verifies, and give the key to nobody else. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Secret } from "../../src/base/secret.ts";
import type { KeyKind } from "../../src/provenance/public-key.ts";
import type { KeyPlace } from "../../src/signing/keys/index.ts";
import { type KeySetting, openSigner } from "../../src/signing/open.ts";
import type { Role } from "../../src/signing/roles.ts";
import { REQUESTS } from "../support/signing-requests.ts";
import { temporaryDirectory } from "../support/temporary.ts";

export const PASSWORD = "correct horse";

export interface KeyMember {
  readonly name: string;
  /** Kinds that it can hold. */
  readonly kinds: readonly KeyKind[];
  /** A fresh key that PASSWORD opens. */
  readonly make: (kind: KeyKind) => Promise<KeyPlace>;
}

/** Messages and digests, as far as the kind signs both. */
const ROLE_OF: Readonly<Record<KeyKind, readonly Role[]>> = {
  p256: ["head", "module"],
  ed25519: ["builder"],
  rsa: ["module"],
  p384: [],
};

export function signingKeyContract({ name, kinds, make }: KeyMember): void {
  describe(`a key of the family's member ${name}`, () => {
    const places = new Map<KeyKind, Promise<KeyPlace>>();
    const placeOf = (kind: KeyKind) => {
      const place = places.get(kind) ?? make(kind);
      places.set(kind, place);
      return place;
    };
    const setting = async (kind: KeyKind, role: Role, password = PASSWORD): Promise<KeySetting> => ({
      ...{ name: "mine", role, place: await placeOf(kind) },
      password: { kind: "given", secret: new Secret(password), variable: "PASSWORD" },
    });
    const cases = kinds.flatMap((kind) => ROLE_OF[kind].map((role) => ({ kind, role })));

    test.each(cases)("of the kind $kind signs for $role, and nothing else", async ({ kind, role }) => {
      const { request, signed } = REQUESTS[role];
      await using signer = await openSigner([await setting(kind, role)]);
      for (const [other, { request: wrong }] of Object.entries(REQUESTS))
        if (other !== role)
          await expect(signer.sign("mine", wrong)).rejects.toMatchObject({ code: "SIGNING_REFUSED" });

      const signature = await signer.sign("mine", request);

      const key = signer.keys.get("mine");
      expect(key?.kind).toBe(kind);
      const pem = key?.key.export({ format: "pem", type: "spki" }).toString() ?? "";
      expect(await opensslVerifies(pem, kind, signed, signature)).toBe(true);
      expect(await opensslVerifies(pem, kind, Buffer.concat([signed, Buffer.of(0)]), signature)).toBe(false);
    });

    test("is not opened by another password, nor by none", async () => {
      const [kind = "p256"] = kinds;
      for (const password of ["wrong horse", ""])
        await expect(
          setting(kind, kind === "rsa" ? "module" : "builder", password).then((one) => openSigner([one])),
        ).rejects.toMatchObject({ code: expect.stringMatching(/^KEY_(LOCKED|UNREADABLE)$/) });
    });
  });
}

async function opensslVerifies(
  pem: string,
  kind: KeyKind,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const directory = await temporaryDirectory();
  const [keyFile, signatureFile, messageFile] = ["key", "signature", "message"].map((one) =>
    join(directory, one),
  ) as [string, string, string];
  writeFileSync(keyFile, pem);
  writeFileSync(signatureFile, signature);
  writeFileSync(messageFile, message);
  const argv =
    kind === "ed25519"
      ? `pkeyutl -verify -pubin -inkey ${keyFile} -rawin -in ${messageFile} -sigfile ${signatureFile}`
      : `dgst -sha256 -verify ${keyFile} -signature ${signatureFile} ${messageFile}`;
  try {
    execFileSync("openssl", argv.split(" "), { stdio: "pipe" });
    return true;
  } catch {
    return false;
  }
}
