/**
 * Watching a repository: a kernel that appears in its index is stable one question and one element later.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import type { ListedPackage } from "../../src/kernel/distributions/distribution.ts";
import { makeSigningKey, startRepository } from "../support/apt-repository.ts";
import {
  readStable,
  type SharedElement,
  sharedElement,
  sharedGuests,
  type TestFarm,
  useFarms,
} from "../support/e2e-farm.ts";

const farms = useFarms();
const key = makeSigningKey();
const EVERY_SECONDS = 2;

/** A kernel's packages as an index lists them; what they depend on tells the compiler. */
async function listed(element: SharedElement, farm: TestFarm): Promise<ListedPackage[]> {
  const { headers, image } = element.packages as unknown as Record<string, readonly ListedPackage[]>;
  return Promise.all(
    [...(headers ?? []), ...(image ?? [])].map(async (one) => ({
      ...one,
      depends: await dependsOf(join(farm.cache, "inputs", `${one.sha256}.deb`)),
    })),
  );
}

async function dependsOf(file: string): Promise<string> {
  if (!existsSync(file)) return "";
  return (await promisify(execFile)("dpkg-deb", ["--field", file, "Depends"])).stdout.trim();
}

async function until(isThere: () => Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await isThere())) {
    if (performance.now() > end) throw new Error(`${what} did not come`);
    await sleep(100);
  }
}

it("builds a kernel as soon as it is listed, asks no more than it should, and ends when it is told", async () => {
  const mirror = await farms.mirror();
  const farm = await farms.farm({ mirror });
  const repository = await startRepository(key);
  const [arm, intel] = [await sharedElement("aarch64"), await sharedElement("x86_64")];
  const [first, second] = [await listed(arm, farm), await listed(intel, farm)];
  // Build tools of this machine's architecture come with the other kernel, and are wanted for both.
  const tools = second.filter(({ name }) => name.startsWith("linux-kbuild-"));
  const guests = await sharedGuests();
  repository.publish("bookworm", { packages: [...first, ...tools, ...guests] });
  const config = JSON.parse(await readFile(farm.config, "utf8"));
  config.sources = [
    {
      kind: "apt",
      releases: ["debian12"],
      suites: ["bookworm"],
      mirror: repository.url,
      keyring: key.keyring,
      acceptExpired: true,
      every: EVERY_SECONDS / 60,
    },
  ];
  await writeFile(farm.config, JSON.stringify(config));
  const stable = async () => (existsSync(join(farm.store, "channels")) ? await readStable(farm.store) : []);

  const watching = farm.start("watch", "--log-format", "json");
  try {
    await until(async () => (await stable()).length === 1, "the first kernel");
    const before = repository.requests().length;
    await sleep(3.5 * EVERY_SECONDS * 1000);
    const quiet = repository.requests().slice(before);

    expect(quiet.length).toBeGreaterThanOrEqual(2);
    expect(new Set(quiet)).toEqual(new Set(["dists/bookworm/InRelease"]));

    const listedAt = performance.now();
    repository.publish("bookworm", {
      packages: [...first, ...second],
      date: "Sun, 08 Feb 2026 10:00:00 UTC",
    });
    await until(async () => (await stable()).length === 2, "the new kernel");
    const seconds = (performance.now() - listedAt) / 1000;
    console.log(`from the index to stable: ${seconds.toFixed(1)} s, asked every ${EVERY_SECONDS} s`);

    expect((await stable()).map(({ architecture }) => architecture).sort()).toEqual(["aarch64", "x86_64"]);
  } catch (thrown) {
    watching.kill("SIGTERM");
    throw new Error(`watching said: ${(await watching.ended).stderr}`, { cause: thrown });
  }
  watching.kill("SIGTERM");
  const { exitCode, stderr } = await watching.ended;

  expect(exitCode, stderr).toBe(0);
  const published = stderr
    .split("\n")
    .filter((line) => line.includes('"stage":"published"'))
    .map((line) => JSON.parse(line).key as string);
  expect(published).toHaveLength(2);
  expect(new Set(published).size).toBe(2);
});
