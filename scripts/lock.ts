/**
 * Writes images/<release>/packages.lock: the versions that the release's mirror has now of every package that its
 * image names. A refresh makes new roots; it rebuilds modules only where a build-relevant package moved.
 *
 *     npm run lock -- debian12 debian13        (default: every image of Debian)
 */
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compilerPackages, type ImageDefinition, readImage } from "../src/builder/toolchains/image.ts";
import type { DebMirror } from "../src/builder/toolchains/roots/root-method.ts";
import { type AptSource, readAptSource } from "../src/catalog/apt.ts";
import { loadConfig } from "../src/farm/config/index.ts";
import { type Farm, openFarm } from "../src/farm/open.ts";
import { ARCHITECTURES, type ArchitectureName } from "../src/kernel/architecture.ts";
import { compareDebVersions } from "../src/kernel/deb-version.ts";
import { readDebPackage } from "../src/kernel/distributions/deb-family.ts";
import { requireRelease } from "../src/kernel/distributions/index.ts";

const IMAGES = fileURLToPath(new URL("../images", import.meta.url));

const farm = await openFarm(await loadConfig({ cache: ".kmodfarm/cache" }));
try {
  const folders = process.argv.slice(2);
  const all = (await readdir(IMAGES)).filter((name) => name.startsWith("debian"));
  for (const folder of folders.length > 0 ? folders : all) await lock(folder);
} finally {
  await farm.close();
}

async function lock(folder: string): Promise<void> {
  const image = await readImage(IMAGES, folder);
  const lines: string[] = [];
  for (const { name: architecture } of ARCHITECTURES) {
    const mirror = farm.mirrorOf(folder, architecture);
    if (mirror.format !== "deb") throw new Error(`${folder} has no apt mirror; only those can be locked`);
    const versions = await newestVersions(folder, image, architecture, mirror, farm);
    for (const [name, version] of versions) lines.push(`${architecture} ${name} ${version}`);
  }
  const head = `# Versions of ${folder}'s packages as its mirror had them when \`npm run lock\` was last run: architecture, name, version.\n`;
  await writeFile(join(IMAGES, folder, "packages.lock"), `${head}${lines.join("\n")}\n`);
  console.log(`${folder}: ${lines.length} versions`);
}

async function newestVersions(
  folder: string,
  image: ImageDefinition,
  architecture: ArchitectureName,
  mirror: DebMirror,
  { http, scratch, cache }: Farm,
): Promise<[string, string][]> {
  const known = requireRelease(folder);
  if (known.format !== "deb") throw new Error(`${folder} is no release with apt`);
  const names = new Set([
    ...image.packages.map(({ name }) => name),
    ...image.compilers.flatMap((compiler) => compilerPackages(compiler, architecture)),
  ]);
  const found = new Map<string, string>();
  for (const { url, suite, components } of mirror.lines) {
    for (const component of components) {
      const source: AptSource = {
        kind: "apt",
        id: `lock/${suite}/${component}/${architecture}`,
        distribution: {
          ...known.distribution,
          packagePrefixes: [...names].map((name) => `${name}\n`),
          readPackage: readDebPackage,
        },
        release: folder,
        ...{ suite, component, url, architectures: [architecture], keyring: mirror.keyring },
        acceptExpired: true,
      };
      const answer = await readAptSource(source, { http, scratch, cache });
      if (answer.kind !== "read")
        throw answer.kind === "failed" ? answer.error : new Error(`${suite} is not served`);
      for (const { name, version } of answer.packages) {
        const before = found.get(name);
        if (names.has(name) && (before === undefined || compareDebVersions(before, version) < 0))
          found.set(name, version);
      }
    }
  }
  for (const name of names) if (!found.has(name)) console.error(`${folder}: ${architecture} has no ${name}`);
  return [...found].toSorted(([a], [b]) => (a < b ? -1 : 1));
}
