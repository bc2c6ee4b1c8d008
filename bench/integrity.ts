/**
 * Trees of modules and logs against their budgets, with their peers in the same run.
 *
 *     npm run bench:integrity -- [rounds] [/lib/modules/RELEASE]
 *
 * Threads run the program as it is installed: to read TypeScript costs each of them more than hundreds of modules do.
 *
 * The directory has a modules.order and modules in xz or uncompressed; copies of the other kind are made. Without one, those
 * of the newest kernel of Debian 13 are fetched, and each is hashed several times, as so many modules.
 */

import { randomBytes } from "node:crypto";
import { cp, link, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { bundleProgram } from "../scripts/bundle.ts";
import { toDocument } from "../src/base/json.ts";
import { loadConfig } from "../src/farm/config/index.ts";
import { openFarm, readingContext } from "../src/farm/open.ts";
import { judgeProof, writeProof } from "../src/provenance/trees/linux-merkle.ts";
import { entryHash, isConsistent, proveConsistency, rootAt } from "../src/provenance/trees/rfc6962.ts";
import { nodesInTiles, topOf } from "../src/provenance/trees/tiles.ts";
import type { Decision, Edition } from "../src/registry/documents.ts";
import { readPublished } from "../src/registry/generations.ts";
import { logFiles, logOf } from "../src/registry/log.ts";
import { packed } from "../src/registry/packed.ts";
import { NOTHING_PUBLISHED, partsOf } from "../src/registry/parts.ts";
import { catalogFarm, DOORBELL, median, PLACE, spread, timed } from "./measure.ts";

const [rounds = "5", given] = process.argv.slice(2);
const LEAST_MODULES = 4000;
/** Of a log with 5,000 entries: thirteen hashes, the entry and a checkpoint. */
const LOG_PROOF_BYTES = 1100;
const at = (name: string) => join(PLACE, name);
const source = given ?? (await kernelModules());
const { plain, packed: packedTree, order } = await bothKinds(source);
const { hashModules } = await installed();

for (const [what, place, command, budget] of [
  ["plain", plain, "sha256sum", 1],
  ["xz", packedTree, "xz -dc | sha256sum", 1.1],
] as const) {
  const files = order.map((name) => join(place, what === "xz" ? `${name}.xz` : name));
  const list = at(`integrity-${what}.list`);
  await writeFile(list, files.join("\0"));
  const share = Math.ceil(files.length / availableParallelism());
  const peer =
    what === "plain"
      ? `xargs -0 -P ${availableParallelism()} -n ${share} sha256sum <'${list}' >/dev/null`
      : `xargs -0 -P ${availableParallelism()} -n ${share} sh -c 'xz -dc "$@" | sha256sum' sh <'${list}' >/dev/null`;
  const [ours, theirs]: [number[], number[]] = [[], []];
  let proofs = 0;
  for (let round = 0; round < Number(rounds); round++) {
    const started = performance.now();
    const { tree, names } = await hashModules(place, "built");
    proofs = names.map((_, position) => writeProof(tree.proof(position))).length;
    ours.push((performance.now() - started) / 1000);
    theirs.push((await timed(["sh", "-c", peer])).seconds);
  }
  const ratio = median(ours.map((one, index) => one / (theirs[index] as number)));
  console.log(`${what}: root and ${proofs} proofs, ${rounds} rounds on ${availableParallelism()} processors; medians
  kmodfarm              ${spread(ours)}
  ${command.padEnd(21)} ${spread(theirs)}
  ratio                 ${ratio.toFixed(2)} (budget ${budget})`);
}

await verifyOne();
await consistency();
await night();

async function installed(): Promise<typeof import("../src/farm/sets/module-tree.ts")> {
  const [place, root] = [at("package"), join(import.meta.dirname, "..")];
  const name = "farm/sets/module-tree";
  await bundleProgram(join(place, "dist"), [name]);
  await cp(join(root, "package.json"), join(place, "package.json"));
  await symlink(join(root, "node_modules"), join(place, "node_modules"));
  return import(join(place, `dist/${name}.js`));
}

async function verifyOne(): Promise<void> {
  const { tree } = await hashModules(plain, "built");
  const module = await readFile(join(plain, order[0] as string));
  const { cutSignature } = await import("../src/formats/module-signature.ts");
  const proof = writeProof(tree.proof(0));
  const file = Buffer.concat([cutSignature(module, "a module").content, proof]);
  const times = Array.from({ length: 50 }, () => {
    const started = performance.now();
    if (judgeProof(file, tree.root) !== "authenticated") throw new Error("not authenticated");
    return performance.now() - started;
  });
  const expected = 44 + 32 * tree.root.levels;
  console.log(
    `verify of one module (${file.length} bytes): ${median(times).toFixed(2)} ms (budget 5); proof ${proof.length} bytes (44 + 32 × levels = ${expected})`,
  );
}

async function consistency(): Promise<void> {
  const SIZE = 1_000_000;
  const rows = [Array.from({ length: SIZE }, (_, index) => entryHash(Buffer.from(String(index))))];
  for (let row = rows[0] ?? []; row.length >= 256; rows.push(row)) {
    const below = row;
    row = Array.from({ length: Math.floor(below.length / 256) }, (_, tile) =>
      topOf(below.slice(tile * 256, tile * 256 + 256)),
    );
  }
  const nodes = (size: number) =>
    nodesInTiles(size, async ({ level, index, width }) =>
      (rows[Number(level)] ?? []).slice(index * 256, index * 256 + width),
    );
  const before = { size: 987_654, root: await rootAt(987_654, nodes(987_654)) };
  const after = { size: SIZE, root: await rootAt(SIZE, nodes(SIZE)) };
  const started = performance.now();
  const proof = await proveConsistency(before.size, SIZE, nodes(SIZE));
  const isGood = isConsistent(before, after, proof);
  const ms = performance.now() - started;
  if (!isGood) throw new Error("not consistent");
  console.log(
    `consistency of ${SIZE} entries: ${ms.toFixed(1)} ms (budget 50), ${proof.length} hashes (budget 25)`,
  );
}

/**
 * What ten more kernels with two modules each add to sets and log of a release of 5,000 modules, wherever the last tile of the
 * log and the last part of the sets happen to end. The sets' parts but the last are as they were.
 */
async function night(): Promise<void> {
  const decision = (kernel: number): Decision => ({
    ...{ at: "2026-11-28T02:00:00.000Z", action: "promote", by: "the farm", why: "all checks passed" },
    artifact: {
      ...{ driver: "doorbell", recipe: `sha256:${"0".repeat(64)}` },
      output: `0.1.0/debian12/x86_64/6.1.0-${kernel}-cloud-amd64_6.1.${kernel}-1`,
    },
    ...{ manifest: `sha256:${"0".repeat(64)}`, verdicts: [] },
  });
  const sizes = Array.from({ length: 26 }, (_, step) => {
    const before = 2500 + step * 10;
    const decisions = Array.from({ length: before + 10 }, (_one, kernel) => decision(kernel));
    const log = logOf({ decisions, editions: [] });
    return [...logFiles(log, before)].reduce((sum, { bytes }) => sum + bytes.length, 0);
  });
  const digest = () => `sha256:${randomBytes(32).toString("hex")}` as const;
  const place = () => ({
    manifest: digest(),
    module: "doorbell",
    digest: digest(),
    leaf: digest().slice(7),
    proof: digest(),
  });
  const editions = Array.from(
    { length: 260 },
    (_, at): Edition => ({
      ...{
        driver: "doorbell",
        version: "0.1.0",
        edition: at + 1,
        after: at * 10,
        count: at * 20 + 20,
        levels: 13,
      },
      ...{ root: digest().slice(7), places: Array.from({ length: 20 }, place) },
    }),
  );
  const parts = await Promise.all(
    Array.from({ length: 10 }, async (_, step) => {
      const state = { ...NOTHING_PUBLISHED, editions: editions.slice(0, 250 + step) };
      const last = [...partsOf(state)].findLast(([name]) => name.startsWith("sets/"))?.[1];
      return (await packed(toDocument(last?.document()))).length;
    }),
  );
  const proofs = 20 * (44 + 32 * 13);
  const logProofs = 10 * LOG_PROOF_BYTES;
  const kib = (bytes: number) => (bytes / 1024).toFixed(0);
  const all = (of: (some: readonly number[]) => number) => of(sizes) + of(parts) + proofs + logProofs;
  const most = (some: readonly number[]) => Math.max(...some);
  console.log(`a night with ten more kernels writes ${kib(all(median))} KiB for sets and log, ${kib(all(most))} at most (budget 64):
  tiles and entries ${kib(median(sizes))} (${kib(most(sizes))}), parts of sets ${kib(median(parts))} (${kib(most(parts))}), proofs of modules ${kib(proofs)}, of promotions ${kib(logProofs)}`);
}

/** The tree as it is, and the other kind of it: links to the same modules until there are enough of them. */
async function bothKinds(tree: string) {
  const [plainPlace, packedPlace] = [at("integrity-plain"), at("integrity-xz")];
  for (const place of [plainPlace, packedPlace]) await rm(place, { recursive: true, force: true });
  await cp(tree, plainPlace, { recursive: true });
  await timed(["sh", "-c", `find '${plainPlace}' -name '*.ko.xz' -print0 | xargs -0 -r -P2 -n 100 xz -d`]);
  const names = (await readFile(join(plainPlace, "modules.order"), "utf8")).trim().split("\n");
  const all = [...names];
  for (let copy = 1; all.length < LEAST_MODULES; copy++)
    for (const name of names) {
      const other = `kernel/copy${copy}/${name}`;
      await mkdir(dirname(join(plainPlace, other)), { recursive: true });
      await link(join(plainPlace, name), join(plainPlace, other));
      all.push(other);
    }
  await writeFile(join(plainPlace, "modules.order"), all.map((name) => `${name}\n`).join(""));
  await cp(plainPlace, packedPlace, { recursive: true });
  await timed([
    "sh",
    "-c",
    `find '${packedPlace}' -name '*.ko' -print0 | xargs -0 -P2 -n 50 xz -1 --check=crc32 --lzma2=dict=1MiB`,
  ]);
  return { plain: plainPlace, packed: packedPlace, order: all };
}

async function kernelModules(): Promise<string> {
  const { config } = await catalogFarm("integrity", {
    drivers: [DOORBELL],
    sources: [{ kind: "apt", releases: ["debian13"] }],
  });
  const farm = await openFarm(await loadConfig({ config }));
  const { catalog } = await readPublished(farm.store);
  // Packages of backports do not have the order of their modules.
  const kernel = catalog.kernels.findLast(
    ({ architecture, flavour, kversion, packages }) =>
      [architecture, flavour].join() === "x86_64,generic" &&
      kversion.startsWith("6.12.") &&
      packages.modules.length > 0,
  );
  if (kernel === undefined) throw new Error("Debian 13 lists no kernel with modules");
  const { inputs } = readingContext(farm, catalog);
  const place = resolve(at("integrity-modules"));
  await rm(place, { recursive: true, force: true });
  await mkdir(place, { recursive: true });
  for (const one of kernel.packages.modules) await timed(["dpkg-deb", "-x", await inputs.fetch(one), place]);
  await farm.close();
  return join(place, "usr/lib/modules", kernel.kversion);
}
