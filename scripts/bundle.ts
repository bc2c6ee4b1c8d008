/**
 * Makes what npm publishes of the code: the program and the scripts that it starts, in few files, because a command would
 * otherwise spend most of its time on opening hundreds; and the client for nodes, in one. Packages that only some commands
 * need stay packages.
 *
 *     npm run build
 */
import { globSync } from "node:fs";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { build, type OutputChunk } from "rolldown";
import { bundleNodeClient } from "./node-client.ts";

const ROOT = join(import.meta.dirname, "..");
const DIST = join(ROOT, "dist");

/** By their paths below `src`, without extension. */
const SCRIPTS = [
  "cli/main",
  "signing/process",
  ...globSync("**/*-{thread,helper}.ts", { cwd: join(ROOT, "src") }).map((file) =>
    file.slice(0, -".ts".length),
  ),
];

/** Large, and loaded only where they are needed; or such as look for files of their own. */
const APART = /^(@aws-sdk|@cyclonedx|@sigstore|pino|undici)(\/|$)/;

/** `more`: modules that others import from the directory, beside the scripts. */
export async function bundleProgram(directory: string, more: readonly string[] = []): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  const { output } = await build({
    input: Object.fromEntries([...SCRIPTS, ...more].map((name) => [name, join(ROOT, `src/${name}.ts`)])),
    platform: "node",
    external: APART,
    output: {
      ...{ dir: directory, format: "esm" },
      ...{ entryFileNames: "[name].js", chunkFileNames: "chunks/[name]-[hash].js" },
    },
    // A command that is loaded once it is asked for may have everything loaded already.
    checks: { ineffectiveDynamicImport: false },
    logLevel: "warn",
  });
  const chunks = output.filter((one) => one.type === "chunk");
  await writeFile(join(directory, "LICENSES.txt"), await licensesOf(chunks));
}

/** The licence texts of all packages whose code is in the files. */
async function licensesOf(chunks: readonly OutputChunk[]): Promise<string> {
  const modules = chunks.flatMap(({ moduleIds }) => moduleIds);
  const packages = new Set(
    modules.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []),
  );
  const texts = await Promise.all(
    [...packages].toSorted().map(async (directory) => {
      const file = (await readdir(directory)).find((name) => /^licen[cs]e/i.test(name));
      const { license } = JSON.parse(await readFile(join(directory, "package.json"), "utf8")) as {
        license?: string;
      };
      const text = file === undefined ? "" : await readFile(join(directory, file), "utf8");
      return `${relative(join(ROOT, "node_modules"), directory)} (${license})\n\n${text.trim()}\n`;
    }),
  );
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}

if (import.meta.main) {
  await bundleProgram(DIST);
  await bundleNodeClient(join(DIST, "kmodfarm-fetch.mjs"));
}
