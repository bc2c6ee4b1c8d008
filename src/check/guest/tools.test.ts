import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { hostArchitecture } from "../../kernel/architecture.ts";
import type { Package } from "../../kernel/kernel.ts";
import { guestPackages, hostBusybox } from "./tools.ts";

const HERE = hostArchitecture(process.arch);
const ELSEWHERE = HERE === "x86_64" ? "aarch64" : "x86_64";

const busybox = (version: string, architecture: "x86_64" | "aarch64"): Package => ({
  name: "busybox-static",
  version,
  architecture,
  source: "debian",
  path: "a.deb",
});
const GUESTS = [
  { distribution: "debian12", architecture: "x86_64" as const, packages: [busybox("12", "x86_64")] },
  {
    distribution: "debian13",
    architecture: "x86_64" as const,
    packages: [busybox("13", "x86_64"), busybox("13a", "x86_64")],
  },
  { distribution: "debian13", architecture: "aarch64" as const, packages: [busybox("arm", "aarch64")] },
];

describe("the userland of a guest", () => {
  test.each([
    ["debian13", "x86_64", ["13", "13a", "12"]],
    ["almalinux9.4", "x86_64", ["12", "13", "13a"]],
    ["almalinux9.4", "aarch64", ["arm"]],
  ] as const)("of %s/%s", (distribution, architecture, versions) => {
    expect(guestPackages(GUESTS, { distribution, architecture }).map(({ version }) => version)).toEqual(
      versions,
    );
  });

  test("is this machine's own where no index has one, if that runs in there", async () => {
    const directory = await temporaryDirectory();
    await writeFile(join(directory, "script"), "#!/bin/sh\n".repeat(20));

    expect(await hostBusybox(HERE, [join(directory, "script"), "/nowhere", "/bin/busybox"])).toBe(
      "/bin/busybox",
    );
    expect(await hostBusybox(ELSEWHERE, ["/bin/busybox"])).toBeUndefined();
    expect(await hostBusybox(HERE, [process.execPath, "/bin/sh", "/dev/null"])).toBeUndefined();
  });
});
