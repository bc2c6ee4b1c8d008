/** What threads of tests do. */
import { FarmError } from "../../src/base/error.ts";
import { searchPath } from "../../src/base/programs.ts";
import { answerAll } from "../../src/base/thread.ts";

export type ThreadWork = "add" | "fill" | "loop" | "throw" | "bug" | "crash" | "crash later" | "path";

const count = { asked: 0 };

answerAll(async (work: ThreadWork) => {
  count.asked++;
  switch (work) {
    case "fill": {
      const kept: string[][] = [];
      for (;;) kept.push(Array.from({ length: 10_000 }, (_, index) => `${kept.length} ${index}`));
    }
    case "loop":
      for (;;);
    case "throw":
      throw new FarmError("DOCUMENT_INVALID", {
        about: "a list",
        detail: "is none",
        at: { url: "x" },
        hint: "Look.",
      });
    case "bug":
      throw new TypeError("x is not a function");
    case "crash":
      return process.exit(3);
    case "crash later":
      setTimeout(() => {
        throw new Error("nobody waits for this");
      }, 20);
      return count.asked;
    case "path":
      return searchPath();
    default:
      return count.asked;
  }
});
