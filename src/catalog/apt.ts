/**
 * An apt repository as a source of kernels: signed InRelease, package indices by their digests, nothing
 * fetched twice that did not change.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { z } from "zod";
import { FarmError, toFarmError } from "../base/error.ts";
import { type Http, urlOf } from "../base/http.ts";
import { sha256 } from "../base/json.ts";
import { pipeThrough, run } from "../base/run.ts";
import type { Scratch } from "../base/scratch.ts";
import { parseParagraph, selectParagraphs } from "../formats/deb822.ts";
import { ARCHITECTURES } from "../kernel/architecture.ts";
import type { Distribution, ListedPackage } from "../kernel/distributions/distribution.ts";
import { Package } from "../kernel/kernel.ts";

/** One suite of one mirror. */
export interface AptSource {
  /** `debian/bookworm-security` */
  readonly id: string;
  readonly distribution: Distribution;
  /** Distribution release key of every kernel in it. */
  readonly release: string;
  readonly suite: string;
  readonly component: string;
  readonly url: string;
  readonly keyring: string;
  readonly acceptExpired: boolean;
}

export type AptAnswer =
  | { readonly kind: "read"; readonly metadata: AptMetadata; readonly packages: readonly ListedPackage[] }
  /** The server says that there is no such suite. */
  | { readonly kind: "notServed" }
  | { readonly kind: "failed"; readonly error: FarmError };

interface AptMetadata {
  readonly date: string;
  readonly validUntil?: string;
  readonly digest: string;
}

export interface AptContext {
  readonly http: Http;
  readonly scratch: Scratch;
  /** Where verified indices' extracts and validators are kept between nights. */
  readonly cache: string;
  readonly signal?: AbortSignal;
}

const gunzipAsync = promisify(gunzip);
const IN_RELEASE_LIMIT_BYTES = 8 * 1024 * 1024;
const INDEX_LIMIT_BYTES = 512 * 1024 * 1024;

const Extract = z.array(Package.extend({ depends: z.string() }));
const Remembered = z.object({
  etag: z.string().optional(),
  lastModified: z.string().optional(),
  text: z.string(),
});

/** Reads one suite. A failure is an answer, not an exception: the other suites go on. */
export async function readAptSource(source: AptSource, context: AptContext): Promise<AptAnswer> {
  try {
    const inRelease = await fetchInRelease(source, context);
    if (inRelease === undefined) return { kind: "notServed" };
    const release = parseRelease(await verifySignature(inRelease.text, source, context), source);
    await inRelease.remember();
    const indices = ARCHITECTURES.map(({ debian }) =>
      readIndex(source, release, `${source.component}/binary-${debian}`, context),
    );
    await Promise.allSettled(indices); // When one fails, the others must not go on behind our back.
    const packages = await Promise.all(indices);
    return {
      kind: "read",
      metadata: { ...release.metadata, digest: sha256(inRelease.text) },
      packages: packages.flat(),
    };
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.code === "INTERRUPTED" || error.blame === "bug") throw error;
    return { kind: "failed", error };
  }
}

async function fetchInRelease(
  source: AptSource,
  { http, scratch, cache, signal }: AptContext,
): Promise<{ readonly text: string; remember(): Promise<void> } | undefined> {
  const url = urlOf(source.url, `dists/${source.suite}/InRelease`);
  const memory = join(cache, "inrelease", `${sha256(url).slice(7, 39)}.json`);
  const remembered = await readJson(memory, Remembered);
  const answer = await http.fetchDocument(url, IN_RELEASE_LIMIT_BYTES, remembered ?? {}, signal);
  if (answer.kind === "missing") return undefined;
  if (answer.kind === "notModified") {
    if (remembered === undefined)
      throw new FarmError("REMOTE_UNAVAILABLE", {
        detail: `${url} answers 'not modified' to a plain request`,
      });
    return { text: remembered.text, async remember() {} };
  }
  const text = answer.bytes.toString("utf8");
  // Only what is verified may be asked for conditionally, or a bad copy would stay for as long as the good one.
  return { text, remember: () => scratch.write(memory, JSON.stringify({ ...answer.validators, text })) };
}

/** The text that the keyring's owner signed; what stands around it in the file is not part of that. */
async function verifySignature(
  inRelease: string,
  source: AptSource,
  { signal }: AptContext,
): Promise<string> {
  const argv = ["gpgv", "--quiet", "--keyring", source.keyring, "--output", "-", "-"];
  const result = await run(argv, { input: inRelease, timeoutMs: 60_000 }, signal);
  if (result.exitCode === 0 && result.stdout !== "") return result.stdout;
  const said = result.stderr
    .split("\n")
    .filter((line) => /BAD|Can't check|keyblock|error|no valid/i.test(line));
  throw new FarmError("SIGNATURE_INVALID", {
    detail: `${source.id}: no key of ${source.keyring} signed its InRelease (${said.join("; ") || `gpgv ended with ${result.exitCode}`})`,
    at: { url: source.url, suite: source.suite },
  });
}

interface ReleaseFile {
  readonly metadata: Omit<AptMetadata, "digest">;
  /** Index path below the suite → what it must be. */
  readonly indices: ReadonlyMap<string, { readonly sha256: string; readonly size: number }>;
}

function parseRelease(text: string, source: AptSource): ReleaseFile {
  const fields = parseParagraph(text);
  const codename = fields.get("Codename");
  if (codename !== source.suite) {
    throw new FarmError("SIGNATURE_INVALID", {
      detail: `${source.id}: the mirror serves the suite '${codename}' under this name`,
    });
  }
  const date = toTime(fields.get("Date"));
  if (date === undefined)
    throw new FarmError("REMOTE_UNAVAILABLE", { detail: `${source.id}: its InRelease has no date` });
  const validUntil = toTime(fields.get("Valid-Until"));
  const indices = new Map<string, { sha256: string; size: number }>();
  for (const line of (fields.get("SHA256") ?? "").split("\n")) {
    const match = /^([0-9a-f]{64})\s+(\d+)\s+(\S+)$/.exec(line);
    if (match !== null)
      indices.set(match[3] as string, { sha256: match[1] as string, size: Number(match[2]) });
  }
  return { metadata: { date, ...(validUntil === undefined ? {} : { validUntil }) }, indices };
}

function toTime(date: string | undefined): string | undefined {
  const at = Date.parse(date ?? "");
  return Number.isNaN(at) ? undefined : new Date(at).toISOString();
}

async function readIndex(
  source: AptSource,
  release: ReleaseFile,
  path: string,
  context: AptContext,
): Promise<ListedPackage[]> {
  // gzip first: half as large again on the wire, but unpacked in half the time, and off this thread.
  const name = [`${path}/Packages.gz`, `${path}/Packages.xz`].find((candidate) =>
    release.indices.has(candidate),
  );
  if (name === undefined) return [];
  const expected = release.indices.get(name) as { sha256: string; size: number };
  const prefixes = source.distribution.packagePrefixes;
  // The extract depends on the index and on what we look for in it.
  const memory = join(
    context.cache,
    "indices",
    `${expected.sha256}-${sha256(prefixes.join()).slice(7, 15)}.json`,
  );
  const remembered = await readJson(memory, Extract);
  if (remembered !== undefined) return remembered.map((listed) => ({ ...listed, source: source.id }));
  const url = urlOf(source.url, `dists/${source.suite}/${name}`);
  const index = await context.http.streamVerified(
    url,
    expected,
    (body) => decompress(body, name),
    context.signal,
  );
  const packages = selectParagraphs(index, prefixes).flatMap(
    (paragraph) => source.distribution.readPackage(paragraph, source.id) ?? [],
  );
  await context.scratch.write(memory, JSON.stringify(packages));
  return packages;
}

async function decompress(body: Readable, name: string): Promise<Buffer> {
  return name.endsWith(".gz") ? decompressGzip(await buffer(body), name) : decompressXz(body, name);
}

async function decompressGzip(packed: Buffer, name: string): Promise<Buffer> {
  try {
    return await gunzipAsync(packed, { maxOutputLength: INDEX_LIMIT_BYTES });
  } catch (cause) {
    throw new FarmError("DIGEST_MISMATCH", { detail: `${name} cannot be decompressed`, cause });
  }
}

async function decompressXz(body: Readable, name: string): Promise<Buffer> {
  const filter = pipeThrough(["xz", "-dc"]);
  body.pipe(filter.stdin);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of filter.stdout as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > INDEX_LIMIT_BYTES) {
      filter.stop();
      throw new FarmError("DIGEST_MISMATCH", {
        detail: `${name} unpacks to more than ${INDEX_LIMIT_BYTES} bytes`,
      });
    }
    chunks.push(chunk);
  }
  const exitCode = await filter.exit;
  if (exitCode !== 0) throw new FarmError("DIGEST_MISMATCH", { detail: `${name} cannot be decompressed` });
  return Buffer.concat(chunks);
}

/** Something we wrote ourselves; damaged or absent is the same: it is made anew. */
async function readJson<T>(path: string, type: z.ZodType<T>): Promise<T | undefined> {
  try {
    return type.parse(JSON.parse(await readFile(path, "utf8")));
  } catch {
    return undefined;
  }
}
