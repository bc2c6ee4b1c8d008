/**
 * Private keys in the configuration: what each is for, where it is, and where its password comes from; and which of them
 * sign modules.
 */
import { resolve } from "node:path";
import { z } from "zod";
import { FarmError } from "../../base/error.ts";
import { Secret } from "../../base/secret.ts";
import { PathSegment } from "../../kernel/path-segment.ts";
import { publicKeyFile } from "../../signing/create.ts";
import type { KeyPlace } from "../../signing/keys/index.ts";
import type { KeySetting, PasswordPlace } from "../../signing/open.ts";
import { ROLE_NAMES } from "../../signing/roles.ts";

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
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string())
    .default({})
    .describe("Environment of the library, for example `{SOFTHSM2_CONF: /etc/softhsm2.conf}`."),
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
    passwordEnvironment: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]*$/)
      .optional()
      .describe("Environment variable that holds its password. A file is safer: only the signer reads it."),
  })
  .refine(({ file, pkcs11 }) => (file === undefined) !== (pkcs11 === undefined), {
    error: "either `file` or `pkcs11`",
  })
  .refine(
    ({ passwordFile, passwordEnvironment }) =>
      passwordFile === undefined || passwordEnvironment === undefined,
    { error: "either `passwordFile` or `passwordEnvironment`" },
  );

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

function keyPlace(base: string, { file = "", pkcs11 }: z.output<typeof KeyConfig>): KeyPlace {
  return pkcs11 === undefined ? { kind: "file", path: resolve(base, file) } : { kind: "pkcs11", ...pkcs11 };
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
  if (passwordEnvironment !== undefined)
    return {
      ...{ kind: "given", variable: passwordEnvironment },
      secret: new Secret(process.env[passwordEnvironment] ?? ""),
    };
  return { kind: "asked" };
}

/** The same with absolute paths. */
export function signaturesAt(base: string, signatures: SignaturesConfig): SignaturesConfig {
  return signatures.map(({ certificate, key }) => ({ certificate: resolve(base, certificate), key }));
}

/** The files of keys and of their passwords. */
export function keyFiles(keys: readonly KeySetting[]): string[] {
  return keys.flatMap(({ place, password, publicKey }) => [
    ...(place.kind === "file" ? [place.path] : []),
    ...(password.kind === "file" ? [password.path] : []),
    ...(publicKey === undefined ? [] : [publicKey]),
  ]);
}
