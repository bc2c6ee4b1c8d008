/** Records in our own form, one a line: what `gap export --format records` writes, and lists of CVEs made from other places. */
import { linesOf, parseLine } from "./content.ts";
import type { FeedKind } from "./feed.ts";

export const compact: FeedKind = {
  name: "compact",
  address: "",
  licence: "that of what it was made from",

  async read(files, found) {
    for await (const file of files) {
      let number = 0;
      for await (const line of linesOf(file)) {
        number++;
        const where = `${file.name}:${number}`;
        if (line.length === 0) continue;
        const json = parseLine(line);
        if (json.kind === "bad") {
          found.drop(json.reason, where);
          continue;
        }
        const { value } = json;
        found.add(value, where);
        if (typeof value === "object" && value !== null && "published" in value) found.dated(value.published);
      }
    }
  },
};
