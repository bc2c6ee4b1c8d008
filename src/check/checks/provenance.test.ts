import { expect, test } from "vitest";
import { makeListedKernel, makePackage, makeSource } from "../../../test/support/kernels.ts";
import type { CheckSubject } from "./check.ts";
import { provenance } from "./provenance.ts";

const LIST = "kernel-crawler-x86_64/debian12";
const REPOSITORY = makeSource({ id: "debian/bookworm" });
const list = makeSource({ id: LIST, kind: "kernel-crawler" });
const { packages } = makeListedKernel();
const withStrange = {
  ...packages,
  headers: [...packages.headers, makePackage({ name: "linux-kbuild", source: LIST })],
};

function checkProvenance(
  given: { readonly packages: typeof packages },
  sources: readonly ReturnType<typeof makeSource>[],
) {
  const origin = { kind: "built" as const, recipe: "r", packages: given.packages, sources };
  return provenance.judge({ files: [], kernel: { architecture: "x86_64" }, origin } satisfies CheckSubject);
}

test("a module that was built of a repository's packages is of known provenance", () => {
  expect(checkProvenance({ packages }, [REPOSITORY, list])).toMatchObject({ verdict: "pass" });
});

test("a single package that only a list names makes it unknown, and says why and what helps", () => {
  const said = checkProvenance({ packages: withStrange }, [REPOSITORY, list]);

  expect(said).toMatchObject({ check: "provenance", verdict: "unknown" });
  expect(said?.reasons.map(({ text }) => text).join()).toMatch(
    /but only kernel-crawler.* vouches for linux-kbuild.*trusted: true/,
  );
});

test("a list that a person vouches for, and said so, counts", () => {
  const trusted = makeSource({ id: LIST, kind: "kernel-crawler", trusted: true });

  expect(checkProvenance({ packages: withStrange }, [REPOSITORY, trusted])).toMatchObject({
    verdict: "pass",
  });
});

test("a source that the catalog does not know vouches for nothing", () => {
  expect(checkProvenance({ packages }, [])).toMatchObject({ verdict: "unknown" });
});
