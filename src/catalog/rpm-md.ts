/**
 * An rpm-md repository as a source of kernels: repomd.xml of a mirror that answers, primary.xml by its digest, nothing
 * fetched twice that did not change.
 */
import { FarmError } from "../base/error.ts";
import { largest } from "../base/extremes.ts";
import { sha256 } from "../base/json.ts";
import { urlOf } from "../base/url.ts";
import {
  parseMetalink,
  parseMirrorList,
  parseRepomd,
  type Repomd,
  type RepomdEntry,
} from "../formats/rpm-md.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";
import type { ListedPackage, RpmDistribution, RpmLocation } from "../kernel/distributions/distribution.ts";
import { type IndexFacts, readVerified } from "./read-apart.ts";
import { askGpgv, believedKeys, type KeySource } from "./signing-keys.ts";
import {
  type AnySource,
  answering,
  extractOf,
  fetchRemembered,
  type RememberedText,
  relyOn,
  type SourceAnswer,
  type SourceContext,
  type SourceMetadata,
  signatureFault,
} from "./source.ts";

/** One repository. */
export interface RpmSource extends AnySource {
  readonly kind: "rpm-md";
  readonly distribution: RpmDistribution;
  /** Packages of others are none of its business. */
  readonly architectures: readonly ArchitectureName[];
  readonly location: RpmLocation;
  /** Whose signature repomd.xml must have; without it the digests prove only that nothing is damaged. */
  readonly keys?: KeySource;
  /** The mirror that answered last: asked first while it is still one, so that a good place stays. */
  readonly lastMirror?: string;
}

const LIST_LIMIT_BYTES = 4 * 1024 * 1024;
const REPOMD_LIMIT_BYTES = 8 * 1024 * 1024;
const SIGNATURE_LIMIT_BYTES = 64 * 1024;
/** Mirrors of a list that are tried before the source counts as failed. */
const MOST_MIRRORS = 5;

/** Reads one repository, from the first of its mirrors that serves it whole. */
export async function readRpmSource(source: RpmSource, context: SourceContext): Promise<SourceAnswer> {
  return answering(async () => {
    const { kind, urls } = source.location;
    if (kind === "baseurl") return readFirst({ bases: urls, sha256: new Set() }, source, context);
    for (const url of urls) {
      const list = await fetchRemembered(url, LIST_LIMIT_BYTES, kind, context);
      if (list !== undefined) return relyOn(list, () => readListed(list.text, url, source, context));
    }
    return { kind: "notServed", url: urls[0] ?? "" };
  });
}

interface Mirrors {
  readonly bases: readonly string[];
  /** What repomd.xml must be one of, where the list says so. */
  readonly sha256: ReadonlySet<string>;
}

/** From one of the mirrors that a list names: the repository exists, whichever mirror has it. */
async function readListed(
  text: string,
  url: string,
  source: RpmSource,
  context: SourceContext,
): Promise<SourceAnswer> {
  const mirrors =
    source.location.kind === "metalink"
      ? parseMetalink(text, url)
      : { bases: parseMirrorList(text), sha256: new Set<string>() };
  const fault = (fact: string) =>
    new FarmError("REMOTE_UNAVAILABLE", { about: source.id, detail: `${url} ${fact}`, at: { url } });
  if (mirrors.bases.length === 0) throw fault("names no mirror");
  const answer = await readFirst(mirrors, source, context);
  if (answer.kind !== "notServed") return answer;
  throw fault(`names ${mirrors.bases.length} mirrors, but those queried have no repository (${answer.url})`);
}

/** @throws FarmError when no mirror serves it whole and one of them should */
async function readFirst(mirrors: Mirrors, source: RpmSource, context: SourceContext): Promise<SourceAnswer> {
  const faults: FarmError[] = [];
  const missing: string[] = [];
  const last = mirrors.bases.filter((base) => base === source.lastMirror);
  for (const base of [...new Set([...last, ...mirrors.bases])].slice(0, MOST_MIRRORS)) {
    const answer = await answering(() => readMirror(base, mirrors.sha256, source, context));
    if (answer.kind === "read") return answer;
    if (answer.kind === "failed") faults.push(answer.error);
    else missing.push(answer.url);
  }
  const fault = faults.find(({ blame }) => blame === "integrity") ?? faults.at(-1);
  if (fault !== undefined) throw fault;
  return { kind: "notServed", url: missing[0] ?? "" };
}

async function readMirror(
  base: string,
  allowed: ReadonlySet<string>,
  source: RpmSource,
  context: SourceContext,
): Promise<SourceAnswer> {
  const url = urlOf(base, "repodata/repomd.xml");
  const keys =
    source.keys === undefined ? undefined : await believedKeys(source.keys, context, context.signal);
  const trust = keys === undefined ? "unsigned" : sha256(keys);
  const document = await fetchRemembered(url, REPOMD_LIMIT_BYTES, trust, context);
  if (document === undefined) return { kind: "notServed", url };
  return relyOn(document, async () => {
    const digest = sha256(document.text);
    if (allowed.size > 0 && !allowed.has(digest.slice("sha256:".length)))
      throw new FarmError("DIGEST_MISMATCH", {
        detail: `${url} is not one of the files that the metalink vouches for`,
      });
    if (keys !== undefined) await verifySignature(document, url, keys, source, context);
    const repomd = parseRepomd(document.text, url);
    const metadata = metadataOf(repomd, digest, source);
    const packages = await readPrimary(base, repomd, source, context);
    return { kind: "read", url: base, metadata, packages };
  });
}

/** What was verified when it was remembered is not verified again: its signature stays with the mirror. */
async function verifySignature(
  document: RememberedText,
  url: string,
  trusted: Buffer,
  source: RpmSource,
  { http, scratch, signal }: SourceContext,
): Promise<void> {
  if (document.isKnown) return;
  const signature = await http.fetchDocument(`${url}.asc`, SIGNATURE_LIMIT_BYTES, {}, signal);
  if (signature.kind !== "ok")
    throw new FarmError("SIGNATURE_INVALID", {
      about: source.id,
      detail: `there is no signature ${url}.asc`,
    });
  const asked = { keys: trusted, signature: signature.bytes, document: document.text };
  const result = await askGpgv(asked, { scratch }, signal);
  if (result.exitCode !== 0)
    throw signatureFault(source.id, "repomd.xml", source.keys?.fingerprints.join(" or ") ?? "", result);
}

function metadataOf({ revision, entries }: Repomd, digest: string, source: RpmSource): SourceMetadata {
  const updateinfo = entries.get("updateinfo");
  const { href, checksum } = updateinfo ?? {};
  return {
    date: dateOf(revision, [...entries.values()], source),
    digest,
    ...(source.keys === undefined ? { unsigned: true } : {}),
    ...(href !== undefined && checksum?.type === "sha256"
      ? { updateinfo: { path: href, sha256: checksum.value } }
      : {}),
  };
}

/** The revision where it is a time, as createrepo makes it, else when the youngest of the metadata was made. */
function dateOf(revision: string, entries: readonly RepomdEntry[], { id }: RpmSource): string {
  const seconds = /^\d{9,11}$/.test(revision)
    ? Number(revision)
    : largest(
        entries.flatMap(({ timestamp }) => timestamp ?? []),
        0,
      );
  if (seconds <= 0 || seconds > 99_999_999_999)
    throw new FarmError("REMOTE_UNAVAILABLE", { about: id, detail: "its repomd.xml has no date" });
  return new Date(seconds * 1000).toISOString();
}

async function readPrimary(
  base: string,
  repomd: Repomd,
  source: RpmSource,
  context: SourceContext,
): Promise<ListedPackage[]> {
  const entry = repomd.entries.get("primary");
  const href = entry?.href ?? "";
  if (entry === undefined || !/^(?:[A-Za-z0-9][\w.+~-]*\/)*[A-Za-z0-9][\w.+~-]*$/.test(href))
    throw new FarmError("REMOTE_UNAVAILABLE", {
      about: source.id,
      detail: "its repomd.xml names no primary.xml",
    });
  const expected = expectedOf(entry, source);
  const { distribution, architectures } = source;
  const url = urlOf(base, href);
  const listed = await extractOf(expected, String(distribution.packageNames), source.id, context, () =>
    readVerified(url, expected, context, (file) => ({
      ...{ kind: "rpm-md", file, url, release: source.release, source: source.id },
      open: { openChecksum: entry.openChecksum, openSize: entry.openSize },
    })),
  );
  return listed.filter((one) => one.architecture === "all" || architectures.includes(one.architecture));
}

function expectedOf({ checksum, size, href }: RepomdEntry, { id }: RpmSource): IndexFacts {
  if (checksum?.type !== "sha256" || !/^[0-9a-f]{64}$/.test(checksum.value) || size === undefined)
    throw new FarmError("REMOTE_UNAVAILABLE", {
      about: id,
      detail: `its repomd.xml gives no SHA-256 and size of ${href}, so nothing in it can be trusted`,
    });
  return { sha256: checksum.value, size };
}
