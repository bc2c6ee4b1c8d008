/**
 * Private keys that never leave a token: PKCS #11, through the engine of OpenSSL's own program. The signer holds the
 * token's PIN, and starts that program for each signature.
 */
import { createHash } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { FarmError } from "../../base/error.ts";
import { lastLines, pipeThrough } from "../../base/run.ts";
import { Secret } from "../../base/secret.ts";
import { publicKeyFromPem } from "../../provenance/public-key.ts";
import type { KeyFamily } from "./key.ts";

export interface Pkcs11Place {
  readonly kind: "pkcs11";
  /** RFC 7512, without a PIN. */
  readonly uri: string;
  /** The token's library. */
  readonly module: string;
  /** What the library reads and writes: its settings, the socket of its daemon. */
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export const pkcs11: KeyFamily<Pkcs11Place> = {
  access: ({ module, reads, writes }) => ({ reads: [module, ...reads], writes, startsPrograms: true }),
  async open(place, password, what) {
    const pin = new Secret(await password());
    const ask = (argv: readonly string[], input?: Uint8Array) => askToken(place, pin, argv, input, what);
    const pem = await ask(["pkey", "-engine", "pkcs11", "-inform", "engine", "-in", place.uri, "-pubout"]);
    const publicKey = publicKeyFromPem(pem.toString("ascii"), what);
    if (publicKey.kind === "ed25519")
      throw new FarmError("KEY_UNREADABLE", {
        about: what,
        detail: "it is an Ed25519 key; keys in tokens are P-256 or RSA",
      });
    const signDigest = (sha256: Uint8Array) =>
      ask(
        [
          ...["pkeyutl", "-sign", "-engine", "pkcs11", "-keyform", "engine", "-inkey", place.uri],
          ...["-pkeyopt", "digest:sha256"],
        ],
        sha256,
      );
    return {
      ...{ publicKey, signDigest },
      sign: (message) => signDigest(createHash("sha256").update(message).digest()),
    };
  },
};

async function askToken(
  { module, environment }: Pkcs11Place,
  pin: Secret,
  argv: readonly string[],
  input: Uint8Array | undefined,
  what: string,
): Promise<Buffer> {
  const pipe = pipeThrough(["openssl", ...argv, "-passin", "fd:3"], {
    env: { PATH, PKCS11_MODULE_PATH: module, ...environment },
    descriptors: [pin],
  });
  pipe.stdin.end(Buffer.from(input ?? []));
  const [output, exitCode] = await Promise.all([buffer(pipe.stdout), pipe.exit]);
  if (exitCode === 0) return output;
  throw new FarmError("KEY_UNREADABLE", {
    about: what,
    detail: `OpenSSL cannot use its token: ${lastLines(pipe.said(), 3)}`,
    hint: "Check the token's URI, its library and its PIN, and that libengine-pkcs11-openssl is installed.",
  });
}
