/**
 * Statements signed without a key that anybody keeps. For each, Sigstore's certificate authority (Fulcio) certifies the
 * signer's own key of this run for the identity that a token proves; a public log (Rekor), or a clock that others trust,
 * says when that was. The farm asks them, because the signer has no network; it never sees the key.
 */
import { readFile } from "node:fs/promises";
import { FarmError, isErrno } from "../base/error.ts";
import { oneLine } from "../base/visible.ts";
import { STATEMENT_PAYLOAD } from "../provenance/dsse.ts";
import type { PublicKey } from "../provenance/public-key.ts";
import type { KeylessPlace, TokenPlace } from "./keys/keyless.ts";
import type { SigningRequest } from "./signer.ts";

/** The signer's key of this run. */
export interface KeyOfTheRun {
  readonly publicKey: PublicKey;
  readonly sign: (request: SigningRequest) => Promise<Uint8Array>;
}

/** Each answer; and how often one is asked again that gave none. */
const ASKING = { timeout: 30_000, retry: { retries: 3, minTimeout: 1000, maxTimeout: 8000 } };

/**
 * A statement in its bundle, with the certificate and what the log and the clock say.
 * @throws FarmError KEY_LOCKED for a token that is missing or no longer good, REMOTE_UNAVAILABLE, SIGNING_REFUSED
 */
export async function signCertified(
  payload: string,
  { fulcio, rekor, timestamps, token }: KeylessPlace,
  key: KeyOfTheRun,
): Promise<string> {
  const [{ DSSEBundleBuilder, FulcioSigner, RekorWitness, TSAWitness }, { bundleToJSON }] = await Promise.all(
    [import("@sigstore/sign"), import("@sigstore/bundle")],
  );
  const proof = await readToken(token);
  const publicKey = key.publicKey.key.export({ format: "pem", type: "spki" }).toString();
  const holder = {
    // The library signs two things with it, and the signer is told which of them it is to read.
    async sign(data: Buffer) {
      const request: SigningRequest =
        data.toString() === proof.subject
          ? { kind: "subject", subject: proof.subject }
          : { kind: "statement", payload };
      const signature = Buffer.from(await key.sign(request));
      return { signature, key: { $case: "publicKey" as const, publicKey } };
    },
  };
  const builder = new DSSEBundleBuilder({
    signer: new FulcioSigner({
      ...{ fulcioBaseURL: fulcio, keyHolder: holder, ...ASKING },
      identityProvider: { getToken: async () => proof.token },
    }),
    witnesses: [
      ...(rekor === undefined
        ? []
        : [
            new RekorWitness({
              ...{ rekorBaseURL: rekor.url, majorApiVersion: rekor.version, entryType: "dsse", ...ASKING },
            }),
          ]),
      ...(timestamps === undefined ? [] : [new TSAWitness({ tsaBaseURL: timestamps, ...ASKING })]),
    ],
  });
  try {
    const bundle = await builder.create({ data: Buffer.from(payload), type: STATEMENT_PAYLOAD });
    return JSON.stringify(bundleToJSON(bundle));
  } catch (thrown) {
    throw faultOf(thrown, { fulcio, rekor: rekor?.url, timestamps });
  }
}

type Servers = { readonly [Name in "fulcio" | "rekor" | "timestamps"]: string | undefined };

/** By the library's codes: its own words may quote the token. */
const ASKED: Readonly<Record<string, keyof Servers>> = {
  CA_CREATE_SIGNING_CERTIFICATE_ERROR: "fulcio",
  TLOG_CREATE_ENTRY_ERROR: "rekor",
  TLOG_FETCH_ENTRY_ERROR: "rekor",
  TSA_CREATE_TIMESTAMP_ERROR: "timestamps",
};

function faultOf(thrown: unknown, servers: Servers): unknown {
  const { code = "", cause } = thrown as { code?: string; cause?: { statusCode?: number; message?: string } };
  if (code.startsWith("IDENTITY_TOKEN")) return noToken("the token cannot be used");
  const asked = ASKED[code];
  if (asked === undefined) return thrown;
  const said = oneLine(cause?.message ?? "no answer").slice(0, 300);
  if (asked === "fulcio" && [400, 401, 403].includes(cause?.statusCode ?? 0))
    return new FarmError("KEY_LOCKED", {
      detail: `${servers.fulcio} gives no certificate for the token: ${said}`,
      hint: "A token must be fresh, and made for the audience that the authority expects (`audience`).",
    });
  return new FarmError("REMOTE_UNAVAILABLE", { detail: `${servers[asked]}: ${said}`, cause: thrown });
}

interface Token {
  readonly token: string;
  /** What its holder signs to show that the key is his. */
  readonly subject: string;
}

/** Read anew for each signature: tokens are good for minutes. @throws FarmError KEY_LOCKED */
export async function readToken(place: TokenPlace): Promise<Token> {
  const [token, where] = await fetchToken(place);
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

async function fetchToken(place: TokenPlace): Promise<readonly [token: string, where: string]> {
  switch (place.kind) {
    case "file":
      try {
        return [(await readFile(place.path, "utf8")).trim(), place.path];
      } catch (thrown) {
        if (!isErrno(thrown)) throw thrown;
        throw noToken(`the token file ${place.path} cannot be read (${thrown.code})`);
      }
    case "given": {
      const token = place.secret.reveal().trim();
      if (token === "") throw noToken(`the environment has no ${place.variable}`);
      return [token, place.variable];
    }
    case "usual": {
      const { CIContextProvider } = await import("@sigstore/sign");
      try {
        return [await new CIContextProvider(place.audience).getToken(), "this workflow"];
      } catch {
        throw noToken("neither GitHub Actions nor SIGSTORE_ID_TOKEN gives a token");
      }
    }
  }
}

function noToken(detail: string): FarmError {
  return new FarmError("KEY_LOCKED", {
    detail,
    hint: "In GitHub Actions the job needs `permissions: id-token: write`. Elsewhere name a `tokenFile` or `tokenEnvironment` in `keyless`.",
  });
}
