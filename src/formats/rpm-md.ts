/**
 * rpm-md, the format of rpm repositories: repomd.xml, primary.xml, and the lists of mirrors that lead to them.
 */
import { FarmError } from "../base/error.ts";
import { readXml, XmlReader } from "./xml.ts";

interface Checksum {
  /** sha256, sha512, or one of the broken ones. */
  readonly type: string;
  readonly value: string;
}

/** One file of metadata that repomd.xml names. */
export interface RepomdEntry {
  readonly href: string;
  readonly checksum: Checksum | undefined;
  /** Of the bytes inside the compression. */
  readonly openChecksum: Checksum | undefined;
  readonly size: number | undefined;
  readonly openSize: number | undefined;
  /** Seconds since 1970. */
  readonly timestamp: number | undefined;
}

export interface Repomd {
  readonly revision: string;
  /** `primary`, `updateinfo`, … */
  readonly entries: ReadonlyMap<string, RepomdEntry>;
}

const MOST_ENTRIES = 1000;

/** @throws FarmError REMOTE_UNAVAILABLE */
export function parseRepomd(text: string, what: string): Repomd {
  const entries = new Map<string, RepomdEntry>();
  let revision = "";
  let fields: Map<string, string> | undefined;
  let type = "";
  readXml(text, what, {
    open(name, attributes) {
      if (name === "data") [type, fields] = [attributes.type ?? "", new Map()];
      if (fields === undefined) return;
      if (name === "location") fields.set("href", attributes.href ?? "");
      if (name.endsWith("checksum")) fields.set(`${name}-type`, attributes.type ?? "");
    },
    close(name, content) {
      if (name === "revision") revision = content.trim();
      if (fields === undefined) return;
      if (name !== "data") fields.set(name, content.trim());
      else {
        if (entries.size >= MOST_ENTRIES) throw tooMany(what);
        entries.set(type, toEntry(fields));
        fields = undefined;
      }
    },
  });
  return { revision, entries };
}

function toEntry(fields: ReadonlyMap<string, string>): RepomdEntry {
  const checksum = (name: string): Checksum | undefined => {
    const value = fields.get(name);
    return value === undefined ? undefined : { type: fields.get(`${name}-type`) ?? "", value };
  };
  return {
    href: fields.get("href") ?? "",
    checksum: checksum("checksum"),
    openChecksum: checksum("open-checksum"),
    size: toNumber(fields.get("size")),
    openSize: toNumber(fields.get("open-size")),
    timestamp: toNumber(fields.get("timestamp")),
  };
}

/** A list of mirrors as plain text, one URL a line. Amazon's `mirror.list` is one too. */
export function parseMirrorList(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => /^https?:\/\/[^\s"'<>]+$/.test(line) && URL.canParse(line));
}

export interface Metalink {
  /** Bases of repositories, the best first. */
  readonly bases: readonly string[];
  /** What repomd.xml may be: the newest, and those that mirrors may still have. */
  readonly sha256: ReadonlySet<string>;
}

/** @throws FarmError REMOTE_UNAVAILABLE */
export function parseMetalink(text: string, what: string): Metalink {
  const found: { url: string; preference: number }[] = [];
  const sha256 = new Set<string>();
  let attributes: Readonly<Record<string, string>> = {};
  readXml(text, what, {
    open(_, its) {
      attributes = its;
    },
    close(name, content) {
      if (found.length + sha256.size >= MOST_ENTRIES * 10) throw tooMany(what);
      const value = content.trim();
      if (name === "hash" && attributes.type === "sha256") sha256.add(value.toLowerCase());
      if (name === "url" && value.endsWith("repodata/repomd.xml"))
        found.push({ url: value, preference: Number(attributes.preference ?? 0) || 0 });
    },
  });
  const sorted = found.toSorted((a, b) => b.preference - a.preference);
  const bases = sorted.map(({ url }) => url.slice(0, -"repodata/repomd.xml".length));
  return { bases: parseMirrorList(bases.join("\n")), sha256 };
}

/** A package of primary.xml, as far as catalogs want to know it. */
export interface PrimaryPackage {
  readonly name: string;
  readonly architecture: string;
  readonly epoch: string;
  readonly version: string;
  readonly release: string;
  readonly sha256: string | undefined;
  readonly size: number;
  readonly href: string;
  /** Where `href` starts when that is not the repository. */
  readonly base: string | undefined;
  /** `version` is `[epoch:]version[-release]`; a capability without one is left out. */
  readonly provides: readonly { readonly name: string; readonly version: string }[];
}

const MOST_PROVIDES = 65_536;
/** Of one package; a kernel that lists the symbols of all its modules has a tenth of that. */
const MOST_CHARACTERS = 16 << 20;
/** Of a name, a version, a place. */
const LONGEST_FIELD = 1024;

type Draft = {
  -readonly [Field in Exclude<keyof PrimaryPackage, "provides">]?: PrimaryPackage[Field];
};

/** Reads primary.xml in pieces; `take` gets every package whose name `wanted` fits, nothing of the others is kept. */
export function primaryReader(
  what: string,
  wanted: RegExp,
  take: (found: PrimaryPackage) => void,
): XmlReader {
  let draft: Draft | undefined;
  let provides: { name: string; version: string }[] = [];
  let characters = 0;
  let inProvides = false;
  let checksumType = "";
  return new XmlReader(what, {
    open(name, attributes) {
      if (name === "package") [draft, provides, characters] = [{}, [], 0];
      if (draft === undefined) return;
      if (name === "provides") inProvides = true;
      else if (name === "entry" && inProvides) {
        const one = provided(attributes);
        if (one === undefined) return;
        characters += one.name.length + one.version.length;
        if (provides.length >= MOST_PROVIDES || characters > MOST_CHARACTERS) throw tooMany(what);
        provides.push(one);
      } else if (name === "checksum") checksumType = attributes.type ?? "";
      else addAttributes(draft, name, attributes);
    },
    close(name, content) {
      if (draft === undefined) return;
      if (name === "provides") inProvides = false;
      else if (name === "arch") draft.architecture = content;
      else if (name === "checksum" && checksumType === "sha256") draft.sha256 = content.toLowerCase();
      else if (name === "name") {
        if (wanted.test(content)) draft.name = content;
        else draft = undefined; // Nothing else of it matters.
      } else if (name === "package") {
        if (isWhole(draft)) take({ ...draft, provides });
        draft = undefined;
      }
    },
  });
}

function addAttributes(draft: Draft, name: string, attributes: Readonly<Record<string, string>>): void {
  if (name === "version") {
    draft.epoch = attributes.epoch ?? "0";
    draft.version = attributes.ver ?? "";
    draft.release = attributes.rel ?? "";
  } else if (name === "size") draft.size = toNumber(attributes.package) ?? -1;
  else if (name === "location") {
    draft.href = attributes.href ?? "";
    draft.base = attributes["xml:base"];
  }
}

function provided({
  name,
  epoch,
  ver,
  rel,
}: Readonly<Record<string, string>>): PrimaryPackage["provides"][number] | undefined {
  if (name === undefined || ver === undefined) return undefined;
  const [before, behind] = [epoch === undefined || epoch === "0" ? "" : `${epoch}:`, rel ? `-${rel}` : ""];
  return { name, version: `${before}${ver}${behind}` };
}

function isWhole(draft: Draft): draft is Omit<PrimaryPackage, "provides"> {
  const { name, architecture, version, size, href } = draft;
  const isThere = [name, architecture, version, size, href].every((field) => field !== undefined);
  return isThere && Object.values(draft).every((field) => String(field ?? "").length <= LONGEST_FIELD);
}

function toNumber(text: string | undefined): number | undefined {
  const number = text === undefined || !/^\d{1,15}(\.\d+)?$/.test(text.trim()) ? Number.NaN : Number(text);
  return Number.isNaN(number) ? undefined : Math.floor(number);
}

function tooMany(what: string): FarmError {
  return new FarmError("REMOTE_UNAVAILABLE", { detail: `${what} has more entries than any real one` });
}
