import { expect, test } from "vitest";
import { makeCatalog, makeKernel, makeSource } from "../../test/support/kernels.ts";
import type { Source } from "./ask.ts";
import { EMPTY_CATALOG } from "./catalog.ts";
import { judge } from "./judge.ts";
import type { SourceAnswer } from "./source.ts";

const SOURCE = {
  ...{ kind: "apt", id: "debian/bookworm", release: "debian12", url: "http://mirror.example/debian" },
} as Source;
const READ = {
  kind: "read",
  url: "http://mirror.example/debian",
  metadata: { date: "2026-02-01T00:00:00.000Z", digest: "sha256:0" },
  packages: [],
} as SourceAnswer;
const NOW = new Date("2026-02-02T00:00:00.000Z");

test("a source is there since its first good answer, whatever it answers later", () => {
  const first = judge(SOURCE, READ, EMPTY_CATALOG, NOW);
  const later = judge(SOURCE, READ, makeCatalog([], [first]), new Date("2026-02-09T00:00:00.000Z"));

  expect(first.since).toBe(NOW.toISOString());
  expect(later.since).toBe(NOW.toISOString());
  expect(judge(SOURCE, { kind: "notServed", url: "" }, EMPTY_CATALOG, NOW)).not.toHaveProperty("since");
});

test("of a source that answered before this was kept its first kernels say it", () => {
  const before = makeCatalog(
    [
      makeKernel({ firstSeen: "2026-01-05T00:00:00.000Z" }),
      makeKernel({ firstSeen: "2026-01-03T00:00:00.000Z" }),
    ],
    [makeSource()],
  );

  expect(judge(SOURCE, READ, before, NOW).since).toBe("2026-01-03T00:00:00.000Z");
});
