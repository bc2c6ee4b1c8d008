/**
 * The front of rpm packages: lead, signature header, header. Source: rpm's docs/manual, "Package format" and
 * "RPM tags". Bytes are hostile: each number is bounded before it is used.
 */
import { FarmError } from "../base/error.ts";

export const RPM_LEAD_BYTES = 96;
const RPM_MAGIC = "edabeedb";
/** Magic, reserved, number of index entries, size of the store. */
export const RPM_HEADER_INTRO_BYTES = 16;
const HEADER_MAGIC = "8eade801";
const INDEX_ENTRY_BYTES = 16;
/** rpm's own limits are 64 KiB entries, 256 MiB of store. Kernel packages need less than a megabyte. */
const MAX_ENTRIES = 0xffff;
const MAX_STORE_BYTES = 16 * 1024 * 1024;
/** Values of one tag: files, most of the time. */
const MAX_VALUES = 500_000;
/** Characters of one path, and of all: directories are written down once, and each of their files has them. */
const MAX_PATH = 4096;
const MAX_PATHS = 64 << 20;

const TYPE = { int16: 3, int32: 4, int64: 5, string: 6, bytes: 7, stringArray: 8 } as const;
const TAG = {
  name: 1000,
  version: 1001,
  release: 1002,
  epoch: 1003,
  architecture: 1022,
  provideNames: 1047,
  provideVersions: 1113,
  payloadDigests: 5092,
  payloadDigestAlgorithm: 5093,
  payloadCompressor: 1125,
  payloadFormat: 1124,
  fileSizes: 1028,
  longFileSizes: 5008,
  fileModes: 1030,
  fileInodes: 1096,
  directoryIndexes: 1116,
  baseNames: 1117,
  directoryNames: 1118,
} as const;
/** Of the signature header. `openpgp` is how rpm 6 keeps several, in base64; `legacy` are over header and payload. */
const SIGNATURE_TAG = { overHeader: [268, 267], openpgp: 278, legacy: [1002, 1005] } as const;
/** Real ones have a few hundred bytes. */
const MAX_SIGNATURE_BYTES = 64 * 1024;
const MAX_SIGNATURES = 16;
/** A kernel package has one such name, and one more for each flavour that it stands in for. */
const MAX_RELEASES = 16;

export interface RpmFile {
  readonly path: string;
  readonly mode: number;
  readonly size: number;
  /** Whether the payload has its content: of files that are one by hard links, only the last has. */
  readonly hasContent: boolean;
}

export interface RpmHeader {
  /** `gzip`, `xz`, `zstd`, … */
  readonly compressor: string;
  /** Its files in the order of their numbers, by which payloads of large packages name them. */
  readonly files: readonly RpmFile[];
}

/** What a package says of itself in its header, which is what it is signed over. */
export interface RpmIdentity {
  readonly name: string;
  /** `[epoch:]version-release`; an epoch of 0 is none. */
  readonly version: string;
  /** rpm's word: `x86_64`, `noarch`. */
  readonly architecture: string;
  /** Each `uname -r` that it says it is for. */
  readonly releases: readonly string[];
  /** Of the payload as it is in the package, that is compressed; packages made before rpm 4.14 have none. */
  readonly payload: { readonly algorithm: number; readonly digest: string } | undefined;
}

export interface RpmSignatures {
  /** OpenPGP signatures over the header; one that is there under two tags is one. */
  readonly overHeader: readonly Buffer[];
  /** Whether there are some over header and payload, as rpm made them before its headers had digests of payloads. */
  readonly areLegacy: boolean;
}

/** @throws FarmError PACKAGE_MALFORMED when the bytes are not the beginning of an rpm package */
export function checkRpmLead(lead: Buffer): void {
  if (lead.subarray(0, 4).toString("hex") !== RPM_MAGIC) throw malformed("it does not begin like one");
}

/** How many bytes of a header follow its intro. @throws FarmError PACKAGE_MALFORMED */
export function rpmHeaderBytes(intro: Buffer): { readonly entries: number; readonly bytes: number } {
  if (intro.length < RPM_HEADER_INTRO_BYTES || intro.subarray(0, 4).toString("hex") !== HEADER_MAGIC)
    throw malformed("a header does not begin like one");
  const entries = intro.readUInt32BE(8);
  const store = intro.readUInt32BE(12);
  if (entries > MAX_ENTRIES || store > MAX_STORE_BYTES) throw malformed("a header is larger than any");
  return { entries, bytes: entries * INDEX_ENTRY_BYTES + store };
}

/** Reads what follows the intro of a package's header. @throws FarmError PACKAGE_MALFORMED */
export function readRpmHeader(entries: number, body: Buffer): RpmHeader {
  const header = new Header(entries, body);
  const format = header.string(TAG.payloadFormat) ?? "cpio";
  if (format !== "cpio") throw malformed(`its payload is ${JSON.stringify(format.slice(0, 40))}, not cpio`);
  return { compressor: header.string(TAG.payloadCompressor) ?? "gzip", files: filesOf(header) };
}

/** Likewise what it says that the package is. @throws FarmError PACKAGE_MALFORMED */
export function readRpmIdentity(entries: number, body: Buffer): RpmIdentity {
  const header = new Header(entries, body);
  const [name, version, release, architecture] = [TAG.name, TAG.version, TAG.release, TAG.architecture].map(
    (tag) => header.string(tag),
  );
  if (name === undefined || version === undefined || release === undefined || architecture === undefined)
    throw malformed("its header does not say what it is");
  const [epoch = 0] = header.numbers(TAG.epoch);
  const versions = header.strings(TAG.provideVersions);
  const releases = header
    .strings(TAG.provideNames)
    .flatMap((provided, index) => (provided.endsWith("-uname-r") ? (versions[index] ?? []) : []));
  const [digest] = header.strings(TAG.payloadDigests);
  const [algorithm] = header.numbers(TAG.payloadDigestAlgorithm);
  return {
    ...{ name, architecture, version: `${epoch === 0 ? "" : `${epoch}:`}${version}-${release}` },
    releases: [...new Set(releases)].slice(0, MAX_RELEASES),
    payload: digest === undefined || algorithm === undefined ? undefined : { algorithm, digest },
  };
}

/** Reads what follows the intro of a package's signature header. @throws FarmError PACKAGE_MALFORMED */
export function readRpmSignatures(entries: number, body: Buffer): RpmSignatures {
  const header = new Header(entries, body);
  const packed = header.strings(SIGNATURE_TAG.openpgp).slice(0, MAX_SIGNATURES);
  const found = [
    ...SIGNATURE_TAG.overHeader.flatMap((tag) => header.bytes(tag) ?? []),
    ...packed.map((text) => Buffer.from(text, "base64")),
  ];
  if (found.some(({ length }) => length > MAX_SIGNATURE_BYTES))
    throw malformed("a signature is longer than any");
  return {
    overHeader: found.filter((one, index) => found.findIndex((other) => other.equals(one)) === index),
    areLegacy: SIGNATURE_TAG.legacy.some((tag) => header.bytes(tag) !== undefined),
  };
}

function filesOf(header: Header): RpmFile[] {
  const names = header.strings(TAG.baseNames);
  const directories = header.strings(TAG.directoryNames);
  const indexes = header.numbers(TAG.directoryIndexes);
  const modes = header.numbers(TAG.fileModes);
  const inodes = header.numbers(TAG.fileInodes);
  const long = header.numbers(TAG.longFileSizes);
  const sizes = long.length > 0 ? long : header.numbers(TAG.fileSizes);
  const lastOf = new Map(inodes.map((inode, index) => [inode, index]));
  let characters = 0;
  return names.map((name, index) => {
    const directory = directories[indexes[index] ?? -1];
    const mode = modes[index];
    const size = sizes[index];
    if (directory === undefined || mode === undefined || size === undefined)
      throw malformed("its list of files is incomplete");
    const inode = inodes[index];
    const length = directory.length + name.length;
    characters += length;
    if (length > MAX_PATH || characters > MAX_PATHS) throw malformed("its paths are longer than any");
    return {
      path: `${directory}${name}`,
      mode,
      size,
      hasContent: inode === undefined || lastOf.get(inode) === index,
    };
  });
}

interface Entry {
  readonly type: number;
  readonly offset: number;
  readonly count: number;
}

/** One header: an index of tags, and a store of their values. */
class Header {
  readonly #entries = new Map<number, Entry>();
  readonly #store: Buffer;

  constructor(entries: number, body: Buffer) {
    this.#store = body.subarray(entries * INDEX_ENTRY_BYTES);
    for (let index = 0; index < entries; index++) {
      const at = index * INDEX_ENTRY_BYTES;
      const [tag, type, offset, count] = [0, 4, 8, 12].map((field) => body.readUInt32BE(at + field));
      if (offset === undefined || offset > this.#store.length || count === undefined)
        throw malformed("a header's index leads out of it");
      if (count > MAX_VALUES && SIZED.has(type as number))
        throw malformed("a header has more values than any");
      this.#entries.set(tag as number, { type: type as number, offset, count });
    }
  }

  string(tag: number): string | undefined {
    const entry = this.#entries.get(tag);
    return entry?.type === TYPE.string ? this.#strings({ ...entry, count: 1 })[0] : undefined;
  }

  strings(tag: number): string[] {
    const entry = this.#entries.get(tag);
    return entry?.type === TYPE.stringArray ? this.#strings(entry) : [];
  }

  bytes(tag: number): Buffer | undefined {
    const entry = this.#entries.get(tag);
    if (entry?.type !== TYPE.bytes) return undefined;
    const { offset, count } = entry;
    if (count > this.#store.length - offset) throw malformed("a header's values lead out of it");
    return this.#store.subarray(offset, offset + count);
  }

  numbers(tag: number): number[] {
    const entry = this.#entries.get(tag);
    const width = entry === undefined ? undefined : WIDTHS.get(entry.type);
    if (entry === undefined || width === undefined) return [];
    const { offset, count } = entry;
    if (count * width > this.#store.length - offset) throw malformed("a header's values lead out of it");
    return Array.from({ length: count }, (_, index) => {
      const at = offset + index * width;
      if (width === 2) return this.#store.readUInt16BE(at);
      return width === 4 ? this.#store.readUInt32BE(at) : safe(this.#store.readBigUInt64BE(at));
    });
  }

  #strings({ offset, count }: Entry): string[] {
    const found: string[] = [];
    for (let at = offset; found.length < count; ) {
      const end = this.#store.indexOf(0, at);
      if (end < 0) throw malformed("a header's text has no end");
      found.push(this.#store.toString("utf8", at, end));
      at = end + 1;
    }
    return found;
  }
}

const WIDTHS: ReadonlyMap<number, number> = new Map([
  [TYPE.int16, 2],
  [TYPE.int32, 4],
  [TYPE.int64, 8],
]);

/** Types of which each value is a thing of its own; of bytes there may be many. */
const SIZED: ReadonlySet<number> = new Set([...WIDTHS.keys(), TYPE.stringArray]);

function safe(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed("a size is beyond all measure");
  return Number(value);
}

function malformed(fact: string): FarmError {
  return new FarmError("PACKAGE_MALFORMED", { detail: `an rpm package cannot be read: ${fact}` });
}
