/**
 * Upstream's releases and their days: `{"releases": {"6.1.170": "2026-04-30", …}}`, or endoflife.date's form of it
 * (`{"versions": {"6.1.170": {"name", "date"}}}`), or lines of `git for-each-ref` (`v6.1.170 2026-04-30`).
 */
import { z } from "zod";
import { parseUpstreamVersion, showUpstreamVersion } from "../../kernel/upstream-version.ts";
import { parseJson, readWhole } from "./content.ts";
import { dayOf, type FeedKind, type Found } from "./feed.ts";

const Releases = z.object({
  snapshot: z.string().optional(),
  releases: z.record(z.string(), z.unknown()).default({}),
  versions: z.record(z.string(), z.unknown()).default({}),
});

export const releases: FeedKind = {
  name: "releases",
  address: "https://raw.githubusercontent.com/endoflife-date/release-data/main/releases/linux.json",
  licence: "MIT",

  async read(files, found) {
    for await (const file of files) {
      const bytes = await readWhole(file);
      if (bytes.kind === "bad") found.drop(bytes.reason, file.name);
      else if (/^\s*\{/.test(bytes.value.toString("utf8", 0, 64)))
        readDocument(bytes.value, file.name, found);
      else
        for (const line of bytes.value.toString("utf8").split("\n")) {
          const [, version = "", day = ""] = /^(?:refs\/tags\/)?v?(\S+)\s+(\S+)/.exec(line) ?? [];
          if (line.trim() !== "") put(version, day, line, found);
        }
    }
  },
};

function readDocument(bytes: Buffer, name: string, found: Found): void {
  const json = parseJson(bytes);
  if (json.kind === "bad") {
    found.drop(json.reason, name);
    return;
  }
  const document = Releases.safeParse(json.value);
  if (!document.success) {
    found.drop("is no list of releases", name);
    return;
  }
  found.dated(document.data.snapshot);
  const { releases, versions } = document.data;
  // There they are series, with the days of their support.
  for (const [version, day] of Object.entries(releases))
    if (typeof day === "string") put(version, day, version, found);
  for (const [version, said] of Object.entries(versions))
    put(
      version,
      typeof said === "object" && said !== null && "date" in said ? String(said.date) : "",
      version,
      found,
    );
}

function put(version: string, time: string, where: string, found: Found): void {
  const [parsed, day] = [parseUpstreamVersion(version.replace(/^v/, "")), dayOf(time)];
  if (parsed === undefined) {
    found.drop("is no release of kernel.org", where);
    return;
  }
  // Candidates are no releases.
  if (parsed.prerelease !== undefined) return;
  if (day === undefined) {
    found.drop("has no day", where);
    return;
  }
  found.add({ type: "release", version: showUpstreamVersion(parsed), day }, where);
  found.dated(day);
}
