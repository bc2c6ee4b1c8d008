/** CISA's catalog of vulnerabilities that are known to be exploited. Its CVEs are joined by their ids alone: products vary. */
import { z } from "zod";
import { readJson } from "./content.ts";
import { dayOf, type FeedKind } from "./feed.ts";

const Kev = z.object({
  dateReleased: z.string().optional(),
  vulnerabilities: z.array(z.unknown()).max(100_000),
});
const Vulnerability = z.object({
  cveID: z.string(),
  dateAdded: z.string(),
  knownRansomwareCampaignUse: z.string().optional(),
});

export const kev: FeedKind = {
  name: "kev",
  address: "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json",
  licence: "CC0-1.0",

  async read(files, found) {
    for await (const file of files) {
      const json = await readJson(file);
      if (json.kind === "bad") {
        found.drop(json.reason, file.name);
        continue;
      }
      const catalog = Kev.safeParse(json.value);
      if (!catalog.success) {
        found.drop("is no catalog of exploited vulnerabilities", file.name);
        continue;
      }
      found.dated(catalog.data.dateReleased);
      for (const [index, value] of catalog.data.vulnerabilities.entries()) {
        const one = Vulnerability.safeParse(value);
        if (!one.success) {
          found.drop("is no entry", `${file.name}[${index}]`);
          continue;
        }
        const { cveID, dateAdded, knownRansomwareCampaignUse } = one.data;
        const ransomware = knownRansomwareCampaignUse === "Known";
        found.add({ type: "exploited", cve: cveID, added: dayOf(dateAdded), ransomware }, cveID);
      }
    }
  },
};
