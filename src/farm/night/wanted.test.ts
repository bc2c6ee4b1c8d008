import { describe, expect, test } from "vitest";
import { refuseUnknownEarly } from "./wanted.ts";

const DRIVERS = [{ name: "doorbell" }];
const refusal = (narrowed: Parameters<typeof refuseUnknownEarly>[0], releases?: readonly string[]) => {
  try {
    refuseUnknownEarly(narrowed, releases, DRIVERS);
    return undefined;
  } catch (thrown) {
    return (thrown as Error).message;
  }
};

describe("a word of the command line, before any mirror was asked", () => {
  test.each([
    [
      { distributions: ["debain12"] },
      "--distro: there is no distribution or release 'debain12' (did you mean 'debian12'?)",
    ],
    [{ drivers: ["dorbell"] }, "--driver: no driver 'dorbell' is configured (did you mean 'doorbell'?)"],
  ])("that names nothing is refused: %j", (narrowed, message) => {
    expect(refusal(narrowed, ["debian12"])).toBe(message);
  });

  test.each([["debian12"], ["debian"], ["ubuntu24.04"], ["homemade1"], ["homemade"]])(
    "%s is one that something is called",
    (word) => {
      expect(refusal({ distributions: [word] }, ["homemade1"])).toBeUndefined();
    },
  );

  test("may be a release that only a list knows; and of kernels nothing is known yet", () => {
    expect(refusal({ distributions: ["minikube"] })).toBeUndefined();
    expect(refusal({ kernels: ["6.1.0-57-amd64"], flavours: ["strange"] }, ["debian12"])).toBeUndefined();
  });
});
