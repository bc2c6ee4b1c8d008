/** Real kernel-crawler lists, where they lie beside the checkout, and catalogs made of them. */
import { createReadStream, existsSync } from "node:fs";
import { createGunzip } from "node:zlib";
import { type Catalog, EMPTY_CATALOG } from "../../src/catalog/catalog.ts";
import { readKernelCrawler } from "../../src/catalog/kernel-crawler.ts";
import { type KernelList, reportsOfList } from "../../src/catalog/kernel-list.ts";
import { mergeCatalog } from "../../src/catalog/merge.ts";
import { sharedFile } from "./shared.ts";

const COMMITS: Readonly<Record<string, string>> = {
  "2022-04-24": "f6dbbc9b",
  "2022-05-03": "f7f15039",
  "2022-05-08": "917c4935",
  "2022-05-22": "6b04d058",
  "2022-06-12": "855f79c4",
  "2022-06-15": "c0ba17ed",
  "2022-09-22": "671bd659",
  "2022-09-28": "2df4db35",
};

export function realListFile(day: string, machine = "x86_64"): string {
  return sharedFile(`data/kernel-crawler/${day}_${COMMITS[day]}_${machine}.json.gz`);
}

/** Why tests on real lists cannot run here, or undefined. */
export function whyNoRealLists(): string | undefined {
  return existsSync(realListFile("2022-09-28")) ? undefined : "the real lists are not beside this checkout";
}

const read = new Map<string, Promise<KernelList>>();

/** Each list is read once; nobody changes it. */
export function readRealList(day: string, machine = "x86_64"): Promise<KernelList> {
  const file = realListFile(day, machine);
  const known = read.get(file) ?? readFileOf(file);
  read.set(file, known);
  return known;
}

function readFileOf(file: string): Promise<KernelList> {
  return readKernelCrawler(createReadStream(file).pipe(createGunzip()), { url: file, keepEntries: true });
}

/** What a catalog becomes when a list is imported on a day. */
export function importList(previous: Catalog, list: KernelList, day: string): Catalog {
  const now = `${day}T00:00:00.000Z`;
  return mergeCatalog(previous, reportsOfList(list, previous, now), { now });
}

export function catalogOfList(list: KernelList): Catalog {
  return importList(EMPTY_CATALOG, list, "2026-01-01");
}
