/** Records in our own form, one a line: what `gap export --format records` writes, and lists of CVEs made from other places. */
import { jsonLines } from "./content.ts";
import type { FeedKind } from "./feed.ts";

export const compact: FeedKind = {
  name: "compact",
  address: "",
  licence: "that of what it was made from",

  async read(files, found) {
    for await (const file of files)
      for await (const { value, where } of jsonLines(file, found)) {
        found.add(value, where);
        if (typeof value === "object" && value !== null && "published" in value) found.dated(value.published);
      }
  },
};
