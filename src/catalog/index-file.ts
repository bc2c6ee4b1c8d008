/**
 * What an index or a list says of kernels, from its file: by the format of its repository.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { copied } from "../base/copied.ts";
import { decompressed } from "../base/decompress.ts";
import { assertNever, FarmError, isErrno } from "../base/error.ts";
import { selectParagraphs } from "../formats/deb822.ts";
import { primaryReader, type RepomdEntry } from "../formats/rpm-md.ts";
import { DEB_FIELDS, readDebPackage } from "../kernel/distributions/deb-family.ts";
import type { Distribution, ListedPackage } from "../kernel/distributions/distribution.ts";
import { findRelease } from "../kernel/distributions/index.ts";
import { readKernelCrawler } from "./kernel-crawler.ts";
import type { KernelList, ListOptions } from "./kernel-list.ts";

/** A file of ours, with bytes of strangers; it goes to another process, so the distribution is named, by a release of it. */
export type IndexFile =
  | {
      readonly kind: "apt";
      readonly file: string;
      /** Its end says how it is compressed. */
      readonly name: string;
      /** As in `AptSource`. */
      readonly only?: string;
      readonly release: string;
      readonly source: string;
    }
  | {
      readonly kind: "rpm-md";
      readonly file: string;
      readonly url: string;
      readonly open: Pick<RepomdEntry, "openChecksum" | "openSize">;
      readonly release: string;
      readonly source: string;
    }
  | { readonly kind: "list"; readonly file: string; readonly options: ListOptions };

/** By kind: what is made of such a file. */
export interface IndexContent {
  readonly apt: ListedPackage[];
  readonly "rpm-md": ListedPackage[];
  readonly list: KernelList;
}

const OPEN_LIMIT_BYTES = { apt: 512 * 1024 ** 2, "rpm-md": 2 * 1024 ** 3 } as const;
/** A little more than the reader of lists takes, who says in his own words that one is too long. */
export const LIST_LIMIT_BYTES = 65 * 1024 ** 2;
const MOST_PACKAGES = 200_000;
/** Of what is kept of one rpm-md index: real ones have a tenth of that. */
const MOST_CHARACTERS = 32 << 20;

/** @throws FarmError REMOTE_UNAVAILABLE, DIGEST_MISMATCH, DOCUMENT_INVALID; FILE_UNREADABLE for a list of this machine */
export async function readIndexFile(index: IndexFile): Promise<IndexContent[IndexFile["kind"]]> {
  try {
    return await readIndex(index);
  } catch (thrown) {
    if (thrown instanceof FarmError || !isErrno(thrown)) throw thrown;
    throw new FarmError("FILE_UNREADABLE", {
      detail: `${index.file} cannot be read (${thrown.code})`,
      cause: thrown,
    });
  }
}

async function readIndex(index: IndexFile): Promise<IndexContent[IndexFile["kind"]]> {
  const body = createReadStream(index.file);
  switch (index.kind) {
    case "apt":
      return readPackages(body, index);
    case "rpm-md":
      return readPrimary(body, index);
    case "list":
      return readKernelCrawler(openList(body, index.options.url), index.options);
    default:
      return assertNever(index);
  }
}

function openList(body: Readable, url: string): AsyncIterable<Uint8Array> {
  return /\.(gz|zst|xz)$/.test(url) ? decompressed(body, url, LIST_LIMIT_BYTES) : plain(body);
}

async function readPackages(
  body: Readable,
  { name, only, release, source }: Extract<IndexFile, { kind: "apt" }>,
): Promise<ListedPackage[]> {
  const distribution = distributionOf("deb", release);
  const text = decompressed(body, name, OPEN_LIMIT_BYTES.apt);
  const { packagePrefixes, readPackage } =
    only === undefined ? distribution : { packagePrefixes: [`${only}\n`], readPackage: readDebPackage };
  const paragraphs = await selectParagraphs(text, packagePrefixes, DEB_FIELDS);
  return paragraphs.flatMap((paragraph) => readPackage(paragraph, source) ?? []);
}

async function readPrimary(
  body: Readable,
  { url, open, release, source }: Extract<IndexFile, { kind: "rpm-md" }>,
): Promise<ListedPackage[]> {
  const distribution = distributionOf("rpm", release);
  const found: ListedPackage[] = [];
  let characters = 0;
  const reader = primaryReader(url, distribution.packageNames, (one) => {
    const listed = distribution.readPackage(one, source);
    if (listed === undefined) return;
    characters += JSON.stringify(listed).length;
    if (found.length >= MOST_PACKAGES || characters > MOST_CHARACTERS)
      throw new FarmError("REMOTE_UNAVAILABLE", { detail: `${url} lists more kernels than exist` });
    found.push(copied(listed));
  });
  const hash = createHash("sha256");
  const limit = Math.min(open.openSize ?? OPEN_LIMIT_BYTES["rpm-md"], OPEN_LIMIT_BYTES["rpm-md"]);
  // One after the other: neither the text nor its packages are held as a whole.
  for await (const chunk of url.endsWith(".xml") ? plain(body) : decompressed(body, url, limit)) {
    hash.update(chunk);
    reader.write(chunk);
  }
  reader.end();
  const { openChecksum } = open;
  if (openChecksum?.type === "sha256" && openChecksum.value !== hash.digest("hex"))
    throw new FarmError("DIGEST_MISMATCH", {
      detail: `${url}: the sha256 of its content is not ${openChecksum.value}, as repomd.xml says`,
    });
  return found;
}

function plain(body: Readable): AsyncIterable<Buffer> {
  return body.iterator() as AsyncIterable<Buffer>;
}

function distributionOf<Format extends Distribution["format"]>(
  format: Format,
  release: string,
): Extract<Distribution, { format: Format }> {
  const known = findRelease(release)?.distribution;
  if (known?.format !== format)
    throw new FarmError("BUG", { detail: `${release} has no ${format} packages` });
  return known as Extract<Distribution, { format: Format }>;
}
