/**
 * Statements signed without a key that anybody keeps. For each, Sigstore's certificate authority (Fulcio) certifies the
 * signer's own key of this run for the identity that a token proves; a public log (Rekor), or a clock that others trust,
 * says when that was. The farm asks them, because the signer has no network; it never sees the key.
 */

import { FarmError } from "../base/error.ts";
import { readAtMost } from "../base/read-at-most.ts";
import { STATEMENT_PAYLOAD } from "../provenance/dsse.ts";
import type { PublicKey } from "../provenance/public-key.ts";
import type { KeylessPlace, TokenPlace } from "./keys/keyless.ts";
import type { SigningRequest } from "./signer.ts";
import type { SigstoreServers } from "./sigstore-servers.ts";

/** The signer's key of this run. */
export interface KeyOfTheRun {
  readonly publicKey: PublicKey;
  readonly sign: (request: SigningRequest) => Promise<Uint8Array>;
}

/**
 * A statement in its bundle, with the certificate and what the log and the clock say.
 * @throws FarmError KEY_LOCKED for a token that is missing or no longer good, REMOTE_UNAVAILABLE, SIGNING_REFUSED
 */
export async function signCertified(payload: string, place: KeylessPlace, key: KeyOfTheRun): Promise<string> {
  const [{ DSSEBundleBuilder }, { bundleToJSON }] = await Promise.all([
    import("@sigstore/sign"),
    import("@sigstore/bundle"),
  ]);
  await using servers = await openServers(place);
  const { token, subject } = await readToken(place.token, servers);
  const publicKey = key.publicKey.key.export({ format: "pem", type: "spki" }).toString();
  const builder = new DSSEBundleBuilder({
    signer: {
      async sign() {
        const proof = await key.sign({ kind: "subject", subject });
        const certificate = await servers.certify(token, publicKey, proof);
        const signature = Buffer.from(await key.sign({ kind: "statement", payload }));
        return { signature, key: { $case: "x509Certificate", certificate } };
      },
    },
    witnesses: servers.witnesses(),
  });
  const bundle = await builder.create({ data: Buffer.from(payload), type: STATEMENT_PAYLOAD });
  return JSON.stringify(bundleToJSON(bundle));
}

/** That a token is there, before anything is built. @throws FarmError KEY_LOCKED, REMOTE_UNAVAILABLE */
export async function requireToken(place: KeylessPlace): Promise<void> {
  await using servers = await openServers(place);
  await readToken(place.token, servers);
}

/** Loaded where it is needed. */
async function openServers(place: KeylessPlace): Promise<SigstoreServers> {
  const { SigstoreServers } = await import("./sigstore-servers.ts");
  return new SigstoreServers(place);
}

interface Token {
  readonly token: string;
  /** What its holder signs to show that the key is his. */
  readonly subject: string;
}

/** Read anew for each signature: tokens are good for minutes. @throws FarmError KEY_LOCKED, REMOTE_UNAVAILABLE */
async function readToken(place: TokenPlace, servers: SigstoreServers): Promise<Token> {
  const [token, where] = await fetchToken(place, servers);
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
    const { email, email_verified: isVerified, sub } = claims as Record<string, unknown>;
    const subject = email === undefined ? sub : isVerified === true && email;
    if (typeof subject === "string") return { token, subject };
  } catch {
    // Nothing of what may be a secret is quoted.
  }
  throw noToken(`what ${where} gives is no OIDC token`);
}

const TOKEN_LIMIT_BYTES = 64 * 1024;

async function fetchToken(
  place: TokenPlace,
  servers: SigstoreServers,
): Promise<readonly [token: string, where: string]> {
  switch (place.kind) {
    case "file": {
      const bytes = await readAtMost(place.path, TOKEN_LIMIT_BYTES).catch((thrown: NodeJS.ErrnoException) => {
        throw noToken(`the token file ${place.path} cannot be read (${thrown.code})`);
      });
      return [bytes.toString().trim(), place.path];
    }
    case "given": {
      const token = place.secret.reveal().trim();
      if (token === "") throw noToken(`the environment has no ${place.variable}`);
      return [token, place.variable];
    }
    case "github":
      return [await servers.tokenOfJob(place.url, place.bearer.reveal(), place.audience), "this workflow"];
  }
}

function noToken(detail: string): FarmError {
  return new FarmError("KEY_LOCKED", {
    detail,
    hint: "In GitHub Actions the job needs `permissions: id-token: write`. Elsewhere name a `tokenFile` or `tokenEnvironment` in `keyless`.",
  });
}
