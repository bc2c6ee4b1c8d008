import { join } from "node:path";
import { expect, test } from "vitest";
import { makeElement } from "../../test/support/elements.ts";
import { annotations } from "./annotations.ts";

const FAILURE = {
  code: "BUILD_FAILED",
  blame: "source",
  cause: "no\n::set-env, 100%",
  line: "",
  file: "a,b.c",
  lineNumber: 7,
};

function failed(kversion: string, failure = FAILURE) {
  const note = { element: kversion, at: "2026-01-01T00:00:00.000Z", compiler: "gcc-12", failure };
  return { element: makeElement({ kversion }), note };
}

test("there is one annotation for each cause, on the driver's line, whose words are no command of the runner's", () => {
  const tree = join(process.cwd(), "drivers", "bell");
  const some = [
    failed("6.1.0-1-amd64"),
    failed("6.1.0-2-amd64"),
    failed("6.1.0-3-amd64", { ...FAILURE, cause: "other" }),
  ];

  expect(annotations(some, () => tree)).toEqual([
    "::error file=drivers/bell/a%2Cb.c,line=7,title=doorbell%3A 2 kernels::no%0A::set-env, 100%25: 6.1.0-1-amd64, 6.1.0-2-amd64",
    "::error file=drivers/bell/a%2Cb.c,line=7,title=doorbell%3A 1 kernel::other: 6.1.0-3-amd64",
  ]);
});

test.each([
  ["of a source from elsewhere", undefined],
  ["outside this directory", "/usr/src/bell"],
])("a line %s has no file here", (_, tree) => {
  expect(annotations([failed("6.1.0-1-amd64")], () => tree)[0]).toMatch(/^::error title=/);
});
