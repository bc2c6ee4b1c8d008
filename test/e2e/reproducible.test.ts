/**
 * The same driver, built twice in circumstances as different as one machine can make them, is the same bytes.
 */
import { chmod, mkdir, readdir, utimes } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { cli, copyDriver, DOORBELL, readIndices, readStable, useFarms } from "../support/e2e-farm.ts";

const farms = useFarms();

interface Circumstances {
  /** Where the driver is checked out, below the farm. */
  readonly checkout: string;
  readonly mode: number;
  readonly umask: string;
  readonly env: Readonly<Record<string, string>>;
  readonly jobs: number;
}

const HERE: Circumstances = {
  checkout: "driver",
  mode: 0o644,
  umask: "022",
  env: { TZ: "UTC", LC_ALL: "C", HOME: "/root", USER: "root" },
  jobs: 2,
};

const ELSEWHERE: Circumstances = {
  checkout: "another place/with a longer, ünusual name/checkout",
  mode: 0o600,
  umask: "077",
  env: {
    TZ: "Asia/Kathmandu",
    LC_ALL: "C.UTF-8",
    LANG: "tr_TR.UTF-8",
    HOME: "/nonexistent",
    USER: "somebody",
    KBUILD_BUILD_USER: "somebody",
    KBUILD_BUILD_HOST: "somewhere",
    KCFLAGS: "-O1 -g3",
    MAKEFLAGS: "-j7",
    SOURCE_DATE_EPOCH: "1234567890",
  },
  jobs: 1,
};

let here: Awaited<ReturnType<typeof buildIn>>;

beforeAll(async () => {
  here = await buildIn(HERE);
});

it("gives the same modules and the same recipe from two checkouts", async () => {
  const elsewhere = await buildIn(ELSEWHERE);

  expect(here).toHaveLength(2);
  expect(elsewhere).toEqual(here);
});

it("gives other bytes when the source is another one", { tags: ["wide"] }, async () => {
  const mirror = await farms.mirror();
  const farm = await farms.farm({ mirror, drivers: [{ ...DOORBELL, versions: ["0.1.7"] }] });

  expect((await farm.cli("catalog", "update")).exitCode).toBe(0);
  expect((await farm.cli("build")).exitCode).toBe(0);

  const other = await candidates(farm.store);
  expect(other).toHaveLength(2);
  for (const one of other) expect(here.map(({ modules }) => modules)).not.toContainEqual(one.modules);
});

async function buildIn({ checkout, mode, umask, env, jobs }: Circumstances) {
  const mirror = await farms.mirror();
  const farm = await farms.farm({ mirror, drivers: [{ ...DOORBELL, source: checkout }], jobs });
  const source = join(farm.directory, checkout);
  await mkdir(join(source, ".."), { recursive: true });
  await copyDriver(source);
  const files = await readdir(source);
  expect(files.length).toBeGreaterThan(3);
  for (const [index, file] of files.entries()) {
    await chmod(join(source, file), mode);
    await utimes(join(source, file), 1e9 + index * jobs, 1e9 + index * jobs);
  }
  for (const command of ["update", "build"]) {
    const argv = [...(command === "update" ? ["catalog"] : []), command, "--config", farm.config];
    const { exitCode, stdout, stderr } = await cli(argv, { cwd: farm.directory, umask, env });
    expect(exitCode, `${stdout}${stderr}`).toBe(0);
  }
  expect(await readStable(farm.store)).toEqual([]);
  return candidates(farm.store);
}

async function candidates(store: string) {
  const indices = await readIndices(store);
  return indices
    .flatMap((index) => index.candidate)
    .map(({ kversion, recipe, modules, manifest }) => ({ kversion, recipe, modules, manifest }));
}
