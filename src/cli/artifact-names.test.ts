import { describe, expect, test } from "vitest";
import { makeEntry } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import type { Listed } from "../registry/standing.ts";
import { artifactNamed, artifactsNamed } from "./artifact-names.ts";

const listed = (kversion: string, channel: Listed["channel"]) =>
  ({ entry: makeEntry(makeElement({ kversion })), channel }) as Listed;
const STABLE = listed("6.1.0-55-amd64", "stable");
const NEWER = listed("6.1.0-55-amd64", "candidate");
const OTHER = listed("6.1.0-56-amd64", "stable");

describe("artifactNamed", () => {
  test.each(["6.1.0-56-amd64", "x86_64/6.1.0-56-amd64", "/6.1.0-56-amd64_6.1.170-3/"])(
    "knows '%s'",
    (words) => {
      expect(artifactNamed([STABLE, OTHER], words)).toBe(OTHER);
    },
  );

  test("tells two at one place apart by their channels", () => {
    const all = [STABLE, NEWER, OTHER];

    expect(() => artifactNamed(all, "6.1.0-55-amd64")).toThrow(/any of stable\/\S+, candidate\/\S+$/);
    expect(artifactNamed(all, "candidate/6.1.0-55-amd64")).toBe(NEWER);
    expect(artifactNamed(all, "stable/6.1.0-55-amd64")).toBe(STABLE);
  });

  test("names some of many, and how many more there are", () => {
    const many = Array.from({ length: 9 }, (_, index) => listed(`6.1.0-${index}-amd64`, "stable"));

    expect(() => artifactNamed(many, "x86_64")).toThrow(/ and 3 more$/);
  });
});

test.each([
  ["dorbell/0.1.0", "(did you mean 'doorbell'?)"],
  ["debian12/x86_64/6.1.0-57-amd64", "(did you mean '6.1.0-55-amd64'?)"],
  ["plan9/6.1.0-57-amd64", "named plan9/6.1.0-57-amd64"],
])("of '%s' the likely name is said", (words, said) => {
  expect(() => artifactsNamed([STABLE], words)).toThrow(
    expect.objectContaining({ message: expect.toSatisfy((text: string) => text.endsWith(said)) }),
  );
});

test("words must be whole parts of a name", () => {
  expect(() => artifactsNamed([STABLE], "6.1.0-5")).toThrow(/no artifact named 6\.1\.0-5/);
});
