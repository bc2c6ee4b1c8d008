/**
 * Private keys in the configuration: what each is for, where it is, and where its password comes from; and which of them
 * sign modules.
 */
import { resolve } from "node:path";
import { z } from "zod";
import { FarmError } from "../../base/error.ts";
import { Secret } from "../../base/secret.ts";
import { KeylessIdentity } from "../../check/policy.ts";
import { PathSegment } from "../../kernel/path-segment.ts";
import { publicKeyFile } from "../../signing/create.ts";
import type { KeyPlace } from "../../signing/keys/index.ts";
import type { KeylessPlace, TokenPlace } from "../../signing/keys/keyless.ts";
import type { KeySetting, PasswordPlace } from "../../signing/open.ts";
import { ROLE_NAMES } from "../../signing/roles.ts";

const VariableName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/);
const Paths = z.array(z.string().startsWith("/")).default([]);

const Token = z.strictObject({
  uri: z
    .string()
    .regex(/^pkcs11:[A-Za-z0-9%=;._~:@/ -]{1,500}$/, { error: "not a URI of PKCS #11" })
    .refine((uri) => !/pin-(value|source)/i.test(uri), {
      error: "a PIN has no place in it: name a `passwordFile`",
    })
    .describe("RFC 7512: `pkcs11:token=farm;object=head`."),
  module: z.string().startsWith("/").describe("The token's library: `/usr/lib/softhsm/libsofthsm2.so`."),
  reads: Paths.describe("Absolute paths that the library reads: its settings."),
  writes: Paths.describe("Absolute paths that it also writes to: its state, the socket of its daemon."),
  environment: z
    .record(VariableName, z.string())
    .default({})
    .describe("Environment of the library, for example `{SOFTHSM2_CONF: /etc/softhsm2.conf}`."),
});

const LOOPBACK: ReadonlySet<string> = new Set(["127.0.0.1", "localhost", "[::1]"]);
/** A token is said to it: in the clear only to this machine. */
const Server = z.url({ protocol: /^https?$/, error: "not an address of https" }).refine((url) => {
  const { protocol, hostname = "", username } = URL.parse(url) ?? {};
  return username === "" && (protocol === "https:" || LOOPBACK.has(hostname));
}, "a token would go there in the clear: it must be https");

const Keyless = z
  .strictObject({
    ...KeylessIdentity,
    fulcio: Server.default("https://fulcio.sigstore.dev").describe("The authority that certifies."),
    rekor: z
      .union([Server, z.literal("none")])
      .default("https://rekor.sigstore.dev")
      .describe("The public log of signatures, or `none` if `timestamps` names a clock."),
    rekorVersion: z
      .union([z.literal(1), z.literal(2)])
      .default(1)
      .describe("The log's protocol. Logs of version 2 give no time, so `timestamps` must."),
    timestamps: Server.optional().describe("A server for timestamps (RFC 3161)."),
    audience: z
      .string()
      .min(1)
      .default("sigstore")
      .describe("For whom GitHub Actions is asked to make the token."),
    tokenFile: z
      .string()
      .min(1)
      .optional()
      .describe("File that holds an OIDC token, relative to this file. It is read for each signature."),
    tokenEnvironment: VariableName.optional().describe(
      "Environment variable that holds one. Default: GitHub Actions is asked, or `SIGSTORE_ID_TOKEN` holds it.",
    ),
  })
  .refine(
    ({ rekor, rekorVersion, timestamps }) =>
      timestamps !== undefined || (rekor !== "none" && rekorVersion === 1),
    { error: "no log says when something was signed, so `timestamps` must name who does" },
  )
  .refine(({ tokenFile, tokenEnvironment }) => tokenFile === undefined || tokenEnvironment === undefined, {
    error: "either `tokenFile` or `tokenEnvironment`",
  });

const KeyConfig = z
  .strictObject({
    for: z
      .enum(ROLE_NAMES)
      .describe(
        "What it signs, and nothing else: the registry's root, its head, its log, provenance (builder), modules, or, as a witness, the logs of others.",
      ),
    file: z
      .string()
      .min(1)
      .optional()
      .describe(
        "File with the private key (PKCS #8 in PEM, as `kmodfarm keys create` makes it), relative to this file.",
      ),
    pkcs11: Token.optional().describe("A key in a token or HSM, instead of a file; its password is the PIN."),
    keyless: Keyless.optional().describe(
      "Instead of a key, an identity that Sigstore certifies for each signature; only for `builder`.",
    ),
    publicKey: z
      .string()
      .min(1)
      .optional()
      .describe(
        "File with its public key in PEM, relative to this file. Default: `NAME.pub` beside `NAME.pem`.",
      ),
    passwordFile: z
      .string()
      .min(1)
      .optional()
      .describe(
        "File that holds its password, relative to this file. Default: a terminal is asked if the key needs one.",
      ),
    passwordEnvironment: VariableName.optional().describe(
      "Environment variable that holds its password. A file is safer: only the signer reads it.",
    ),
  })
  .refine(({ file, pkcs11, keyless }) => [file, pkcs11, keyless].filter(isGiven).length === 1, {
    error: "either `file` or `pkcs11` or `keyless`",
  })
  .refine(({ for: role, keyless }) => keyless === undefined || role === "builder", {
    error: "`keyless` is only for `builder`: whoever verifies the others was given a public key",
  })
  .refine(
    ({ keyless, publicKey, passwordFile, passwordEnvironment }) =>
      keyless === undefined || ![publicKey, passwordFile, passwordEnvironment].some(isGiven),
    { error: "where there is no key, it has no password and no `publicKey`" },
  )
  .refine(
    ({ passwordFile, passwordEnvironment }) =>
      passwordFile === undefined || passwordEnvironment === undefined,
    { error: "either `passwordFile` or `passwordEnvironment`" },
  );

function isGiven(value: unknown): boolean {
  return value !== undefined;
}

export const KeysConfig = z.record(PathSegment, KeyConfig);
export type KeysConfig = z.output<typeof KeysConfig>;

/** Whose signatures modules get. */
export const SignaturesConfig = z
  .array(
    z.strictObject({
      certificate: z
        .string()
        .min(1)
        .describe("The certificate that nodes enrol, in DER or PEM, relative to this file."),
      key: PathSegment.describe("The name of its private key in `keys`, which must be for modules."),
    }),
  )
  .max(16);
export type SignaturesConfig = z.output<typeof SignaturesConfig>;

/** @throws FarmError CONFIG_INVALID for a key whose name says that it is for something else */
export function refuseMisleadingNames(keys: KeysConfig, where: string): void {
  for (const [name, { for: role }] of Object.entries(keys))
    if (name !== role && (ROLE_NAMES as readonly string[]).includes(name))
      throw new FarmError("CONFIG_INVALID", {
        detail: `${where}keys.${name}: it is for ${role}; give it another name`,
      });
}

/** @throws FarmError CONFIG_INVALID where modules are to be signed with a key that is none, or not for that */
export function refuseOtherKeys(keys: KeysConfig, signatures: SignaturesConfig, where: string): void {
  for (const { key } of signatures) {
    const found = Object.hasOwn(keys, key) ? keys[key] : undefined;
    if (found?.for === "module") continue;
    const fact = found === undefined ? "is not one of `keys`" : `is for ${found.for}, not for modules`;
    throw new FarmError("CONFIG_INVALID", { detail: `${where}signatures: the key "${key}" ${fact}` });
  }
}

/** As the signer takes them; what the environment holds is read here. */
export function keySettings(base: string, keys: KeysConfig): KeySetting[] {
  return Object.entries(keys).map(([name, key]) => ({
    name,
    role: key.for,
    place: keyPlace(base, key),
    password: passwordPlace(base, key),
    ...publicKeyPlace(base, key),
  }));
}

function keyPlace(base: string, { file = "", pkcs11, keyless }: z.output<typeof KeyConfig>): KeyPlace {
  if (keyless !== undefined) return keylessPlace(base, keyless);
  return pkcs11 === undefined ? { kind: "file", path: resolve(base, file) } : { kind: "pkcs11", ...pkcs11 };
}

function keylessPlace(base: string, keyless: z.output<typeof Keyless>): KeylessPlace {
  const { issuer, subject, roots, fulcio, rekor, rekorVersion, timestamps } = keyless;
  const { audience, tokenFile, tokenEnvironment } = keyless;
  return {
    ...{ kind: "keyless", issuer, subject, fulcio, roots: resolve(base, roots) },
    ...(rekor === "none" ? {} : { rekor: { url: rekor, version: rekorVersion } }),
    ...(timestamps === undefined ? {} : { timestamps }),
    token:
      tokenFile !== undefined
        ? { kind: "file", path: resolve(base, tokenFile) }
        : tokenEnvironment !== undefined
          ? givenBy(tokenEnvironment)
          : usualToken(audience),
  };
}

/** Beside the private key, unless it is named. */
function publicKeyPlace(
  base: string,
  { file, publicKey }: z.output<typeof KeyConfig>,
): Pick<KeySetting, "publicKey"> {
  const path = publicKey ?? (file === undefined ? undefined : publicKeyFile(file));
  return path === undefined ? {} : { publicKey: resolve(base, path) };
}

function passwordPlace(
  base: string,
  { passwordFile, passwordEnvironment }: z.output<typeof KeyConfig>,
): PasswordPlace {
  if (passwordFile !== undefined) return { kind: "file", path: resolve(base, passwordFile) };
  if (passwordEnvironment !== undefined) return givenBy(passwordEnvironment);
  return { kind: "asked" };
}

/** GitHub tells a job's steps where to ask. */
function usualToken(audience: string): TokenPlace {
  const { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: bearer } = process.env;
  if (!url || !bearer || !URL.canParse(url)) return givenBy("SIGSTORE_ID_TOKEN");
  return { kind: "github", url, bearer: new Secret(bearer), audience };
}

/** Read here, so that nothing else reads the environment. */
function givenBy(variable: string) {
  return { kind: "given", variable, secret: new Secret(process.env[variable] ?? "") } as const;
}

/** The same with absolute paths. */
export function signaturesAt(base: string, signatures: SignaturesConfig): SignaturesConfig {
  return signatures.map(({ certificate, key }) => ({ certificate: resolve(base, certificate), key }));
}

/** The files of keys and of their passwords. */
export function keyFiles(keys: readonly KeySetting[]): string[] {
  return keys.flatMap(({ place, password, publicKey }) => [
    ...(place.kind === "file" ? [place.path] : []),
    ...(place.kind === "keyless" && place.token.kind === "file" ? [place.token.path] : []),
    ...(password.kind === "file" ? [password.path] : []),
    ...(publicKey === undefined ? [] : [publicKey]),
  ]);
}
