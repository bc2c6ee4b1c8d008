/**
 * `kmodfarm audit` of every module of four real kernels, some of them spoilt: it finds these and no others.
 */
import { execFileSync } from "node:child_process";
import { globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CatalogKernel } from "../../src/catalog/catalog.ts";
import { readElf, sectionNamed } from "../../src/formats/elf.ts";
import { splitSignature } from "../../src/formats/module-signature.ts";
import { cli, type TestFarm, useFarms } from "../support/e2e-farm.ts";

const farms = useFarms();
let farm: TestFarm;
let place: string;
let kernel: string;
let other: Buffer;

/** A kernel with modules in xz, of another release of the distribution. */
let packed: string;

beforeAll(async () => {
  const mirror = await farms.mirror();
  farm = await farms.farm({ mirror, releases: ["debian12", "debian13"], warm: [] });
  await farm.cli("catalog", "update");
  const { stdout } = await farm.cli("catalog", "export", "--format", "kmodfarm");
  const kernels = (JSON.parse(stdout) as { kernels: CatalogKernel[] }).kernels.filter(
    ({ packages }) =>
      packages.modules.length > 0 && packages.modules.every(({ source }) => !source.includes("security")),
  );
  const newest = (architecture: string, flavour: string, release: string) => {
    const found = kernels.findLast(
      (one) =>
        one.architecture === architecture && one.flavour === flavour && one.kversion.startsWith(release),
    );
    if (found === undefined) throw new Error(`there is no ${flavour} kernel ${release} for ${architecture}`);
    return found;
  };
  place = join(farm.directory, "heap");
  const [plain, cloud] = [newest("x86_64", "generic", "6.1."), newest("x86_64", "cloud", "6.1.")];
  const [arm, xz] = [newest("aarch64", "generic", "6.1."), newest("x86_64", "generic", "6.12.")];
  for (const one of [plain, cloud, arm, xz])
    await unpack(`${mirror.main}/${one.packages.image[0]?.path}`, place);
  kernel = plain.kversion;
  packed = xz.kversion;
  other = readFileSync(join(place, "lib/modules", arm.kversion, "kernel/lib/crc7.ko"));
}, 900_000);
afterAll(() => rm(place, { recursive: true, force: true }));

async function unpack(url: string, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const bytes = Buffer.from(await (await fetch(url)).arrayBuffer());
  const file = `${directory}.deb`;
  writeFileSync(file, bytes);
  execFileSync("dpkg-deb", ["-x", file, directory]);
  await rm(file);
}

const LARGE = { maxBuffer: 64 << 20 };

interface Finding {
  readonly path: string;
  readonly kind: string;
  readonly fact: string;
}

/** Something that was planted, and what is to be said of it. */
interface Planted {
  readonly path: string;
  readonly kind: string;
  readonly fact: RegExp;
}

/** What is said of each kind, where nothing more exact is wanted. */
const FACTS: Readonly<Record<string, RegExp>> = {
  damaged: /\w/,
  wrongKernel: /^it was built for \S+, not for /,
  cannotLoad: /^it expects CRC 0x[0-9a-f]{8} for \w+, but the other modules/,
  misnamed: /^it is (?:not compressed|compressed as \w+), contrary to its name$/,
  duplicate: /^it is identical to | is also the module /,
  unsigned: /^it is not signed, but the other modules of \S+ are/,
  noKernel: /^there is no kernel \S+$/,
};

async function audited(directory: string) {
  const started = performance.now();
  const { stdout, stderr, exitCode } = await cli(["audit", directory, "--json"]);
  if (stdout === "") throw new Error(stderr);
  const { modules, findings } = JSON.parse(stdout) as { modules: number; findings: Finding[] };
  return { modules, findings, exitCode, seconds: (performance.now() - started) / 1000 };
}

/** A section of a module with some bytes changed; where it is signed, the signature goes. */
function without(bytes: Buffer, sectionName: string, change: (section: Buffer) => void): Buffer {
  const content = Buffer.from(splitSignature(bytes, "module").content);
  const section = sectionNamed(readElf(content, "module"), sectionName, "module");
  if (section === undefined) throw new Error(`there is no section ${sectionName}`);
  change(content.subarray(section.offset, section.offset + section.size));
  return content;
}

const replaced = (from: string, to: string) => (section: Buffer) => {
  const at = section.indexOf(from);
  if (at < 0) throw new Error(`there is no ${from}`);
  section.write(to, at, "latin1");
};

describe("an audit", () => {
  it("has nothing against the modules of four kernels of a distribution", async () => {
    const { modules, findings, exitCode, seconds } = await audited(place);

    console.log(`audit of ${modules} modules: ${seconds.toFixed(1)} s`);
    expect(modules).toBeGreaterThan(5000);
    expect([exitCode, findings]).toEqual([0, []]);
  });

  it("finds forty planted faults, and nothing else", async () => {
    const tree = join(place, "lib/modules", kernel, "kernel");
    const wanted: Planted[] = [];
    const want = (path: string, kind: string, fact = FACTS[kind] ?? /^$/) =>
      wanted.push({ path, kind, fact });
    const spoil = (path: string, kind: string, change: (bytes: Buffer) => Buffer, fact?: RegExp) => {
      const file = join(tree, path);
      writeFileSync(file, change(readFileSync(file)));
      want(`lib/modules/${kernel}/kernel/${path}`, kind, fact);
    };
    const add = (path: string, kind: string, bytes: Buffer, fact?: RegExp) => {
      const file = join(place, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, bytes);
      want(path, kind, fact);
    };
    const crc7 = readFileSync(join(tree, "lib/crc7.ko"));
    const [from] = kernel.split("-amd64");

    spoil("fs/btrfs/btrfs.ko", "damaged", (bytes) => bytes.subarray(0, 100_000));
    spoil("fs/xfs/xfs.ko", "damaged", (bytes) => bytes.subarray(0, -1));
    spoil("fs/fat/fat.ko", "damaged", (bytes) => Buffer.concat([bytes, Buffer.from("\n")]));
    spoil("fs/fat/vfat.ko", "damaged", (bytes) => Buffer.concat([bytes, bytes.subarray(-700)]));
    spoil("fs/isofs/isofs.ko", "damaged", (bytes) => {
      bytes[2000] = (bytes[2000] ?? 0) ^ 1;
      return bytes;
    });
    spoil("fs/udf/udf.ko", "damaged", () => Buffer.alloc(0));
    spoil("fs/nfs/nfs.ko", "damaged", () => Buffer.alloc(5000, "x"));
    spoil("drivers/block/loop.ko", "damaged", (bytes) =>
      without(bytes, ".modinfo", replaced("vermagic=", "vermagik=")),
    );
    spoil("drivers/block/nbd.ko", "damaged", (bytes) =>
      without(bytes, ".modinfo", replaced("retpoline=Y", "vermagic=6.")),
    );
    spoil(
      "drivers/net/dummy.ko",
      "wrongKernel",
      (bytes) => without(bytes, ".modinfo", replaced("SMP preempt mod_unload", "SMP mod_unload preempt")),
      /^its vermagic is "\S+ SMP mod_unload preempt /,
    );
    spoil("drivers/net/tun.ko", "wrongKernel", (bytes) =>
      without(bytes, ".modinfo", replaced(`vermagic=${from}`, `vermagic=${from?.replace(/.$/, "9")}`)),
    );
    spoil(
      "drivers/net/veth.ko",
      "wrongKernel",
      (bytes) => without(bytes, ".note.Linux", replaced(from ?? "", from?.replace(/.$/, "9") ?? "")),
      /^its build salt is /,
    );
    spoil("net/bridge/bridge.ko", "cannotLoad", (bytes) =>
      without(bytes, "__versions", (section) => section.writeUInt8((section[0] ?? 0) ^ 1, 0)),
    );
    spoil(
      "net/llc/llc.ko",
      "cannotLoad",
      (bytes) =>
        without(bytes, "__versions", (section) => {
          const at = section.indexOf("__fentry__") - 8;
          section.writeUInt8((section[at] ?? 0) ^ 0x80, at);
        }),
      /^it expects CRC 0x[0-9a-f]{8} for __fentry__,/,
    );
    const crc8 = readFileSync(join(tree, "lib/crc8.ko"));
    spoil("lib/crc16.ko", "misnamed", () => crc8, /^it contains the module crc8$/);
    want(`lib/modules/${kernel}/kernel/lib/crc16.ko`, "duplicate");
    spoil(
      "drivers/net/wan/hdlc.ko",
      "wrongKernel",
      () => without(other, ".modinfo", replaced("name=crc7", "name=hdlc")),
      // Whichever is seen first.
      /^it is for aarch64, but the other modules of \S+ are for x86_64$|^it was built for \S+-arm64, not for /,
    );
    add(
      `lib/modules/${kernel}/updates/dkms/crc7.ko`,
      "duplicate",
      without(crc7, ".modinfo", replaced("retpoline=", "Retpoline=")),
    );
    add(
      "lib/modules/6.1.0-1-amd64/kernel/lib/crc7.ko",
      "wrongKernel",
      without(crc7, ".modinfo", replaced("intree=", "Intree=")),
    );
    want(`lib/modules/${kernel}/updates/dkms/crc7.ko`, "unsigned");
    add(`lib/modules/${kernel}/updates/own.ko.gz`, "damaged", gzipSync(crc7).subarray(0, 900));
    add(`lib/modules/${kernel}/updates/twice.ko.gz`, "damaged", gzipSync(gzipSync(crc7)));

    const repack = (name: string, kind: string, change: (plain: Buffer) => Buffer) => {
      // Debian 13 has them in /usr.
      const [path = ""] = globSync(`{,usr/}lib/modules/${packed}/kernel/**/${name}.ko.xz`, { cwd: place });
      writeFileSync(join(place, path), change(execFileSync("xz", ["-dc", join(place, path)], LARGE)));
      want(path, kind);
    };
    const inXz = (bytes: Buffer) =>
      execFileSync("xz", ["-c", "--check=crc32", "--lzma2=dict=1MiB"], { ...LARGE, input: bytes });
    const unsigned = (bytes: Buffer) => Buffer.from(splitSignature(bytes, "module").content);
    // Signatures stripped, by hand or by strip(1).
    spoil("fs/ext4/ext4.ko", "unsigned", unsigned);
    spoil("fs/squashfs/squashfs.ko", "unsigned", unsigned);
    repack("fat", "unsigned", (bytes) => inXz(unsigned(bytes)));
    // Other bytes than the name says.
    spoil("fs/fuse/fuse.ko", "misnamed", (bytes) => gzipSync(bytes));
    spoil("fs/hfs/hfs.ko", "misnamed", (bytes) => zstdCompressSync(bytes));
    spoil("fs/minix/minix.ko", "misnamed", inXz);
    repack("udf", "misnamed", (bytes) => bytes);
    repack("isofs", "misnamed", (bytes) => gzipSync(bytes));
    // A disk that was full: all of them have the same bytes.
    for (const name of ["cfg80211", "mac80211"])
      spoil(`net/${name.replace("cfg80211", "wireless")}/${name}.ko`, "damaged", () => Buffer.alloc(0));
    spoil("net/sctp/sctp.ko", "damaged", () => Buffer.alloc(5000, "x"));
    repack("jfs", "damaged", () => Buffer.alloc(0));
    repack("nfs", "damaged", (bytes) => inXz(bytes).subarray(0, 4000));
    // Buckets: what is right, what only fits, and what is another kernel's.
    const [falco, abi] = ["drivers/4.0.0+driver/x86_64", kernel.replace("-amd64", "")];
    const put = (path: string) => {
      add(path, "", crc7);
      wanted.pop();
    };
    put(`${falco}/falco_debian_${kernel}_1.ko`);
    put(`${falco}/falco_debian_6.1.192-2-amd64_1.ko`);
    put(`drivers/2.6.0/collector-${kernel}.ko`);
    add(`${falco}/falco_debian_5.10.223-1-amd64_1.ko`, "wrongKernel", crc7);
    add(`${falco}/falco_debian_6.1.192-2-cloud-amd64_1.ko`, "wrongKernel", crc7);
    add(`${falco}/falco_ubuntu-aws_5.15.0-103-aws_113~20.04.1.ko`, "wrongKernel", crc7);
    add(`${falco}/falco_amazonlinux2_4.14.193-149.317.amzn2.x86_64_1.ko`, "wrongKernel", crc7);
    add("drivers/2.6.0/collector-6.1.0-1-amd64.ko", "wrongKernel", crc7);
    add(`drivers/sysdig-probe-0.26.7-x86_64-${abi}-cloud-amd64-${"0f".repeat(16)}.ko`, "wrongKernel", crc7);
    add(`var/lib/dkms/crc7/1.0/6.1.0-1-amd64/x86_64/module/crc7.ko`, "wrongKernel", crc7);
    // Told once for what a place calls a kernel; the cloud kernel is there.
    want("drivers/2.6.0/collector-6.1.0-1-amd64.ko", "noKernel");
    want("var/lib/dkms/crc7/1.0/6.1.0-1-amd64/x86_64/module/crc7.ko", "noKernel");

    const { findings } = await audited(place);

    const told = (some: readonly Pick<Finding, "kind" | "path">[]) =>
      some.map(({ kind, path }) => `${path}: ${kind}`).toSorted();
    expect(told(findings)).toEqual(told(wanted));
    for (const { path, kind, fact } of wanted) {
      const found = findings.find((one) => one.path === path && one.kind === kind);
      expect([path, kind, found?.fact]).toEqual([path, kind, expect.stringMatching(fact)]);
    }
    expect(new Set(wanted.map(({ path }) => path)).size).toBe(40);
  });
});
