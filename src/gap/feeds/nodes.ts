/** What nodes run, one report a line: `{"node", "release", "version", "machine", "at"}`, the words of `uname`. */
import { jsonLines } from "./content.ts";
import type { FeedKind } from "./feed.ts";

export const nodes: FeedKind = {
  name: "nodes",
  address: "",
  licence: "your own",

  async read(files, found) {
    for await (const file of files)
      for await (const { value, where } of jsonLines(file, found)) {
        if (typeof value === "object" && value !== null && "at" in value) found.dated(value.at);
        found.add({ ...(value as object), type: "node" }, where);
      }
  },
};
