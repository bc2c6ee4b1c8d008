/**
 * Sets of real kernels: the root is the one that sha256sum and dash find, every module is proven, attached and verified,
 * and a kernel of today takes a module with a proof for an unsigned one.
 */
import { execFileSync } from "node:child_process";
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CatalogKernel } from "../../src/catalog/catalog.ts";
import { guestPackages } from "../../src/check/guest/tools.ts";
import { loadModules } from "../../src/check/load.ts";
import { textsOf } from "../../src/check/verdict.ts";
import { loadConfig } from "../../src/farm/config/index.ts";
import { type Farm, openFarm, openInputs } from "../../src/farm/open.ts";
import { splitSignature } from "../../src/formats/module-signature.ts";
import type { Published } from "../../src/registry/documents.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { cli, type TestFarm, useFarms } from "../support/e2e-farm.ts";
import { kernelWithRoot } from "../support/kernel-with-root.ts";

const farms = useFarms();
const SUPPORT = join(import.meta.dirname, "../support");
/** The published root over a real kernel's modules. */
const { real_tree: REAL } = JSON.parse(
  readFileSync(join(import.meta.dirname, "../fixtures/integrity/merkle-vectors.json"), "utf8"),
) as { real_tree: { levels: number; root: string } };
const REAL_RELEASE = "6.12.107+deb13-cloud-amd64";

let made: TestFarm;
let farm: Farm;
let published: Published;
let place: string;
const run = (argv: readonly string[]) => cli(argv, { cwd: place });

beforeAll(async () => {
  made = await farms.farm({ mirror: await farms.mirror(), releases: ["debian12", "debian13"] });
  await made.cli("catalog", "update");
  farm = await openFarm(await loadConfig({ config: made.config }));
  published = await readPublished(farm.store);
  place = join(made.directory, "sets");
  mkdirSync(place);
}, 900_000);
afterAll(async () => {
  await farm?.close();
  await rm(place, { recursive: true, force: true });
});

function newest(series: string): CatalogKernel {
  const found = published.catalog.kernels.findLast(
    ({ architecture, flavour, kversion, packages }) =>
      architecture === "x86_64" &&
      flavour === "cloud" &&
      kversion.startsWith(series) &&
      packages.modules.length > 0,
  );
  if (found === undefined) throw new Error(`no kernel ${series}`);
  return found;
}

/** /lib/modules/RELEASE of a kernel, as installed. */
async function installed({ kversion, packages }: CatalogKernel): Promise<string> {
  const inputs = openInputs(farm, published.catalog, { archived: "none" });
  const directory = join(place, kversion);
  for (const one of packages.modules) execFileSync("dpkg-deb", ["-x", await inputs.fetch(one), directory]);
  const tree = ["lib", "usr/lib"].map((lib) => join(directory, lib, "modules", kversion)).find(existsSync);
  if (tree === undefined) throw new Error(`no modules of ${kversion}`);
  return tree;
}

/** Modules as kernels see them, beside those of the tree; in the tree's order. */
function plainFiles(tree: string): string[] {
  const order = readFileSync(join(tree, "modules.order"), "utf8").trim().split("\n");
  return order.map((name, at) => {
    const [file = ""] = globSync(`${join(tree, name)}*`).filter((one) => /\.ko(\.xz)?$/.test(one));
    const bytes = file.endsWith(".xz")
      ? execFileSync("xz", ["-dc", file], { maxBuffer: 1 << 28 })
      : readFileSync(file);
    mkdirSync(join(place, "plain", String(at)), { recursive: true });
    const plain = join(place, "plain", String(at), basename(name));
    writeFileSync(plain, splitSignature(bytes, name).content);
    return plain;
  });
}

describe.each(["6.1.", "6.12."])("every module of a kernel %s", (series) => {
  let tree: string;
  let plain: string[];
  let root: string;
  beforeAll(async () => {
    tree = await installed(newest(series));
    plain = plainFiles(tree);
    root = (await run(["modules", "root", tree, "--format", "hex"])).stdout.trim();
    writeFileSync(join(place, "set.json"), (await run(["modules", "root", tree])).stdout);
  }, 900_000);
  afterAll(() => rmSync(join(place, "plain"), { recursive: true }));

  it("leads to the root that sha256sum and dash find", () => {
    const input = plain.map((file) => `${file}\n`).join("");
    expect(plain.length).toBeGreaterThan(500);
    expect(
      execFileSync("dash", [join(SUPPORT, "merkle-root.sh")], { input })
        .toString()
        .trim(),
    ).toBe(root);
    if (tree.includes(REAL_RELEASE)) expect(root).toBe(`${REAL.root}/${REAL.levels}`);
    console.log(`${plain.length} modules of ${basename(tree)}: ${root}`);
  });

  it("is proven, attached, verified by the kernel that holds the root, and detached again", async () => {
    const [hex = "", levels] = root.split("/");
    const held = kernelWithRoot({ levels: Number(levels), hash: Buffer.from(hex, "hex") });
    writeFileSync(join(place, "vmlinux"), gzipSync(held));
    expect(await run(["modules", "prove", ...plain, "--set", join(place, "set.json")])).toMatchObject({
      exitCode: 0,
    });
    const verified = await run(["modules", "verify", ...plain, "--kernel", join(place, "vmlinux"), "--json"]);
    expect(verified.exitCode).toBe(0);
    const { files } = JSON.parse(verified.stdout) as { files: { verdict: string }[] };
    expect(files.filter(({ verdict }) => verdict === "authenticated").length).toBe(plain.length);
    // What `attach` writes is the module and its sidecar, one behind the other.
    const attached = plain.map((file) => {
      writeFileSync(
        `${file}.attached.ko`,
        Buffer.concat([readFileSync(file), readFileSync(`${file}.merkle`)]),
      );
      return `${file}.attached.ko`;
    });
    expect((await run(["modules", "verify", ...attached, "--root", root])).exitCode).toBe(0);
    for (const file of plain.slice(0, 20)) {
      await run(["modules", "attach", file, `${file}.merkle`, "--to", join(place, "one.ko")]);
      expect(readFileSync(join(place, "one.ko"))).toEqual(readFileSync(`${file}.attached.ko`));
      await run(["modules", "detach", join(place, "one.ko"), "--to", join(place, "apart")]);
      expect(readFileSync(join(place, "apart/one.ko.merkle"))).toEqual(readFileSync(`${file}.merkle`));
      expect(readFileSync(join(place, "apart/one.ko"))).toEqual(readFileSync(file));
    }
  }, 900_000);
});

it("a kernel of today loads a module with a proof as if it were unsigned", async () => {
  const kernel = newest("6.12.");
  const tree = await installed(kernel);
  const [file = ""] = globSync(join(tree, "**/dummy.ko*"));
  const signed = file.endsWith(".xz")
    ? execFileSync("xz", ["-dc", file], { maxBuffer: 1 << 28 })
    : readFileSync(file);
  const [plain, proven] = [join(place, "dummy.ko"), join(place, "proven", "dummy.ko")];
  mkdirSync(join(place, "proven"));
  writeFileSync(plain, splitSignature(signed, file).content);
  await run(["modules", "prove", plain, "--set", tree]);
  await run(["modules", "attach", plain, `${plain}.merkle`, "--to", proven]);
  const inputs = openInputs(farm, published.catalog, { archived: "none" });
  const guest = guestPackages(published.catalog.guests, kernel);
  const sets = [signed, readFileSync(proven), readFileSync(plain)].map((bytes) => ({
    driver: "dummy",
    modules: [{ name: "dummy", bytes }],
  }));
  const reports = await loadModules(
    { kernel, guest, sets },
    { inputs, scratch: farm.scratch, cache: farm.cache },
  );
  const [asSigned, asProven, asPlain] = reports.map(({ verdict, log }) => ({
    verdict: verdict.verdict,
    texts: textsOf(verdict),
    log,
  }));
  console.log(asProven?.log);

  expect(asSigned?.verdict).toBe("pass");
  expect(asProven?.verdict).toBe(asPlain?.verdict);
  expect(asProven?.log).toContain("not signed with expected PKCS#7 message");
}, 900_000);
