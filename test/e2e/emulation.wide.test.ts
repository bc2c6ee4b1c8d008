/**
 * A Debian kernel of another architecture, built by that architecture's own programs under qemu-user: the way of
 * every distribution that has no cross compilers. Takes long.
 */
import { readFile, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { emulatedArchitectures } from "../../src/builder/toolchains/emulation.ts";
import { hostArchitecture } from "../../src/kernel/architecture.ts";
import { CLOUD, readBlob, readStable, useFarms } from "../support/e2e-farm.ts";

const FOREIGN = hostArchitecture(process.arch) === "x86_64" ? "aarch64" : "x86_64";
const emulated = await emulatedArchitectures();
const farms = useFarms();

// `apt-get install qemu-user-static binfmt-support` registers it, where the kernel has binfmt_misc mounted.
describe.skipIf(!emulated.has(FOREIGN))(`a kernel of ${FOREIGN} without a cross compiler`, () => {
  it("is built in a root of its own architecture, and the recipe says so", async () => {
    const farm = await farms.farm({
      mirror: await farms.mirror(),
      select: { ...CLOUD, architectures: [FOREIGN] },
    });
    const config = JSON.parse(await readFile(farm.config, "utf8"));
    await writeFile(farm.config, JSON.stringify({ ...config, crossCompile: false }));

    const { exitCode, stdout, stderr } = await farm.cli("run");

    expect(exitCode, stdout + stderr).toBe(0);
    const [artifact] = await readStable(farm.store);
    const manifest = JSON.parse((await readBlob(farm.store, artifact?.manifest ?? "")).toString());
    expect(manifest.recipe).toMatchObject({ builder: FOREIGN, emulation: "qemu-user" });
    expect(manifest.environment.observed.compiler).toMatch(/^gcc-12 \(Debian/);
  });
});
