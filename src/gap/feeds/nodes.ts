/** What nodes run, one report a line: `{"node", "release", "version", "machine", "at"}`, the words of `uname`. */
import { linesOf, parseLine } from "./content.ts";
import type { FeedKind } from "./feed.ts";

export const nodes: FeedKind = {
  name: "nodes",
  address: "",
  licence: "your own",

  async read(files, found) {
    for await (const file of files) {
      let number = 0;
      for await (const line of linesOf(file)) {
        const where = `${file.name}:${++number}`;
        if (line.length === 0) continue;
        const json = parseLine(line);
        if (json.kind === "bad") {
          found.drop(json.reason, where);
          continue;
        }
        const { value } = json;
        if (typeof value === "object" && value !== null && "at" in value) found.dated(value.at);
        found.add({ ...(value as object), type: "node" }, where);
      }
    }
  },
};
