import { describe, expect, test } from "vitest";
import { makeElement } from "../../test/support/elements.ts";
import { sha256 } from "../base/json.ts";
import { elementKey } from "../matrix/element.ts";
import { placeOf } from "../registry/blobs.ts";
import type { AttemptNote } from "../registry/documents.ts";
import { openFolderStore } from "../registry/stores/folder.ts";
import { failureOf, failureParagraphs, shortFailure } from "./failures.ts";

const STORE = await openFolderStore("/store");
const FAILURE = {
  code: "BUILD_FAILED",
  blame: "source",
  cause: "the kernel has no function strlcpy (its API changed)",
  file: "f.c",
  lineNumber: 8,
  line: "f.c:8:9: error: implicit declaration of function 'strlcpy'",
  advice: "Use strscpy().",
};

function failed(kversion: string, failure: AttemptNote["failure"] = FAILURE) {
  const element = makeElement({ kversion });
  const note = { element: elementKey(element), at: "2026-02-07T00:00:00.000Z", compiler: "gcc-12", failure };
  return { element, note: { ...note, log: { digest: sha256(kversion), size: 9 } } };
}

test("a driver that finds no device is the policy's affair, and not this machine's", () => {
  const { note } = failed("6.1.0-1-amd64");
  const { failure: _, ...built } = note;
  const load = (verdict: "notApplicable" | "unknown" | "pass") => ({
    ...built,
    load: { verdict: { check: "load" as const, verdict, reasons: [{ code: "noDevice", text: "no bell" }] } },
    refusals: [`load: ${verdict}`],
  });

  expect(failureOf(load("notApplicable"))).toMatchObject({
    code: "GATE_REFUSED",
    blame: "source",
    cause: "load: notApplicable",
  });
  expect(failureOf(load("pass")).code).toBe("GATE_REFUSED");
  expect(failureOf(load("unknown"))).toMatchObject({ code: "LOAD_FAILED", blame: "infra" });
});

describe("failureParagraphs", () => {
  test("tell of one failure what happened where, and what to do, and end with the code", () => {
    const { driver, driverversion, distribution, architecture } = makeElement({});

    expect(failureParagraphs([failed("6.1.0-55-amd64")], STORE)).toBe(
      `${driver} ${driverversion} ${distribution}/${architecture}/6.1.0-55-amd64: the kernel has no function strlcpy (its API changed) (not tried again until something changes, or --retry)
  at: f.c:8 of ${driver}
  said: f.c:8:9: error: implicit declaration of function 'strlcpy'
  log: ${placeOf(STORE, sha256("6.1.0-55-amd64"))}
  Use strscpy(). [BUILD_FAILED]
`,
    );
  });

  test("make no lines of a worker's words", () => {
    const failure = { ...FAILURE, cause: "a\n::stop-commands::b", line: "c\r\nd" };

    const lines = failureParagraphs([failed("6.1.0-55-amd64", failure)], STORE).split("\n");

    expect(lines[0]).toContain("a\\n::stop-commands::b");
    expect(lines).toContain("  said: c\\u{d}\\nd");
  });

  test("tell the same failure of many kernels once, and name the first of them", () => {
    const text = failureParagraphs(
      ["1", "2", "3", "4", "5", "6"].map((n) => failed(`6.1.0-${n}-amd64`)),
      STORE,
    );

    expect(text.match(/\[BUILD_FAILED\]/g)).toHaveLength(1);
    expect(text).toMatch(/ for 6 kernels: the kernel has no function/);
    expect(text).toMatch(/kernels: .*6\.1\.0-1-amd64, .*6\.1\.0-4-amd64, and 2 more$/m);
  });

  test("tell of a server that is gone once, whatever was wanted of it", () => {
    const gone = (n: number, what: string) =>
      failed(`6.1.0-${n}-amd64`, {
        code: "REMOTE_UNAVAILABLE",
        blame: "remote",
        cause: `${what}: nothing listens there (connection refused)`,
        line: "",
      });

    const text = failureParagraphs(
      [
        gone(1, "http://mirror.test/pool/linux-headers-1.deb"),
        gone(2, "http://mirror.test/pool/linux-headers-2.deb"),
        gone(3, "the toolchain root of debian12 cannot be bootstrapped: E: http://mirror.test/dists/x"),
        gone(4, "http://other.test/pool/linux-headers-4.deb"),
      ],
      STORE,
    );

    expect(text.match(/\[REMOTE_UNAVAILABLE\]/g)).toHaveLength(2);
    expect(text).toMatch(
      / for 3 kernels: http:\/\/mirror\.test\/pool\/linux-headers-1\.deb: nothing listens/,
    );
  });

  test("do not promise to leave alone what will be tried again", () => {
    const text = failureParagraphs([failed("6.1", { ...FAILURE, code: "TIMED_OUT", blame: "infra" })], STORE);

    expect(text).not.toContain("not tried again");
  });

  test("read what older farms wrote, who gave no advice", () => {
    const { advice: _, file: __, lineNumber: ___, ...old } = FAILURE;

    expect(failureParagraphs([failed("6.1", old)], STORE)).toMatch(/^ {2}\S.*\S \[BUILD_FAILED\]$/m);
  });
});

test("a short failure names the line", () => {
  expect(shortFailure(FAILURE)).toBe("the kernel has no function strlcpy (its API changed) (f.c:8)");
});
