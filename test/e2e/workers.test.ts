/**
 * Plan, work, take: what workers make without a network, a configuration or a store is, published, what one machine makes
 * by itself.
 */
import { execFile } from "node:child_process";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, expect, it } from "vitest";
import {
  ALL_DONE,
  leftovers,
  readStable,
  stableContent,
  type TestFarm,
  treeDigests,
  useFarms,
} from "../support/e2e-farm.ts";
import { CHECKOUT } from "../support/e2e-mirror.ts";

const farms = useFarms();
let coordinator: TestFarm;
let alone: TestFarm;
/** A machine that has nothing of the farm. */
let worker: string;

beforeAll(async () => {
  const mirror = await farms.mirror();
  coordinator = await farms.farm({ mirror });
  // What it builds was built by itself, for other tests.
  alone = await farms.farm({ mirror, warm: ALL_DONE });
  worker = join(coordinator.directory, "worker");
  await mkdir(worker);
});

/** In a network namespace of its own, with nothing in its environment but where programs are. */
async function work(orders: string, out: string, ...more: string[]) {
  const program = [
    "unshare",
    "--net",
    join(CHECKOUT, "bin", "kmodfarm"),
    "work",
    orders,
    "--out",
    out,
    ...more,
  ];
  const environment = ["-i", `PATH=${process.env.PATH}`, "HOME=/nonexistent"];
  const ran = await promisify(execFile)("env", [...environment, ...program], { cwd: worker });
  return ran.stdout;
}

async function ordersTo(name: string): Promise<string> {
  const planned = await coordinator.cli("plan", "--out", name, "--with-packages");
  expect(planned.stderr).not.toMatch(/failed/);
  await cp(join(coordinator.directory, name), join(worker, name), { recursive: true });
  return planned.stdout;
}

it("builds and boots elsewhere what is published here, equal to a run bit for bit", async () => {
  expect(await ordersTo("builds")).toMatch(/^2 builds and 0 load tests ordered in builds/);
  const again = await coordinator.cli("plan", "--out", "builds", "--with-packages");
  expect(again.stdout).toMatch(/^No new orders\. 2 orders of before still stand in builds\. /);
  expect(await work("builds", "built", "--share", "1/2")).toMatch(/^1 order carried out; /);
  expect(await work("builds", "built")).toMatch(/^1 order carried out, 1 before; /);
  expect(await work("builds", "built")).toMatch(/^0 orders carried out, 2 before; /);

  const first = await coordinator.cli("take", join("worker", "built"), "--no-load");

  expect(first.stdout).toMatch(/0 stable, 2 candidates/);
  expect(first.stdout).toMatch(/Hand-overs: 2 taken, 0 refused\.\n$/);
  expect(await ordersTo("loads")).toMatch(/^0 builds and 2 load tests ordered in loads/);
  expect(await work("loads", "loaded")).toMatch(/^2 orders carried out; /);

  const second = await coordinator.cli("take", join("worker", "loaded"));

  expect(second.stdout).toMatch(/2 stable, 0 candidates, 0 failed/);
  expect(second.exitCode).toBe(0);
  const { stdout } = await alone.cli("run");
  expect(stdout).toMatch(/2 stable, 0 candidates, 0 failed/);
  expect(await readStable(coordinator.store)).toHaveLength(2);
  expect(await stableContent(coordinator.store)).toEqual(await stableContent(alone.store));
  // All but the signature of who says so: each farm has a key of its own.
  const shown = async ({ store }: TestFarm) =>
    [...(await treeDigests(join(store, "view")))].filter(([path]) => !path.endsWith(".sigstore.json"));
  expect(await shown(coordinator)).toEqual(await shown(alone));
  expect(await leftovers(coordinator)).toEqual([]);
});

const planOf = async (orders: string) => (await readFile(join(worker, orders, "plan.digest"), "utf8")).trim();

it("holds no place of the machine that planned, and none of the one that worked", async () => {
  for (const name of await readdir(join(worker, "builds", "orders"))) {
    const order = await readFile(join(worker, "builds", "orders", name), "utf8");
    expect(order).not.toContain(coordinator.directory);
  }
  for (const name of await readdir(join(worker, "built"))) {
    const handed = await readFile(join(worker, "built", name));
    expect(handed.includes(worker)).toBe(false);
    expect(handed.includes(coordinator.directory)).toBe(false);
  }
});

it("needs nothing when nothing changed", async () => {
  const planned = await coordinator.cli("plan", "--out", "nothing");

  expect(planned.stdout).toMatch(/^No new orders\. 2 of 2 wanted elements need no work\.\n$/);
  expect(await coordinator.cli("take", join("worker", "built"))).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(/Hand-overs: 0 taken, 2 the same as before, 0 refused\.\n$/),
  });
});

it("takes what is honest beside a lie, names the lie, and keeps it", async () => {
  const [name] = (await readdir(join(worker, "built"))) as [string];
  const lie = join(worker, "lie.tar");
  const bytes = await readFile(join(worker, "built", name));
  bytes[bytes.length - 5000] = (bytes[bytes.length - 5000] ?? 0) ^ 0xff;
  await writeFile(lie, bytes);

  const { exitCode, stdout } = await coordinator.cli("take", lie, join("worker", "built"));

  expect(exitCode).toBe(4);
  expect(stdout).toMatch(
    /^lie\.tar is refused: .+\n {2}file: .+\n {2}kept: .+quarantine.+\n {2}.+\[HAND_OVER_REFUSED\]$/m,
  );
  expect(stdout).toMatch(/2 stable[\s\S]+Hand-overs: 0 taken, 2 the same as before, 1 refused/);
});

it("says of orders of another farm, or of none, that they are not its own", async () => {
  const elsewhere = await farms.copyOf(alone);
  await rm(join(elsewhere.cache, "orders"), { recursive: true, force: true });

  const { exitCode, stdout } = await elsewhere.cli("take", join(worker, "built"));

  expect(exitCode).toBe(4);
  expect(stdout.match(/this farm gave no order/g)).toHaveLength(2);
  const asked = ["take", join(worker, "built"), "--orders", join(worker, "builds")];
  const known = await elsewhere.cli(...asked, "--plan", await planOf("builds"));
  expect(known.stdout).toMatch(/Hand-overs: 0 taken, 2 the same as before, 0 refused/);

  // Whoever could write to the directory after it was planned could give orders.
  const other = await elsewhere.cli(...asked, "--plan", `sha256:${"0".repeat(64)}`);
  expect(other).toMatchObject({
    exitCode: 4,
    stderr: expect.stringMatching(/is not the plan sha256:0+.+\[DIGEST_MISMATCH\]/s),
  });
  expect(await elsewhere.cli(...asked)).toMatchObject({ exitCode: 2 });
});

it("refuses a hand-over that was cut off at once, in a farm that has built nothing, and makes no toolchain for it", async () => {
  const fresh = await farms.farm({ mirror: await farms.mirror(), warm: [] });
  await fresh.forget("roots");
  await fresh.cli("catalog", "update");
  const [name] = (await readdir(join(worker, "built"))) as [string];
  const cut = join(fresh.directory, "cut.tar");
  await writeFile(cut, (await readFile(join(worker, "built", name))).subarray(0, -20_000));

  const planned = ["--orders", join(worker, "builds"), "--plan", await planOf("builds")];
  const { exitCode, stdout } = await fresh.cli("take", cut, ...planned);

  expect(exitCode).toBe(4);
  expect(stdout).toMatch(/^cut\.tar is refused: [^\n]+$/m);
  expect(stdout).toMatch(
    /Hand-overs: 0 taken, 1 refused\. 2 elements are still with workers, or to be ordered\.\n$/,
  );
  expect(await readdir(join(fresh.cache, "roots")).catch(() => [])).toEqual([]);
});
