/** What helpers of tests do. */
import { setTimeout as sleep } from "node:timers/promises";
import { FarmError } from "../../src/base/error.ts";
import { answerAll } from "../../src/base/helpers.ts";
import { searchPath } from "../../src/base/programs.ts";

export type HelperWork =
  | "add"
  | "fill"
  | "fill beside"
  | "loop"
  | "throw"
  | "bug"
  | "crash"
  | "crash later"
  | "path"
  | { readonly echo: string };

const count = { asked: 0 };

await answerAll(async (work: HelperWork) => {
  count.asked++;
  switch (work) {
    case "fill": {
      const kept: string[][] = [];
      for (;;) kept.push(Array.from({ length: 10_000 }, (_, index) => `${kept.length} ${index}`));
    }
    case "fill beside": {
      const kept: Buffer[] = [];
      for (;;) kept.push(Buffer.alloc(16 << 20, 1));
    }
    case "loop":
      for (;;);
    case "throw":
      throw new FarmError("DOCUMENT_INVALID", {
        ...{ about: "a list", detail: "is none", at: { url: "x" }, hint: "Look." },
      });
    case "bug":
      throw new TypeError("x is not a function");
    case "crash":
      return process.exit(3);
    case "crash later":
      setTimeout(() => {
        throw new Error("nobody waits for this");
      }, 20);
      return sleep(60_000);
    case "path":
      return searchPath();
    case "add":
      return count.asked;
    default:
      return work.echo;
  }
});
