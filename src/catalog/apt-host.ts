/**
 * Which mirror the host itself uses: Debian's entries in its apt configuration, both of apt's formats.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { entriesOf } from "../base/scratch.ts";
import { parseParagraphs } from "../formats/deb822.ts";

export interface HostMirrors {
  readonly main?: string;
  readonly security?: string;
}

interface Entry {
  readonly uri: string;
  readonly suites: readonly string[];
  readonly components: readonly string[];
  readonly signedBy: string;
}

/** Reads `/etc/apt` (or another directory of that form); what is not Debian's own archive does not count. */
export async function readHostMirrors(directory = "/etc/apt"): Promise<HostMirrors> {
  const parts = join(directory, "sources.list.d");
  const files = [
    join(directory, "sources.list"),
    ...(await entriesOf(parts)).map((name) => join(parts, name)),
  ];
  const entries: Entry[] = [];
  for (const file of files) {
    const text = await readFile(file, "utf8").catch(() => "");
    if (file.endsWith(".sources")) entries.push(...parseSourcesFile(text));
    else if (file.endsWith(".list")) entries.push(...parseListFile(text));
  }
  const mirrors: { main?: string; security?: string } = {};
  for (const entry of entries.filter(isDebianArchive)) {
    const archive = entry.suites.some((suite) => /(-security$|\/updates$)/.test(suite)) ? "security" : "main";
    const uri = await resolveMirrorList(entry.uri);
    if (uri !== undefined) mirrors[archive] ??= uri;
  }
  return mirrors;
}

/** `deb [signed-by=… arch=…] URI SUITE COMPONENT…` */
function parseListFile(text: string): Entry[] {
  return text.split("\n").flatMap((line) => {
    const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line.trim());
    if (match === null) return [];
    const [, options = "", uri = "", suite = "", components = ""] = match;
    const signedBy = /signed-by=(\S+)/i.exec(options)?.[1] ?? "";
    return [{ uri, suites: [suite], components: components.trim().split(/\s+/), signedBy }];
  });
}

/** The deb822 form; an embedded key counts as a foreign key. */
function parseSourcesFile(text: string): Entry[] {
  return parseParagraphs(text).flatMap((paragraph) => {
    if (!words(paragraph.get("Types")).includes("deb") || /^no$/i.test(paragraph.get("Enabled") ?? ""))
      return [];
    return words(paragraph.get("URIs")).map((uri) => ({
      uri,
      suites: words(paragraph.get("Suites")),
      components: words(paragraph.get("Components")),
      signedBy: paragraph.get("Signed-By") ?? "",
    }));
  });
}

function words(field: string | undefined): string[] {
  return (field ?? "").split(/\s+/).filter((word) => word !== "");
}

function isDebianArchive({ uri, components, signedBy }: Entry): boolean {
  const ownKey = signedBy === "" || signedBy.includes("debian-archive-");
  const ownPath = /\/debian(-security|-archive)?\/*$/.test(uri) || uri.startsWith("mirror+file:");
  return ownKey && ownPath && components.includes("main");
}

/** Cloud images name their mirrors in a file of their own (`mirror+file:`). */
async function resolveMirrorList(uri: string): Promise<string | undefined> {
  if (/^https?:/.test(uri)) return uri.replace(/\/+$/, "");
  if (!uri.startsWith("mirror+file:")) return undefined;
  const text = await readFile(uri.slice("mirror+file:".length), "utf8").catch(() => "");
  return words(text)
    .find((word) => /^https?:/.test(word))
    ?.replace(/\/+$/, "");
}
