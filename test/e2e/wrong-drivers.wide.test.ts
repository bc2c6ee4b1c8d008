/**
 * Drivers that are wrong, each in a way that people's drivers are: each fails by itself, for the reason that it has.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { CLOUD, type CliResult, DOORBELL, useFarms } from "../support/e2e-farm.ts";

const farms = useFarms();

interface Row {
  readonly driver: string;
  readonly outcome: string;
  readonly isNew: boolean;
  readonly attempt: {
    readonly failure?: { readonly code: string; readonly blame: string; readonly cause: string };
  };
}

const SOURCE = '#include <linux/module.h>\nMODULE_LICENSE("GPL");\nMODULE_DESCRIPTION("a test");\n';
const kbuild = (name: string, more = "") => ({
  Kbuild: `obj-m := ${name}.o\n${more}`,
  [`${name}.c`]: SOURCE,
});
const dkms = (name: string, more: string) => ({
  ...kbuild(name),
  "dkms.conf": `PACKAGE_NAME="${name}"\nPACKAGE_VERSION="1.0.0"\nBUILT_MODULE_NAME[0]="${name}"\nDEST_MODULE_LOCATION[0]="/extra"\n${more}\n`,
});

interface Wrong {
  readonly name: string;
  readonly tree: Readonly<Record<string, string>>;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly code: string;
  readonly cause: RegExp;
}

const WRONG: readonly Wrong[] = [
  {
    name: "unprepared",
    tree: kbuild("unprepared"),
    settings: { prepare: ["true", "test -e configured", "true"] },
    code: "BUILD_FAILED",
    cause: /a line of `prepare` failed with exit code 1/,
  },
  {
    name: "unmade",
    tree: kbuild("unmade"),
    settings: { make: "exit 7" },
    code: "BUILD_FAILED",
    cause: /a line of `make` failed with exit code 7/,
  },
  {
    name: "twins",
    tree: kbuild("twins"),
    settings: {
      make: ['make -C "$KERNEL_SOURCE" M="$PWD" modules', "mkdir copy; echo other >copy/twins.ko"],
    },
    code: "BUILD_FAILED",
    cause: /two different modules twins\.ko: .*copy\/twins\.ko/,
  },
  {
    name: "outward",
    tree: kbuild("outward"),
    settings: { prepare: "ln -s /etc/debian_version version", files: ["version"] },
    code: "BUILD_FAILED",
    cause: /`files` names version, a link that points outside/,
  },
  {
    name: "fileless",
    tree: { ...kbuild("fileless"), "firmware/readme": "" },
    settings: { files: ["firm*"] },
    code: "MODULE_MISSING",
    cause: /produced no file firm\*/,
  },
  {
    name: "unpackaged",
    tree: kbuild("unpackaged"),
    settings: { packages: ["no-such-package-anywhere"] },
    code: "CONFIG_INVALID",
    cause: /needs the package no-such-package-anywhere, but its mirror has none/,
  },
  {
    name: "spaced",
    tree: { ...kbuild("spaced"), "firm ware/a file.bin": "a" },
    settings: { files: ["firm?ware/*"] },
    code: "UNSAFE_NAME",
    cause: /firm ware/,
  },
  {
    name: "treeless",
    tree: {},
    code: "DRIVER_INVALID",
    cause: /neither a Kbuild, a Makefile nor a dkms\.conf/,
  },
  {
    name: "patched",
    tree: dkms("patched", 'PATCH[0]="../../../../../etc/debian_version"'),
    code: "BUILD_FAILED",
    cause: /the driver's patch \S+ does not apply/,
  },
  {
    name: "misplaced",
    tree: dkms("misplaced", 'BUILT_MODULE_LOCATION[0]="../../../../../../usr/lib"'),
    code: "MODULE_MISSING",
    cause: /produced .*misplaced\.ko/,
  },
  {
    name: "endless",
    tree: dkms("endless", "while :; do :; done"),
    code: "TIMED_OUT",
    cause: /longer than allowed: limits\.minutes is 0\.5/,
  },
  {
    name: "unmatched",
    tree: dkms(
      "unmatched",
      'MAKE[0]="false"\nMAKE_MATCH[0]="^2\\."\nMAKE[1]="make no-such-target"\nMAKE_MATCH[1]="."',
    ),
    code: "BUILD_FAILED",
    cause: /no-such-target/,
  },
  {
    name: "obsolete",
    tree: dkms("obsolete", 'OBSOLETE_BY="2.6.1"'),
    code: "KERNEL_EXCLUDED",
    cause: /the driver excludes this kernel: OBSOLETE_BY="2\.6\.1"/,
  },
];

/** Unusual, and right. */
const RIGHT = [
  {
    name: "chosen",
    tree: { ...kbuild("chosen"), "firmware/a.bin": "a", "firmware/deeper/b.bin": "b" },
    settings: { files: ["firmware/*", "firmware/*/*.bin"] },
  },
  {
    name: "copied",
    tree: kbuild("copied"),
    settings: { make: ['make -C "$KERNEL_SOURCE" M="$PWD" modules', "mkdir out; cp copied.ko out"] },
  },
  // DKMS goes on with what stands above the fault.
  { name: "unreadable", tree: dkms("unreadable", "if [") },
  { name: "disobedient", tree: dkms("disobedient", 'PRE_BUILD="../../../../../bin/false"') },
];

describe("a farm of drivers that are wrong", () => {
  const night: { rows?: readonly Row[]; first?: CliResult; second?: CliResult } = {};

  beforeAll(async () => {
    const farm = await farms.farm({
      mirror: await farms.mirror(),
      limits: { minutes: 0.5 },
      select: { ...CLOUD, architectures: ["x86_64"] },
      drivers: [
        ...[...WRONG, ...RIGHT].map(({ name, settings }) => ({
          name,
          source: name,
          versions: ["1.0.0"],
          ...settings,
        })),
        { name: "nowhere", source: "nowhere", versions: ["1.0.0"] },
        DOORBELL,
      ],
    });
    for (const { name, tree } of [...WRONG, ...RIGHT]) {
      await mkdir(join(farm.directory, name), { recursive: true });
      for (const [path, text] of Object.entries(tree)) {
        await mkdir(dirname(join(farm.directory, name, path)), { recursive: true });
        await writeFile(join(farm.directory, name, path), text);
      }
    }
    night.first = await farm.cli("run", "--json");
    night.rows = JSON.parse(night.first.stdout).elements;
    night.second = await farm.cli("run", "--json");
  }, 600_000);

  const rowOf = (name: string) => night.rows?.find(({ driver }) => driver === name);

  it.each(WRONG)("names what is wrong with $name", ({ name, code, cause }) => {
    const { outcome, attempt } = rowOf(name) as Row;

    expect(attempt.failure).toMatchObject({ code, cause: expect.stringMatching(cause) });
    expect(outcome).toBe(code === "KERNEL_EXCLUDED" ? "excluded" : "failed");
  });

  it("names a driver whose tree is not there", () => {
    expect(rowOf("nowhere")?.attempt.failure).toMatchObject({ code: "DRIVER_INVALID", blame: "input" });
    expect(night.first?.stderr).toMatch(/driver nowhere 1\.0\.0: there is no driver source directory/);
  });

  it.each([...RIGHT.map(({ name }) => name), "doorbell"])("publishes %s", (name) => {
    expect(rowOf(name)).toMatchObject({ outcome: "stable" });
  });

  it("tries again only what may go otherwise", () => {
    const again = JSON.parse(night.second?.stdout ?? "").elements as Row[];

    expect(again.flatMap(({ driver, isNew }) => (isNew ? [driver] : [])).toSorted()).toEqual([
      "endless",
      "nowhere",
      "treeless",
      "unpackaged",
    ]);
  });
});
