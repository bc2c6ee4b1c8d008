/**
 * Real drivers out of Debian's archive: what the load test says of each is what a plain guest's `modprobe` makes of it.
 *
 *     KMODFARM_PACKAGES=apfs-dkms,ddcci-dkms npm run test:wide verdicts
 */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadConfig } from "../../src/farm/config.ts";
import { type Farm, openFarm, openInputs } from "../../src/farm/open.ts";
import { readModules } from "../../src/registry/artifact.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { listAll } from "../../src/registry/standing.ts";
import { type TestFarm, useFarms } from "../support/e2e-farm.ts";
import { askNode, type PlainKernel, plainKernel } from "../support/plain-guest.ts";

const run = promisify(execFile);
const farms = useFarms();

const PACKAGES = [
  ...["acpi-call-dkms", "apfs-dkms", "bbswitch-dkms", "broadcom-sta-dkms", "ddcci-dkms", "digimend-dkms"],
  ...["dm-writeboost-dkms", "dpdk-kmods-dkms", "evdi-dkms", "falcosecurity-scap-dkms", "gost-crypto-dkms"],
  ...[
    "langford-dkms",
    "leds-alix-dkms",
    "lenovolegionlinux-dkms",
    "librem-ec-acpi-dkms",
    "lttng-modules-dkms",
  ],
  ...["mimic-dkms", "mstflint-dkms", "nat-rtsp-dkms", "r8125-dkms", "r8168-dkms", "reform2-lpc-dkms"],
  ...[
    "rtpengine-kernel-dkms",
    "sl-modem-dkms",
    "smifb2-dkms",
    "tp-smapi-dkms",
    "v4l2loopback-dkms",
    "vhba-dkms",
  ],
  ...["vpoll-dkms", "xtables-addons-dkms", "xtrx-dkms", "yt6801-dkms"],
];
const wanted = process.env.KMODFARM_PACKAGES?.split(",") ?? PACKAGES;
const KERNELS = process.env.KMODFARM_KERNELS ?? String.raw`(6\.12\.\d+\+deb13|7\.\d+\.\d+\+deb\d+)-amd64`;

interface Row {
  readonly driver: string;
  readonly kversion: string;
  readonly outcome: string;
  readonly attempt: {
    readonly load?: { readonly verdict: { readonly verdict: string; readonly reasons: readonly string[] } };
    readonly failure?: { readonly cause: string };
  };
}

let made: TestFarm;
let farm: Farm;
let rows: readonly Row[];

/** Version of each package in the release. */
async function versionsOf(mirror: string, suite: string): Promise<ReadonlyMap<string, string>> {
  const index = join(made.directory, "Packages.xz");
  const answer = await fetch(`${mirror}/dists/${suite}/main/binary-amd64/Packages.xz`);
  await writeFile(index, Buffer.from(await answer.arrayBuffer()));
  const { stdout } = await run("xz", ["-dc", index], { maxBuffer: 1 << 28 });
  return new Map(
    [...stdout.matchAll(/^Package: (\S+)\n(?:.+\n)*?Version: (\S+)$/gm)].map(
      ([, name = "", version = ""]) => [name, version],
    ),
  );
}

beforeAll(async () => {
  const mirror = await farms.mirror();
  made = await farms.farm({ mirror, releases: ["debian13", "debiansid"] });
  const versions = await versionsOf(mirror.main, "trixie");
  const drivers = wanted.flatMap((name) => {
    const version = versions.get(name);
    // Names of paths have no colon: an epoch is left out.
    return version === undefined || version.includes(":")
      ? []
      : [
          {
            name: name.replace(/-dkms$/, ""),
            source: { package: name, release: "debian13" },
            versions: [version],
          },
        ];
  });
  await made.configure({ drivers, select: { architectures: ["x86_64"], kernelRelease: KERNELS, newest: 1 } });
  const { stdout, stderr } = await made.cli("run", "--json");
  rows = JSON.parse(stdout || stderr).elements;
  farm = await openFarm(await loadConfig({ config: made.config }));
});
afterAll(() => farm?.close());

it("says of each driver what a node's modprobe makes of it", async () => {
  const { catalog, indices } = await readPublished(farm.store);
  const inputs = openInputs(farm, catalog, { archived: "none" });
  const kernels = new Map<string, Promise<PlainKernel>>();
  const kernelOf = (kversion: string) => {
    const image = catalog.kernels.find((one) => one.kversion === kversion)?.packages.image[0];
    if (image === undefined) throw new Error(`no image of ${kversion}`);
    return inputs
      .fetch(image)
      .then((deb) => plainKernel(deb, kversion, join(made.directory, "kernels", kversion)));
  };
  const table: Record<string, string>[] = [];
  for (const { entry } of listAll(indices)) {
    const { kversion, driver } = entry;
    kernels.set(kversion, kernels.get(kversion) ?? kernelOf(kversion));
    const kernel = (await kernels.get(kversion)) as PlainKernel;
    const modules = (await readModules(farm.store, entry)).map(({ name, bytes }) => ({
      name: name.replace(/\.ko$/, ""),
      bytes,
    }));
    const node = await askNode(kernel, modules, join(made.directory, "node"));
    const said = rows.find((row) => row.driver === driver && row.kversion === kversion)?.attempt.load
      ?.verdict;
    table.push({
      ...{ driver, kernel: kversion, says: said?.verdict ?? "none", node: node.loads ? "pass" : "fail" },
      why: (said?.reasons[0] ?? "").slice(0, 80),
      steps: node.loads
        ? ""
        : node.steps
            .filter((step) => !step.endsWith(" 0"))
            .slice(0, 3)
            .join("; "),
    });
  }
  const unbuilt = rows.filter(({ attempt }) => attempt.load === undefined);
  console.table(table);
  console.table(
    unbuilt.map(({ driver, kversion, outcome, attempt }) => ({
      driver,
      kversion,
      outcome,
      cause: attempt.failure?.cause,
    })),
  );

  expect(table.filter(({ says, node }) => says !== node)).toEqual([]);
  expect(table.length).toBeGreaterThan(0);
});
