/** What is built first, and what it says of why. */
import { expect, test } from "vitest";
import { feedOf, makeCve } from "../../test/support/gap.ts";
import { bookOf } from "./book.ts";
import { reasonOf, scoreOf } from "./order.ts";

const HIGH = (v: string, s: number) => ({ cvss: { v, s, sev: "HIGH" } });
const CVES = [
  makeCve("CVE-2024-1086", [], HIGH("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 7.8)),
  makeCve("CVE-2024-2000", [], HIGH("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8)),
  makeCve("CVE-2024-3000", []),
];
const BOOK = bookOf([
  feedOf("cna", CVES, "2024-06-01"),
  feedOf(
    "kev",
    [{ type: "exploited", cve: "CVE-2024-1086", added: "2024-05-30", ransomware: false }],
    "2024-05-30",
  ),
  feedOf(
    "epss",
    [{ type: "likelihood", cve: "CVE-2024-1086", probability: 0.8, percentile: 0.99 }],
    "2024-06-01",
  ),
]);
const TODAY = "2024-06-10";

function score(closes: readonly string[], since = TODAY) {
  return scoreOf({ closes, since, today: TODAY }, BOOK);
}

test("an exploited bug comes before a severe one, that before any, and that before none", () => {
  const values = [["CVE-2024-1086"], ["CVE-2024-2000"], ["CVE-2024-3000"], []].map(
    (closes) => score(closes).value,
  );

  expect(values).toEqual(values.toSorted((a, b) => b - a));
  expect(new Set(values).size).toBe(4);
});

test("every term says what it is worth, on whose word, and as of when", () => {
  const { value, terms } = score(["CVE-2024-1086", "CVE-2024-2000", "CVE-2024-3000"], "2024-06-08");

  expect(terms.map(({ name, value: of, feed, date }) => [name, of, feed, date])).toEqual([
    ["exploited", 1, "kev", "2024-05-30"],
    ["remote", 1, "cna", "2024-06-01"],
    ["severe", 1, "cna", "2024-06-01"],
    ["likely", 0.8, "epss", "2024-06-01"],
    ["fixes", 3, "cna", "2024-06-01"],
    ["age", 2, "catalog", "2024-06-08"],
  ]);
  expect(value).toBeCloseTo(terms.reduce((sum, term) => sum + term.value * term.weight, 0));
});

test("nothing waits for ever: age outweighs any bug in the end", () => {
  expect(score([], "2024-05-10").value).toBeGreaterThan(score(["CVE-2024-1086", "CVE-2024-2000"]).value);
});

test("clocks that run backwards take nothing away", () => {
  expect(score([], "2024-07-01")).toEqual({ value: 0, terms: [] });
});

test("says in one line why a kernel comes when it does", () => {
  expect(reasonOf(score(["CVE-2024-1086"], "2024-06-09"))).toBe(
    "closes 1 exploited (CVE-2024-1086); 1 severe; 0.80 expected to be exploited within 30 days; 1 CVE in all; has waited 1 day",
  );
  expect(reasonOf(score([]))).toBe("closes nothing that is known");
});
