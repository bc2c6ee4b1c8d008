/**
 * Whose signature a repository's packages need, and how keys come to be believed: by their fingerprints, wherever the
 * keys themselves were found.
 */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FarmError, toFarmError } from "../base/error.ts";
import type { Http } from "../base/http.ts";
import { digestOf } from "../base/json.ts";
import { readAtMost } from "../base/read-at-most.ts";
import { lastLines, type RunResult, run } from "../base/run.ts";
import type { Scratch } from "../base/scratch.ts";
import { shutIn } from "../base/shut-in.ts";
import { removeTree } from "../base/strange-tree.ts";

/** Keys, and which of them count. */
export interface KeySource {
  /** What they are for, to people. */
  readonly what: string;
  /** A file with keys; goes before the addresses. */
  readonly file?: string;
  /** Where the distribution publishes them: the first that answers is read. */
  readonly urls: readonly string[];
  /** Of primary keys, 40 or 64 hexadecimal digits in upper case. */
  readonly fingerprints: readonly string[];
}

/** What vouches for the packages of an rpm repository. */
export type PackageTrust =
  | {
      readonly kind: "signed";
      readonly keys: KeySource;
      /** Whether repomd.xml has a signature too. */
      readonly signsMetadata: boolean;
    }
  /** A person wrote that they need no signature. */
  | { readonly kind: "unsigned" }
  /** No key is known, and the configuration does not say that none is needed. */
  | { readonly kind: "unknown" };

export interface KeyContext {
  readonly http: Http;
  readonly scratch: Scratch;
  readonly cache: string;
}

const LIMIT_BYTES = 1024 * 1024;

/**
 * The keys whose fingerprints count, in ASCII armour and nothing else: other keys of the same file are left out, and
 * so is what their owners did not sign.
 * @throws FarmError FILE_UNREADABLE, REMOTE_UNAVAILABLE, SIGNATURE_INVALID
 */
export async function believedKeys(
  source: KeySource,
  context: KeyContext,
  signal?: AbortSignal,
): Promise<Buffer> {
  const kept = join(context.cache, "keys", digestOf(source.fingerprints).slice("sha256:".length));
  const found = await readKeys(source, kept, context, signal);
  const keys = await filterKeys(found.bytes, source, context, signal);
  if (source.file === undefined && found.place !== kept) await context.scratch.write(kept, keys);
  return keys;
}

interface FoundKeys {
  readonly bytes: Buffer;
  readonly place: string;
}

/** A key that was believed once is as good as one fetched tonight. */
async function readKeys(
  { what, file, urls }: KeySource,
  kept: string,
  { http }: KeyContext,
  signal?: AbortSignal,
): Promise<FoundKeys> {
  if (file !== undefined) {
    const bytes = await readAtMost(file, LIMIT_BYTES).catch((cause: NodeJS.ErrnoException) => {
      throw new FarmError("FILE_UNREADABLE", {
        detail: `the keyring ${file} cannot be read (${cause.code})`,
        cause,
      });
    });
    return { bytes, place: file };
  }
  const faults: string[] = [];
  for (const url of urls) {
    try {
      const answer = await http.fetchDocument(url, LIMIT_BYTES, {}, signal);
      if (answer.kind === "ok") return { bytes: answer.bytes, place: url };
      faults.push(`${url} does not have it`);
    } catch (thrown) {
      const error = toFarmError(thrown);
      if (error.code === "INTERRUPTED" || error.blame === "bug") throw error;
      faults.push(error.message);
    }
  }
  const bytes = await readFile(kept).catch(() => undefined);
  if (bytes !== undefined) return { bytes, place: kept };
  throw new FarmError("REMOTE_UNAVAILABLE", {
    detail: `the key that signs ${what} cannot be fetched: ${faults.join("; ") || "no place is known where its distribution publishes it"}`,
    hint: "Try again later, or give the source a `keyring` (a file) or a `keyUrl`.",
  });
}

async function filterKeys(
  bytes: Buffer,
  source: KeySource,
  { scratch }: KeyContext,
  signal?: AbortSignal,
): Promise<Buffer> {
  const home = scratch.path();
  try {
    await mkdir(home, { recursive: true, mode: 0o700 });
    await writeFile(join(home, "found"), bytes);
    const gpg = (...argv: string[]) =>
      run(
        shutIn(["gpg", "--homedir", "/target", "--batch", "--quiet", "--no-autostart", ...argv], {
          target: home,
        }),
        { timeoutMs: 60_000 },
        signal,
      );
    const imported = await gpg("--import", "--import-options", "import-clean", "/target/found");
    const listed = await gpg("--with-colons", "--list-keys");
    const there = primaryFingerprints(listed.stdout);
    const believed = there.filter((one) => source.fingerprints.includes(one));
    if (believed.length === 0) throw notBelieved(source, there, lastLines(imported.stderr, 1));
    const { stdout, exitCode, stderr } = await gpg("--armor", "--export", ...believed);
    if (exitCode === 0) return Buffer.from(stdout);
    throw new FarmError("TOOL_FAILED", { detail: `gpg cannot export a key: ${lastLines(stderr, 2)}` });
  } finally {
    await removeTree(home);
  }
}

/** gpg's lines with colons: the first `fpr` after each `pub` is the primary key's. */
function primaryFingerprints(text: string): string[] {
  const found: string[] = [];
  let isPrimary = false;
  for (const line of text.split("\n")) {
    const [kind, ...fields] = line.split(":");
    if (kind === "pub" || kind === "sub") isPrimary = kind === "pub";
    else if (kind === "fpr" && isPrimary) {
      found.push(fields[8] ?? "");
      isPrimary = false;
    }
  }
  return found;
}

function notBelieved(
  { what, file, urls, fingerprints }: KeySource,
  there: readonly string[],
  said: string,
): FarmError {
  const place = file ?? urls[0] ?? "the cache";
  const fact = there.length === 0 ? `has no readable key (${said})` : `has ${there.slice(0, 5).join(", ")}`;
  return new FarmError("SIGNATURE_INVALID", {
    detail: `${what} is signed with ${fingerprints.join(" or ") || "unknown keys"}, and ${place} ${fact}`,
    hint: "If its owner has a new key, compare its fingerprint with the one they publish, and add it to the source's `fingerprints`.",
  });
}

/**
 * Asks gpgv for a detached signature over a document, by any of the keys; its words for programs are what it prints.
 * Ends with 0 only if every signature there is good.
 */
export async function askGpgv(
  {
    keys,
    signature,
    document,
  }: Readonly<Record<"keys" | "signature", Buffer>> & { document: Buffer | string },
  { scratch }: Pick<KeyContext, "scratch">,
  signal?: AbortSignal,
): Promise<RunResult> {
  const shown = [
    ["/keyring", dearmored(keys)],
    ["/signature", signature],
    ["/document", document],
  ] as const;
  const files = shown.map(([inside, content]) => ({ inside, content, path: scratch.path() }));
  try {
    for (const { path, content } of files) await scratch.write(path, content);
    const shows = Object.fromEntries(files.map(({ inside, path }) => [inside, path]));
    const argv = ["gpgv", "--quiet", "--status-fd", "1", "--keyring", ...shown.map(([inside]) => inside)];
    return await run(shutIn(argv, { shows }), { timeoutMs: 60_000 }, signal);
  } finally {
    await Promise.all(files.map(({ path }) => rm(path, { force: true })));
  }
}

/** gpgv reads bare keys; distributions with rpm publish theirs in ASCII armour, several in one file. */
function dearmored(bytes: Buffer): Buffer {
  const text = bytes.toString("latin1");
  const blocks = text.matchAll(
    /-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n([A-Za-z0-9+/=\s]+?)(?:\r?\n=[^\r\n]{4})?\r?\n-----END/g,
  );
  const keys = [...blocks].map(([, key = ""]) => Buffer.from(key, "base64"));
  return keys.length === 0 ? bytes : Buffer.concat(keys);
}
