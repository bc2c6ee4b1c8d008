import fc from "fast-check";
import { expect, test } from "vitest";
import { parseUpstreamVersion, type UpstreamVersion } from "../kernel/upstream-version.ts";
import { arrivalsOf, passagesOf, type Upload } from "./arrivals.ts";

const version = (text: string) => parseUpstreamVersion(text) as UpstreamVersion;
const uploads = (...lines: string[]): Upload[] =>
  lines.map((line) => {
    const [place = "", text = "", day = ""] = line.split(" ");
    return { place, version: version(text), day };
  });
/** As Debian's changelogs tell it. */
const RECORD = uploads(
  "experimental 7.0 2026-04-13",
  "sid 7.0.3 2026-04-30",
  "experimental 7.1-rc2 2026-05-07",
  "sid 7.1.3 2026-07-04",
  "experimental 7.2-rc3 2026-07-18",
  "experimental 7.2.2 2026-08-28",
  "sid 7.2.6 2026-09-16",
  "experimental 7.3-rc6 2026-10-09",
  "debian13 6.12.117 2026-11-14",
  "debian13 6.12.118 2026-11-20",
);
const place = (name: string, changes = {}) => ({ name, hasIt: false, followsIt: false, ...changes });

test("a series arrives after as long as earlier ones took, and is there since its first upload", () => {
  const places = ["experimental", "sid", "debian13", "trixie-backports"].map((name) => place(name));

  expect(arrivalsOf(version("7.3-rc6"), places, RECORD, "2026-11-01")).toEqual([
    { place: "experimental", kind: "there", since: "2026-10-09", warning: 0 },
    {
      ...{ place: "sid", kind: "expected", from: "experimental", count: 3 },
      // 17, 58 and 60 days.
      ...{ day: "2026-12-06", earliest: "2026-11-03", latest: "2026-12-08", warning: 35 },
    },
    { place: "debian13", kind: "staysWith", series: "6.12" },
    { place: "trixie-backports", kind: "unknown" },
  ]);
});

test("what is overdue is not called here, and what a suite lists is not called missing", () => {
  const [late] = arrivalsOf(version("7.3"), [place("sid")], RECORD, "2026-12-16");
  const [there] = arrivalsOf(version("7.3"), [place("sid", { hasIt: true })], RECORD, "2026-12-16");

  expect(late).toMatchObject({ kind: "expected", day: "2026-12-06", warning: -10 });
  expect(there).toEqual({ place: "sid", kind: "there" });
});

test("the warning was as long as it took from the first place", () => {
  const later = [...RECORD, ...uploads("sid 7.3.3 2026-11-07", "trixie-backports 7.3.4 2026-11-15")];

  const arrivals = arrivalsOf(
    version("7.3.4"),
    [place("sid"), place("trixie-backports")],
    later,
    "2026-11-30",
  );

  expect(arrivals).toMatchObject([
    { since: "2026-11-07", warning: 29 },
    { since: "2026-11-15", warning: 37 },
  ]);
});

test("where users follow the series, its next release arrives as earlier releases did", () => {
  const proposed = uploads(
    "trixie-proposed-updates 6.12.110 2026-09-01",
    "debian13 6.12.110 2026-09-08",
    "trixie-proposed-updates 6.12.119 2026-11-26",
  );

  const [arrival] = arrivalsOf(
    version("6.12.119"),
    [place("debian13", { followsIt: true })],
    [...RECORD, ...proposed],
    "2026-11-30",
  );

  expect(arrival).toMatchObject({ kind: "expected", day: "2026-12-03", warning: 3, count: 1 });
});

test("passages are those of at least two series, the way they went", () => {
  expect(passagesOf(RECORD)).toEqual([
    {
      from: "experimental",
      to: "sid",
      count: 3,
      median: 58,
      p10: expect.closeTo(25.2),
      p90: expect.closeTo(59.6),
    },
  ]);
});

test("whatever is on record, what is expected lies between its bounds, and nothing is there before its first upload", () => {
  const day = fc
    .integer({ min: 1, max: 28 })
    .map((number) => `2026-0${1 + (number % 9)}-${String(number).padStart(2, "0")}`);
  const upload = fc.record({
    place: fc.constantFrom("a", "b", "c"),
    version: fc.record({ series: fc.constantFrom(7_000_000, 7_001_000, 7_002_000), patch: fc.nat(3) }),
    day,
  });
  fc.assert(
    fc.property(fc.array(upload, { maxLength: 30 }), fc.boolean(), (all, followsIt) => {
      const release = { series: 7_002_000, patch: 1 };
      const places = ["a", "b", "c"].map((name) => place(name, { followsIt }));
      for (const arrival of arrivalsOf(release, places, all, "2026-06-01")) {
        const own = all.filter((one) => one.place === arrival.place);
        const its = own.filter(
          (one) =>
            one.version.series === release.series && (!followsIt || one.version.patch === release.patch),
        );
        if (arrival.kind === "there") expect(arrival.since).toBe(its.map((one) => one.day).sort()[0]);
        else expect(its).toEqual([]);
        if (arrival.kind !== "expected") continue;
        expect(arrival.earliest <= arrival.day && arrival.day <= arrival.latest).toBe(true);
        expect(arrival.count).toBeGreaterThan(0);
      }
    }),
  );
});
