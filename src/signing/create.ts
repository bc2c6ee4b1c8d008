/**
 * Makes private keys, by OpenSSL's own programs: PKCS #8, with scrypt if there is a password (what Node.js writes itself
 * has PBKDF2 of 2,048 rounds). A key that is there is never replaced.
 */
import { chmod, link, lstat, mkdir, mkdtemp, open, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FarmError, isErrno } from "../base/error.ts";
import { ownUsersAnd, strangerAbove, strangerAt } from "../base/own-place.ts";
import { ownerOf, processName, stateOfProcess } from "../base/process-name.ts";
import { type Descriptor, lastLines, type RunOptions, run } from "../base/run.ts";
import { exists, keepOutOfGit, makePlace } from "../base/scratch.ts";
import { removeTree } from "../base/strange-tree.ts";
import type { KeyKind } from "../provenance/public-key.ts";

export interface NewKey {
  readonly name: string;
  readonly kind: KeyKind;
  readonly directory: string;
  /** Passes the password on anew each time it is called. */
  readonly password?: () => Descriptor;
  /** Modules are signed for a certificate. */
  readonly hasCertificate: boolean;
  /** Places whose owners may own the directory too. */
  readonly trusts?: readonly string[];
}

export interface MadeKey {
  readonly file: string;
  readonly certificate?: string;
}

const GENERATED: Partial<Record<KeyKind, readonly string[]>> = {
  p256: ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
  ed25519: ["-algorithm", "ED25519"],
  rsa: ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
};
const OWNER_ONLY = 0o600;
const EVERYBODY = 0o644;
const OWNER_ONLY_DIRECTORY = 0o700;
/** A hundred years, as for the kernels' own keys: what is enrolled once must not stop to count some day. */
const CERTIFICATE_DAYS = 36_500;

/** Of a private key's file. */
export function publicKeyFile(file: string): string {
  return `${file.replace(/\.pem$/, "")}.pub`;
}

/** @throws FarmError KEY_EXISTS, PLACE_UNUSABLE, TOOL_MISSING, TOOL_FAILED */
export async function createKey(key: NewKey): Promise<MadeKey> {
  const { directory, name } = key;
  await makeDirectory(key);
  const [file, certificate] = [join(directory, `${name}.pem`), join(directory, `${name}.der`)];
  const publicFile = publicKeyFile(file);
  for (const path of [file, publicFile, ...(key.hasCertificate ? [certificate] : [])])
    if (await exists(path)) throw keyExists(path);
  await sweep(directory);
  await keepOutOfGit(directory);
  const scratch = await mkdtemp(join(directory, `${UNFINISHED}${processName() ?? process.pid}-`));
  try {
    const made = await makeKey(key, scratch);
    const publicKey = await makePublicKey(key, made, scratch);
    const itsCertificate = key.hasCertificate ? await makeCertificate(key, made, scratch) : undefined;
    await place(made, file);
    await chmod(publicKey, EVERYBODY);
    await place(publicKey, publicFile);
    if (itsCertificate === undefined) return { file };
    await chmod(itsCertificate, EVERYBODY);
    await place(itsCertificate, certificate);
    return { file, certificate };
  } finally {
    await removeTree(scratch);
  }
}

/**
 * Everybody may create in those above it: the store is often beside it. Who can swap files in it, or the directory itself,
 * would have the key.
 */
async function makeDirectory({ directory, trusts = [] }: NewKey): Promise<void> {
  await makePlace(dirname(directory));
  await mkdir(directory, { mode: OWNER_ONLY_DIRECTORY }).catch((cause) => {
    if (isErrno(cause) && cause.code === "EEXIST") return;
    throw isErrno(cause)
      ? new FarmError("PLACE_UNUSABLE", { detail: `${directory} cannot be created (${cause.code})`, cause })
      : cause;
  });
  const trusted = await ownUsersAnd(trusts);
  const fact = (await strangerAt(directory, trusted)) ?? (await strangerAbove(directory, trusted));
  if (fact !== undefined)
    throw new FarmError("PLACE_UNUSABLE", {
      detail: fact,
      hint: "Keys are made where nobody else can replace them: name another directory, or change its owner and permissions.",
    });
}

/** What keys that are made lie in until they are whole, before the name of the process that makes them. */
const UNFINISHED = ".new-key-";

/** What was killed here leaves nothing behind; what is another user's stays. */
async function sweep(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const owner = name.startsWith(UNFINISHED) ? ownerOf(name.slice(UNFINISHED.length)) : undefined;
    if (owner === undefined || stateOfProcess(owner) !== "dead") continue;
    const status = await lstat(join(directory, name)).catch(() => undefined);
    if (status?.isDirectory() && status.uid === process.getuid?.()) await removeTree(join(directory, name));
  }
}

async function makeKey({ kind, password }: NewKey, scratch: string): Promise<string> {
  const generate = ["openssl", "genpkey", ...(GENERATED[kind] ?? [])];
  const made = await emptyFile(join(scratch, "key"));
  if (password === undefined) await openssl([...generate, "-out", made]);
  else
    await openssl(["openssl", "pkcs8", "-topk8", "-scrypt", "-passout", "fd:3", "-out", made], {
      input: (await openssl(generate)).stdout,
      descriptors: [password()],
    });
  return made;
}

async function makePublicKey({ password }: NewKey, keyFile: string, scratch: string): Promise<string> {
  const made = await emptyFile(join(scratch, "public"));
  await openssl(
    ["openssl", "pkey", "-in", keyFile, "-pubout", "-out", made, ...passedIn(password)],
    password === undefined ? {} : { descriptors: [password()] },
  );
  return made;
}

function passedIn(password: NewKey["password"]): string[] {
  return password === undefined ? [] : ["-passin", "fd:3"];
}

/** As `sign-file` and kernels want it: with an identifier of its key, for signatures alone. */
async function makeCertificate(
  { name, password }: NewKey,
  keyFile: string,
  scratch: string,
): Promise<string> {
  const made = await emptyFile(join(scratch, "certificate"));
  await openssl(
    [
      ...["openssl", "req", "-new", "-x509", "-utf8", "-sha256", "-batch", "-config", "/dev/null"],
      ...["-days", String(CERTIFICATE_DAYS), "-subj", `/CN=${name.replaceAll(/[/+=,\\]/g, "\\$&")}`],
      ...["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=digitalSignature"],
      ...["-addext", "subjectKeyIdentifier=hash", "-addext", "authorityKeyIdentifier=keyid"],
      ...["-key", keyFile, ...passedIn(password)],
      ...["-outform", "DER", "-out", made],
    ],
    password === undefined ? {} : { descriptors: [password()] },
  );
  return made;
}

async function openssl(argv: readonly string[], options: RunOptions = {}) {
  const ended = await run(argv, { timeoutMs: 60_000, ...options });
  if (ended.exitCode === 0) return ended;
  throw new FarmError("TOOL_FAILED", {
    detail: `${argv.slice(0, 2).join(" ")}: ${lastLines(ended.stderr, 2)}`,
  });
}

/** What OpenSSL writes to keeps the mode that it has. */
async function emptyFile(path: string): Promise<string> {
  await (await open(path, "wx", OWNER_ONLY)).close();
  return path;
}

/** All at once, and only where nothing is. */
async function place(made: string, target: string): Promise<void> {
  const file = await open(made, "r");
  await file.sync();
  await file.close();
  try {
    await link(made, target);
  } catch (thrown) {
    if (!isErrno(thrown) || thrown.code !== "EEXIST") throw thrown;
    throw keyExists(target);
  }
}

function keyExists(path: string): FarmError {
  return new FarmError("KEY_EXISTS", { detail: `${path} exists already` });
}
