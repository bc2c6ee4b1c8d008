/** EPSS: how likely each CVE is to be exploited within 30 days. Lines of `cve,epss,percentile` below a line with the date. */
import { linesOf } from "./content.ts";
import type { FeedKind } from "./feed.ts";

export const epss: FeedKind = {
  name: "epss",
  address: "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz",
  licence: "free to use with attribution to FIRST.org",

  async read(files, found) {
    for await (const file of files)
      for await (const { bytes, where } of linesOf(file, found)) {
        const line = bytes.toString("latin1").trimEnd();
        if (line.startsWith("#")) found.dated(/score_date:([^,\s]+)/.exec(line)?.[1]);
        else if (line !== "" && !line.startsWith("cve,")) {
          const [cve, probability, percentile] = line.split(",");
          found.add(
            { type: "likelihood", cve, probability: numberOf(probability), percentile: numberOf(percentile) },
            where,
          );
        }
      }
  },
};

/** What is no number makes the record bad. */
function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d(\.\d+)?(e-\d+)?$/i.test(text) ? Number(text) : undefined;
}
