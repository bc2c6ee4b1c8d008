/**
 * Where a build runs is no part of what it gives: the same element by bubblewrap and by podman.
 */
import { expect, it } from "vitest";
import { readIndices, useFarms } from "../support/e2e-farm.ts";

const farms = useFarms();

it("gives the same recipe, modules and manifest by bubblewrap and by podman", async () => {
  const bubblewrap = await candidatesBy("bwrap");
  const podman = await candidatesBy("podman");

  expect(bubblewrap).toHaveLength(2);
  expect(podman).toEqual(bubblewrap);
});

async function candidatesBy(sandbox: string) {
  const farm = await farms.farm({ mirror: await farms.mirror() });
  for (const words of [
    ["catalog", "update"],
    ["build", "--sandbox", sandbox],
  ]) {
    const { exitCode, stdout, stderr } = await farm.cli(...words);
    expect(exitCode, `${stdout}${stderr}`).toBe(0);
  }
  const indices = await readIndices(farm.store);
  return indices
    .flatMap((index) => index.candidate)
    .map(({ kversion, recipe, modules, manifest }) => ({ kversion, recipe, modules, manifest }));
}
