/**
 * OSV records of distributions: AlmaLinux, Debian, Rocky, SUSE, Ubuntu. What they say of packages that are no kernel is
 * left out, and so is what was withdrawn. Of upstream itself OSV has git ranges, which say nothing of releases.
 */
import { z } from "zod";
import { listOf, readJson } from "./content.ts";
import { dayOf, type FeedKind, type Found } from "./feed.ts";
import { isKernelPackage, isLivePatchPackage, releaseOfEcosystem } from "./packages.ts";

const Event = z.object({ introduced: z.string().optional(), fixed: z.string().optional() });
const Affected = z.object({
  package: z.object({ ecosystem: z.string().max(200), name: z.string().max(256) }).optional(),
  ranges: listOf(z.object({ type: z.string(), events: listOf(Event, 10_000) })).default([]),
});
const Osv = z.object({
  id: z.string().max(256),
  published: z.string().optional(),
  modified: z.string().optional(),
  withdrawn: z.string().optional(),
  aliases: listOf(z.string()).nullish(),
  related: listOf(z.string()).nullish(),
  upstream: listOf(z.string()).nullish(),
  affected: listOf(Affected, 100_000).nullish(),
});
type Osv = z.infer<typeof Osv>;

/** Each package of an advisory becomes a record with all its CVEs; the largest have some hundred of both. */
const MOST_PRODUCTS = 1_000_000;

export const osv: FeedKind = {
  name: "osv",
  address: "https://osv-vulnerabilities.storage.googleapis.com/AlmaLinux/all.zip",
  licence: "that of the distribution: AlmaLinux MIT, Ubuntu CC-BY-SA-4.0, Debian and Rocky as they state it",

  async read(files, found) {
    for await (const file of files) {
      if (!file.name.endsWith(".json")) continue;
      const json = await readJson(file);
      if (json.kind === "bad") {
        found.drop(json.reason, file.name);
        continue;
      }
      // Lists of records are made by hand, or by the database's answers.
      for (const [index, value] of (Array.isArray(json.value) ? json.value : [json.value]).entries()) {
        const record = Osv.safeParse(value);
        if (record.success) add(record.data, found);
        else found.drop("is no OSV record", index === 0 ? file.name : `${file.name}[${index}]`);
      }
    }
  },
};

function add(record: Osv, found: Found): void {
  const { id, published, modified, withdrawn, aliases, related, upstream, affected } = record;
  found.dated(modified ?? published);
  const named = [id, ...(aliases ?? []), ...(related ?? []), ...(upstream ?? [])];
  const cves = [...new Set(named.flatMap((text) => /CVE-\d{4}-\d{4,12}$/.exec(text)?.[0] ?? []))].sort();
  const kernels = (affected ?? []).filter(
    (one) => one.package !== undefined && isKernelPackage(one.package.name),
  );
  if (withdrawn !== undefined || cves.length === 0) return;
  if (cves.length * kernels.length > MOST_PRODUCTS) {
    found.drop(`has more than ${MOST_PRODUCTS} pairs of a CVE and a package`, id);
    return;
  }
  const seen = new Set<string>();
  for (const { package: { ecosystem, name } = { ecosystem: "", name: "" }, ranges } of kernels) {
    const fixed = ranges
      .filter(({ type }) => type === "ECOSYSTEM")
      .flatMap(({ events }) => events.flatMap((one) => one.fixed ?? []));
    const [published_, modified_] = [dayOf(published), dayOf(modified)];
    const release = releaseOfEcosystem(ecosystem);
    // One advisory names a package once for each of its architectures or streams.
    if (seen.has(`${release}\n${name}\n${fixed[0]}`)) continue;
    seen.add(`${release}\n${name}\n${fixed[0]}`);
    found.add(
      {
        ...{ type: "advisory", id, release, package: name, cves },
        ...(fixed[0] === undefined ? { status: "affected" } : { status: "fixed", version: fixed[0] }),
        ...(published_ === undefined ? {} : { published: published_ }),
        ...(modified_ === undefined ? {} : { modified: modified_ }),
        ...(isLivePatchPackage(name) || id.startsWith("LSN-") ? { livepatch: true } : {}),
      },
      id,
    );
  }
}
