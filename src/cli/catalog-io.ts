/**
 * Catalogs in and out, in every format there is: our own, kernel-crawler's lists, driverkit's configurations.
 * What a document is, its first bytes say.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { FarmError } from "../base/error.ts";
import { parseDocument } from "../base/json.ts";
import { AnnotatedCatalog, type Described, describedBy } from "../catalog/annotated.ts";
import { type Catalog, EMPTY_CATALOG } from "../catalog/catalog.ts";
import { readDriverkit } from "../catalog/driverkit.ts";
import { readKernelCrawler } from "../catalog/kernel-crawler.ts";
import {
  architectureOfPlace,
  type KernelList,
  type ListOptions,
  reportsOfList,
} from "../catalog/kernel-list.ts";
import { mergeCatalog } from "../catalog/merge.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";
import { CATALOG_FORMATS } from "./commands/catalog/command.ts";
import { openInput, peek, readText, readWhole } from "./input.ts";

type CatalogFormat = (typeof CATALOG_FORMATS)[number];

export type AnyCatalog =
  | ({ readonly format: "kmodfarm" } & Described)
  | { readonly format: "kernel-crawler" | "driverkit"; readonly list: KernelList };

export interface ReadOptions {
  readonly as?: CatalogFormat | undefined;
  readonly name?: string | undefined;
  readonly architecture?: ArchitectureName | undefined;
  readonly keepEntries?: boolean | undefined;
}

const CONFIG_LIMIT_BYTES = 4 * 1024 * 1024;

/** A file, a URL, standard input (`-`), or a directory of driverkit configurations. */
export async function readAnyCatalog(place: string, options: ReadOptions = {}): Promise<AnyCatalog> {
  const { as, name } = options;
  const architecture = options.architecture ?? architectureOfPlace(place);
  const listOptions: ListOptions = { url: place, name, architecture, keepEntries: options.keepEntries };
  if ((await stat(place).catch(() => undefined))?.isDirectory()) {
    return { format: "driverkit", list: readDriverkit(await configsBelow(place), listOptions) };
  }
  await using input = await openInput(place);
  const { head, rest } = await peek(input.bytes);
  const format = as ?? formatOf(head, place);
  switch (format) {
    case "kernel-crawler":
      return { format, list: await readKernelCrawler(rest, listOptions) };
    case "driverkit": {
      const text = await readWhole(rest, place, CONFIG_LIMIT_BYTES);
      return { format, list: readDriverkit([{ name: place, text }], listOptions) };
    }
    case "kmodfarm":
      return {
        format,
        ...describedBy(parseDocument(AnnotatedCatalog, await readWhole(rest, place), place)),
      };
  }
}

/** A catalog of the document alone, for commands that keep nothing. */
export async function readCatalog(place: string): Promise<Described & { readonly list?: KernelList }> {
  const read = await readAnyCatalog(place);
  return read.format === "kmodfarm"
    ? read
    : { catalog: catalogOfList(read.list), facts: [], list: read.list };
}

/** What a list says without any remembered state. */
export function catalogOfList(list: KernelList): Catalog {
  const now = new Date().toISOString();
  return mergeCatalog(EMPTY_CATALOG, reportsOfList(list, EMPTY_CATALOG, now), { now });
}

/** Whether a file or URL is a kernel list, by its first bytes; standard input is not looked at. */
export async function isKernelList(place: string): Promise<boolean> {
  if (place === "-") return false;
  await using input = await openInput(place);
  const { head } = await peek(input.bytes);
  return /^\s*\{/.test(head) && !OWN_DOCUMENT.test(head);
}

const OWN_DOCUMENT = /^\s*\{\s*"(schema|guests|sources|kernels|elements|generatedAt)"/;

function formatOf(head: string, place: string): CatalogFormat {
  if (OWN_DOCUMENT.test(head)) return "kmodfarm";
  if (/^\s*\{/.test(head)) return "kernel-crawler";
  if (/^kernelrelease:/m.test(head)) return "driverkit";
  throw new FarmError("DOCUMENT_INVALID", {
    detail: `${place} is neither a catalog nor a kernel list nor a driverkit configuration`,
    hint: `If it is one of these formats, say which with --as ${CATALOG_FORMATS.join("|")}.`,
  });
}

/** dbg-go keeps its configurations at any depth; links are not followed, they may lead around in circles. */
async function configsBelow(directory: string): Promise<{ name: string; text: string }[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && /\.ya?ml$/.test(entry.name));
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).toSorted();
  if (paths.length === 0)
    throw new FarmError("DOCUMENT_INVALID", { detail: `${directory} has no .yaml or .yml file` });
  const found: { name: string; text: string }[] = [];
  for (const path of paths) found.push({ name: path, text: await readText(path, CONFIG_LIMIT_BYTES) });
  return found;
}
