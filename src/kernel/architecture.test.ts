import { expect, test } from "vitest";
import { MACHINES } from "../formats/kernel-module.ts";
import { ARCHITECTURES, ArchitectureName, architecture, hostArchitecture } from "./architecture.ts";

test("every architecture has one entry, and modules of it can be read", () => {
  const names = ARCHITECTURES.map(({ name }) => name);

  expect(names).toEqual(ArchitectureName.options);
  expect([...MACHINES.values()].toSorted()).toEqual(names.toSorted());
  expect(names.map((name) => architecture(name))).toEqual(ARCHITECTURES);
});

test("no two architectures share a name of any kind", () => {
  for (const field of ["name", "debian", "kbuild", "triplet"] as const) {
    const values = ARCHITECTURES.map((one) => one[field]);
    expect(new Set(values).size, field).toBe(values.length);
  }
});

test("the host is named as uname would", () => {
  expect(hostArchitecture("x64")).toBe("x86_64");
  expect(hostArchitecture("arm64")).toBe("aarch64");
});
