/**
 * What every kernel of the live archive was made from, by three places, and what the changelogs say of when it was uploaded.
 * Prints each disagreement.
 */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { removeTree } from "../../src/base/strange-tree.ts";
import type { CatalogKernel } from "../../src/catalog/catalog.ts";
import { EMPTY_CATALOG } from "../../src/catalog/catalog.ts";
import { loadConfig } from "../../src/farm/config/index.ts";
import { learnChangelogs } from "../../src/farm/gap/changelogs.ts";
import { askSourcesOf, type Farm, openFarm, openInputs, updateFarmCatalog } from "../../src/farm/open.ts";
import type { Inputs } from "../../src/inputs/inputs.ts";
import { packageFormat } from "../../src/inputs/package-format.ts";
import {
  agreedBase,
  type BaseClaim,
  upstreamOfHeader,
  upstreamOfMakefile,
  upstreamOfPackage,
  VERSION_FILE,
} from "../../src/kernel/base.ts";
import { NOTHING_KNOWN } from "../../src/kernel/facts.ts";
import { kernelName, type Package } from "../../src/kernel/kernel.ts";

let directory: string;
let farm: Farm;
let kernels: readonly CatalogKernel[];
let inputs: Inputs;
const signal = new AbortController().signal;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "kernel-base-"));
  const config = join(directory, "kmodfarm.yaml");
  await writeFile(config, "archive: none\n");
  farm = await openFarm(await loadConfig({ config }));
  const answers = await askSourcesOf(farm, EMPTY_CATALOG, signal);
  const { catalog } = updateFarmCatalog(EMPTY_CATALOG, answers, { now: new Date() });
  kernels = catalog.kernels;
  inputs = openInputs(farm, catalog);
});
afterAll(async () => {
  await farm?.close();
  await removeTree(directory);
});

const texts = new Map<string, Promise<string | undefined>>();

/** A file of a package, which many kernels may share. */
function textIn(from: Package, ending: RegExp): Promise<string | undefined> {
  const key = `${from.sha256} ${ending.source}`;
  const read = async () => {
    const files = await inputs.stream(from, (body) =>
      packageFormat(from).readFiles(
        body,
        (path) => ending.test(path),
        ({ length }) => length > 0,
      ),
    );
    return files[0]?.content.toString();
  };
  const known = texts.get(key) ?? read();
  texts.set(key, known);
  return known;
}

test("three places agree on what each kernel was made from, or it is told why not", async () => {
  const [unlike, missing]: [string[], string[]] = [[], []];
  const counts = { makefile: 0, header: 0, package: 0, all: 0 };
  for (const kernel of kernels) {
    const { headers } = kernel.packages;
    const own = headers.find(({ name }) => name === `linux-headers-${kernel.kversion}`);
    const common = headers.find(({ name }) => /-common(-|$)/.test(name));
    const header =
      own === undefined
        ? undefined
        : await textIn(own, new RegExp(`/${VERSION_FILE}$`)).catch(() => undefined);
    const makefile =
      common === undefined
        ? undefined
        : await textIn(common, /^usr\/src\/[^/]+\/Makefile$/).catch(() => undefined);
    const said: [BaseClaim["from"], string | undefined][] = [
      ["makefile", makefile === undefined ? undefined : upstreamOfMakefile(makefile)],
      ["header", header === undefined ? undefined : upstreamOfHeader(header)],
      ["package", upstreamOfPackage(kernel.packageVersion)],
    ];
    const claims = said.flatMap(([from, version]) => (version === undefined ? [] : [{ from, version }]));
    for (const { from } of claims) counts[from]++;
    counts.all++;
    const base = agreedBase(claims);
    if (base?.disputed !== undefined) unlike.push(`${kernelName(kernel)}: ${JSON.stringify(claims)}`);
    if (claims.length < 3) missing.push(`${kernelName(kernel)}: only ${JSON.stringify(claims)}`);
  }

  console.log(
    `bases: ${JSON.stringify(counts)}; ${unlike.length} disagree\n${[...unlike, ...missing].join("\n")}`,
  );
  expect(kernels.length).toBeGreaterThan(100);
  expect(unlike).toEqual([]);
});

test("a few changelogs say when every kernel was uploaded", async () => {
  const catalog = { ...EMPTY_CATALOG, kernels: [...kernels] };
  const { found, facts, unfetchable, failed } = await learnChangelogs(
    catalog,
    NOTHING_KNOWN,
    inputs,
    new Date(),
    signal,
  );
  const dated = facts.filter(({ changelog }) => changelog?.uploaded !== undefined).length;

  for (const { feed, from, changelog } of found)
    console.log(
      `${feed}: ${from.name} ${from.version} (${from.size} bytes), ${changelog.entries.length} entries to ${changelog.entries.at(-1)?.day}, trimmed: ${changelog.isTrimmed}, damaged: ${changelog.damaged}`,
    );
  console.log(
    `${dated} of ${kernels.length} kernels have an upload day; ${unfetchable} are not on the mirror; ${failed.length} failed: ${failed.map(({ kernel, error }) => `${kernel}: ${error.message}`).join("; ")}`,
  );
  expect(failed).toEqual([]);
  expect(dated).toBeGreaterThan((kernels.length - unfetchable) * 0.9);
});
