import { mkdir, readdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { layOut } from "./layout.ts";
import type { SandboxSpec } from "./sandbox.ts";

describe("a place for a mount in a root that packages wrote", () => {
  test.each([
    ["is absolute", "usr/lib", (place: string) => join(place, "host")],
    ["is absolute, at the end", "usr/lib/headers", (place: string) => join(place, "host")],
    ["leads out", "usr/lib", () => "../../host"],
    ["leads out by its parents", "usr/lib", () => "x/../../../host"],
    ["leads to itself", "usr/lib", () => "lib"],
  ])("is not made where a link %s", async (_, link, target) => {
    const { place, spec } = await specOf("/usr/lib/headers");
    await mkdir(join(spec.root, link, ".."), { recursive: true });
    await symlink(target(place), join(spec.root, link));

    const making = layOut(spec);

    await expect(making).rejects.toThrow(expect.objectContaining({ code: "TOOL_FAILED" }));
    expect(await readdir(join(place, "host"))).toEqual([]);
  });

  test.each(["/lib/headers/6.1", "/usr/lib/headers/6.1", "/new/headers"])("is made at %s", async (inside) => {
    const { spec } = await specOf(inside);
    await mkdir(join(spec.root, "usr"));
    await mkdir(join(spec.root, "usr/lib"));
    await symlink("usr/lib", join(spec.root, "lib"));

    await layOut(spec);
    await layOut(spec);

    expect(await readdir(join(spec.root, inside))).toEqual([]);
    expect(await readdir(join(spec.root, "usr"))).toEqual(["lib"]);
  });
});

async function specOf(inside: string) {
  const place = await temporaryDirectory();
  for (const name of ["root", "host", "input", "scratch"]) await mkdir(join(place, name));
  const spec = {
    ...{
      root: join(place, "root"),
      scratch: join(place, "scratch"),
      inputs: [[join(place, "input"), inside]],
    },
    ...{ outputs: [], links: [], emptyDirectories: [] },
  } as unknown as SandboxSpec;
  return { place, spec };
}
