/**
 * Two drivers, one of them real, on the newest kernels of three releases and two architectures: built again
 * elsewhere, all are the same bytes.
 */
import { expect, it } from "vitest";
import { viewPath } from "../../src/registry/view-path.ts";
import { DOORBELL, readIndices, useFarms } from "../support/e2e-farm.ts";

const farms = useFarms();

it("gives the same bytes everywhere", async () => {
  const mirror = await farms.mirror();
  const loopback = {
    name: "v4l2loopback",
    source: { package: "v4l2loopback-dkms", release: "debian13" },
    versions: ["0.15.0"],
  };
  const farm = await farms.farm({
    mirror,
    drivers: [DOORBELL, loopback],
    releases: ["debian11", "debian12", "debian13"],
    // Cloud kernels have no video, and the package says so; it is older than what Linux 7 changed.
    select: { flavours: ["generic"], kernelRelease: "[56]\\..*", newest: 1 },
    jobs: 2,
  });
  expect((await farm.cli("catalog", "update")).exitCode).toBe(0);
  const built = await farm.cli("build");
  expect(built.exitCode, `${built.stdout}${built.stderr}`).toBe(0);

  const indices = await readIndices(farm.store);
  const artifacts = indices.flatMap(({ candidate }) => candidate);
  const told: string[] = [];
  for (const artifact of artifacts) {
    const { stdout, stderr } = await farm.cli("rebuild", viewPath(artifact));
    told.push(`${stdout}${stderr.replace(/^.*building it again in a different environment\n/m, "")}`);
  }

  expect(new Set(indices.map(({ distribution }) => distribution)).size).toBe(3);
  expect(new Set(indices.map(({ architecture }) => architecture)).size).toBe(2);
  expect(artifacts).toHaveLength(12);
  for (const text of told) expect(text).toMatch(/^\S+ \S+ \S+: equal, /);
});
