import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PathSegment, pathSegment } from "./path-segment.ts";

describe("pathSegment", () => {
  test.each(["6.1.0-56-amd64", "6.12.113-1~bpo12+1", "debian12", "a".repeat(128)])(
    "takes %s as it is",
    (name) => {
      expect(pathSegment(name, "kernel")).toBe(name);
      expect(PathSegment.safeParse(name).success).toBe(true);
    },
  );

  test.each([
    "",
    ".",
    "..",
    ".hidden",
    "-option",
    "~user",
    "a/b",
    "a\\b",
    "a b",
    "a\n",
    "a\0",
    "1:6.1",
    "ä",
    "a".repeat(129),
  ])("refuses %j with its value", (name) => {
    expect(() => pathSegment(name, "kernel")).toThrow(
      expect.objectContaining({
        code: "UNSAFE_NAME",
        message: expect.stringContaining(JSON.stringify(name).slice(0, 50)),
      }),
    );
    expect(PathSegment.safeParse(name).success).toBe(false);
  });

  test("says of an epoch what to write instead", () => {
    expect(() => pathSegment("1:3.1.0+git20230717~dfsg-10.1", "driver version")).toThrow(
      /omit the epoch "1:", and write "3\.1\.0\+git20230717~dfsg-10\.1"/,
    );
    expect(() => pathSegment("1:../x", "driver version")).not.toThrow(/epoch/);
  });

  test("lets nothing through that leads elsewhere", () => {
    fc.assert(
      fc.property(fc.string(), (name) => {
        const isTaken = PathSegment.safeParse(name).success;

        if (isTaken) expect(new URL(name, "http://mirror.example/a/").pathname).toBe(`/a/${name}`);
      }),
    );
  });
});
