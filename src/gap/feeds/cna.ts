/**
 * The repository of the kernel's CVE team (vulns.git), however it comes: for each CVE its record (.json), the pairs that
 * the record was made from (.dyad), the commits that fix it in mainline (.sha1). What introduced the bug (.vulnerable)
 * is in the pairs already. A CVE of which a part is damaged is bad as a whole: half of it would say what it does not mean.
 */
import { cut } from "../../base/copied.ts";
import { MOST_PAIRS, MOST_TITLE_CHARACTERS, type Pair } from "../records.ts";
import { disagree } from "../upstream.ts";
import { readJson, readText } from "./content.ts";
import { type KernelCve, readCveJson } from "./cve-json.ts";
import { Budget, dayOf, type FeedFile, type FeedKind, type Found } from "./feed.ts";

const PART = /(?:^|\/)(CVE-\d{4}-\d{4,12})\.(json|dyad|sha1|cvss)$/;
/** Beside what is published and rejected there are numbers in reserve, tools, and records made for their tests. */
const NOT_CVES = /(?:^|\/)(?:reserved|returned|testing|review|tools|scripts|\.git)\//;

interface Parts {
  isRejected: boolean;
  json?: KernelCve;
  dyad?: readonly Pair[];
  fix?: readonly string[];
  vector?: string;
  bad?: string;
}

export const cna: FeedKind = {
  name: "cna",
  address: "https://git.kernel.org/pub/scm/linux/security/vulns.git",
  licence: "CVE Terms of Use",

  async read(files, found) {
    const parts = new Map<string, Parts>();
    const held = new Budget("cna");
    for await (const file of files) {
      const [, id, kind] = PART.exec(file.name) ?? [];
      if (id === undefined || NOT_CVES.test(file.name)) continue;
      const isRejected = /(?:^|\/)rejected\//.test(file.name);
      const known = parts.get(id) ?? { isRejected };
      parts.set(id, known);
      if (known.isRejected !== isRejected) known.bad = "is both published and rejected";
      else if (isRejected && kind !== "json") continue;
      else {
        await readPart(file, kind as PartKind, known, id);
        const part = HELD[kind as PartKind];
        Object.assign(known, { [part]: held.keep(known[part]) });
      }
    }
    for (const [id, one] of parts) put(id, one, found);
  },
};

type PartKind = "json" | "dyad" | "sha1" | "cvss";
const HELD = { json: "json", dyad: "dyad", sha1: "fix", cvss: "vector" } as const;

async function readPart(file: FeedFile, kind: PartKind, parts: Parts, id: string): Promise<void> {
  const fail = (reason: string) => {
    // Rejected records keep the form of the day they were rejected.
    if (!parts.isRejected) parts.bad ??= `.${kind}: ${reason}`;
  };
  if (kind === "json") {
    const value = await readJson(file);
    if (value.kind === "bad") {
      fail(value.reason);
      return;
    }
    const json = readCveJson(value.value);
    if (json.kind === "bad") {
      fail(json.reason);
      return;
    }
    if (json.kind === "other") {
      fail("is of another organisation");
      return;
    }
    if (json.cve.id !== id) {
      fail("is of another CVE than its name says");
      return;
    }
    parts.json = json.cve;
    return;
  }
  const text = await readText(file);
  if (text.kind === "bad") {
    fail(text.reason);
    return;
  }
  if (kind === "dyad") {
    const pairs = pairsOfDyad(text.value);
    if (pairs === undefined) {
      fail("has a line that is not release:commit:release:commit");
      return;
    }
    if (pairs.length > MOST_PAIRS) {
      fail(`has more than ${MOST_PAIRS} pairs`);
      return;
    }
    parts.dyad = pairs;
  } else if (kind === "sha1") {
    const commits = text.value.split(/\s+/).filter((line) => line !== "");
    if (commits.some((commit) => !/^[0-9a-f]{40}$/.test(commit))) {
      fail("has a line that is no commit");
      return;
    }
    parts.fix = commits;
  } else parts.vector = /^\S+ (CVSS:3\.[01]\/\S+)/.exec(text.value)?.[1] ?? "";
}

/** Undefined where any line is not of its form. */
function pairsOfDyad(text: string): Pair[] | undefined {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const pairs = lines.map((line) => line.trimEnd().split(":"));
  const isWhole = pairs.every(
    (fields) =>
      fields.length === 4 &&
      [fields[1], fields[3]].every((commit) => /^(0|[0-9a-f]{40})$/.test(commit ?? "")),
  );
  return isWhole ? (pairs as unknown as Pair[]) : undefined;
}

function put(id: string, { isRejected, json, dyad, fix, bad }: Parts, found: Found): void {
  if (bad !== undefined) {
    found.drop(bad, id);
    return;
  }
  const { title = "", files = [], published, updated, cvss = null } = json ?? {};
  const common = { id, title: cut(title, MOST_TITLE_CHARACTERS), files, cvss };
  found.dated(updated ?? published);
  if (isRejected) {
    found.add({ ...common, rejected: true, fix: [], pairs: [] }, id);
    return;
  }
  const pairs = dyad ?? json?.pairs;
  if (pairs === undefined) {
    found.drop("has neither a record nor pairs", id);
    return;
  }
  found.add(
    {
      ...common,
      ...(dayOf(published) === undefined ? {} : { published }),
      fix: fix ?? json?.fix ?? [],
      pairs,
      // Both may be right for other releases: whoever asks for one of those where they differ is shown both.
      ...(dyad !== undefined && json !== undefined && disagree(dyad, json.pairs)
        ? { otherPairs: json.pairs }
        : {}),
    },
    id,
  );
}
