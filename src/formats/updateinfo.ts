/**
 * updateinfo.xml, the advisories of an rpm repository, read as it comes: RHEL and its rebuilds, Amazon, Fedora and SUSE
 * share the format.
 */
import { cut } from "../base/copied.ts";
import { FarmError } from "../base/error.ts";
import { XmlReader } from "./xml.ts";

export interface Advisory {
  readonly id: string;
  /** `security`, `bugfix`, … */
  readonly type: string;
  readonly severity: string | undefined;
  /** As they stand there; an advisory may gain CVEs long after it was issued. */
  readonly issued: string | undefined;
  readonly updated: string | undefined;
  /** From references of the kind `cve`, and from the ids and titles of others: Fedora has them there. */
  readonly cves: readonly string[];
  readonly packages: readonly AdvisoryPackage[];
}

interface AdvisoryPackage {
  readonly name: string;
  /** `[epoch:]version-release` */
  readonly version: string;
  readonly architecture: string;
}

/** SUSE's largest have some thousand; of one advisory some hundred. */
const MOST = { advisories: 200_000, cves: 5000, packages: 20_000 } as const;
const LONGEST = 256;

interface Draft {
  id: string;
  type: string;
  severity?: string;
  issued?: string;
  updated?: string;
  readonly cves: Set<string>;
  readonly packages: AdvisoryPackage[];
}

/** `take` gets every advisory that has a package whose name fits; nothing of the others is kept. */
export function updateinfoReader(what: string, wanted: RegExp, take: (found: Advisory) => void): XmlReader {
  let draft: Draft | undefined;
  let seen = 0;
  return new XmlReader(what, {
    open(name, attributes) {
      if (name === "update") {
        if (++seen > MOST.advisories) throw tooMany(what);
        draft = { id: "", type: short(attributes.type), cves: new Set(), packages: [] };
      }
      if (draft === undefined) return;
      if (name === "issued") draft.issued = short(attributes.date);
      else if (name === "updated") draft.updated = short(attributes.date);
      else if (name === "reference") addIds(draft, attributes, what);
      else if (name === "package") addPackage(draft, wanted, attributes, what);
    },
    close(name, text) {
      if (draft === undefined) return;
      // Packages and collections have no ids, and descriptions no elements of these names.
      if (name === "id") draft.id ||= short(text);
      else if (name === "severity") draft.severity = short(text);
      else if (name === "update") {
        const { id, type, severity, issued, updated, cves, packages } = draft;
        if (id !== "" && packages.length > 0)
          take({ id, type, severity, issued, updated, cves: [...cves].sort(), packages });
        draft = undefined;
      }
    },
  });
}

function addIds(draft: Draft, { id, title, href }: Readonly<Record<string, string>>, what: string): void {
  for (const text of [id, title, href])
    for (const cve of text?.slice(0, 4096).match(/\bCVE-\d{4}-\d{4,9}\b/g) ?? []) draft.cves.add(cve);
  if (draft.cves.size > MOST.cves) throw tooMany(what);
}

function addPackage(
  draft: Draft,
  wanted: RegExp,
  { name, epoch, version, release, arch }: Readonly<Record<string, string>>,
  what: string,
): void {
  if (name === undefined || version === undefined || name.length > LONGEST || !wanted.test(name)) return;
  if (draft.packages.length >= MOST.packages) throw tooMany(what);
  const before = epoch === undefined || epoch === "0" || epoch === "" ? "" : `${epoch}:`;
  const whole = `${before}${version}${release === undefined ? "" : `-${release}`}`;
  draft.packages.push({ name, version: short(whole), architecture: short(arch) });
}

function short(text: string | undefined): string {
  return cut((text ?? "").trim(), LONGEST);
}

function tooMany(what: string): FarmError {
  return new FarmError("REMOTE_UNAVAILABLE", { detail: `${what} has more entries than any real one` });
}
