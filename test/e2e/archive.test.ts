/** Kernels whose packages left their mirror, on a machine that shares nothing but the store. */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import {
  CLOUD,
  DOORBELL,
  SAME_FOR_EVERYBODY,
  sharedElement,
  type TestFarm,
  useFarms,
} from "../support/e2e-farm.ts";
import type { TestMirror } from "../support/e2e-mirror.ts";

const farms = useFarms();
const SELECT = { ...CLOUD, architectures: ["x86_64"] };
const HEADERS = /\/linux-(headers|kbuild)-[^/]*\.deb$/;

interface Input {
  readonly name: string;
  readonly from: string;
  readonly tried: readonly { readonly place: string; readonly fault: string }[];
}

describe("a kernel whose header packages left the mirror", () => {
  let mirror: TestMirror;
  let elsewhere: TestFarm;
  let store = "";

  beforeAll(async () => {
    mirror = await farms.mirror();
    const first = await farms.farm({ mirror, select: SELECT, warm: [...SAME_FOR_EVERYBODY, "loads"] });
    expect((await first.cli("run")).exitCode).toBe(0);
    store = first.store;
    elsewhere = await farms.farm({
      mirror,
      select: SELECT,
      drivers: [{ ...DOORBELL, versions: ["0.2.0"] }],
      warm: ["roots", "indices", "boot"],
    });
    mirror.misbehave({ match: HEADERS, kind: "missing" });
  });

  it("still builds from the archive, for another version of the driver; that is said and on the record", async () => {
    const { exitCode, stdout, stderr } = await elsewhere.cli("run", "--store", store, "--json");

    expect(exitCode, stderr).toBe(0);
    expect(stderr).toMatch(/linux-headers-\S+ \S+ came from the archive: http\S+ does not have it/);
    const { packages } = await sharedElement("x86_64");
    const elements = JSON.parse(stdout).elements.filter(
      ({ driverversion }: { driverversion: string }) => driverversion === "0.2.0",
    );
    expect(elements).toMatchObject([{ outcome: "stable", isNew: true }]);
    const inputs: Input[] = elements[0].attempt.inputs;
    expect(inputs.map(({ name }) => name).toSorted()).toEqual(
      packages.headers.map(({ name }) => name).toSorted(),
    );
    for (const { from, tried } of inputs) {
      expect(from).toBe("archive");
      expect(tried.map(({ fault }) => fault)).toContain("does not have it");
    }
    const manifest = await readFile(join(elements[0].path, "manifest.json"), "utf8");
    expect(manifest).not.toMatch(/"from"|"tried"|archive/);
  });

  it("is not to be had where the archive lost it too; that is no failure of the driver", {
    tags: ["wide"],
  }, async () => {
    const { packages } = await sharedElement("x86_64");
    const { sha256 } = packages.headers[0];
    await elsewhere.forget("inputs", "trees", "attempts");
    await elsewhere.configure({ drivers: [{ ...DOORBELL, versions: ["0.3.0"] }] });
    await rm(join(store, "blobs/sha256", sha256.slice(0, 2), sha256));

    const { exitCode, stdout, stderr } = await elsewhere.cli("run", "--store", store, "--json");

    expect(exitCode, stdout.slice(0, 3000) + stderr).toBe(0);
    const elements: { kversion: string; driverversion: string; outcome: string }[] =
      JSON.parse(stdout).elements;
    expect(
      elements.filter(({ driverversion, outcome }) => driverversion === "0.3.0" && outcome === "failed"),
    ).toEqual([]);
  });
});
