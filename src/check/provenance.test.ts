import { expect, test } from "vitest";
import { makeListedKernel, makePackage, makeSource } from "../../test/support/kernels.ts";
import { checkProvenance } from "./provenance.ts";

const LIST = "kernel-crawler-x86_64/debian12";
const REPOSITORY = makeSource({ id: "debian/bookworm" });
const list = makeSource({ id: LIST, kind: "kernel-crawler" });
const { packages } = makeListedKernel();
const withStrange = {
  ...packages,
  headers: [...packages.headers, makePackage({ name: "linux-kbuild", source: LIST })],
};

test("a module that was built of a repository's packages is of known provenance", () => {
  expect(checkProvenance({ packages }, "r", [REPOSITORY, list])).toMatchObject({ verdict: "pass" });
});

test("a single package that only a list names makes it unknown, and says why and what helps", () => {
  const said = checkProvenance({ packages: withStrange }, "r", [REPOSITORY, list]);

  expect(said).toMatchObject({ check: "provenance", verdict: "unknown" });
  expect(said.reasons.join()).toMatch(/with linux-kbuild on the word of kernel-crawler.*trusted: true/);
});

test("a list that a person vouches for, and said so, counts", () => {
  const trusted = makeSource({ id: LIST, kind: "kernel-crawler", trusted: true });

  expect(checkProvenance({ packages: withStrange }, "r", [REPOSITORY, trusted])).toMatchObject({
    verdict: "pass",
  });
});

test("a source that the catalog does not know vouches for nothing", () => {
  expect(checkProvenance({ packages }, "r", [])).toMatchObject({ verdict: "unknown" });
});
