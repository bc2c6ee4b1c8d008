/**
 * The box of a signer's process: no environment, no network, no dumps of its memory, no view of this machine but its own
 * program; and Node.js's permission model in it, so that a fault in one of the two does not reach the key's owner.
 */

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { IS_CHECKOUT, ownFile, ownScript } from "../base/own-files.ts";
import { shutIn } from "../base/shut-in.ts";
import type { Access } from "./keys/key.ts";
import type { Start } from "./wire.ts";

/** Addresses, most of which Node.js only reserves. */
const MEMORY_BYTES = 8 * 1024 ** 3;
/** As long as a farm that keeps watch: days. */
const CPU_SECONDS = 30 * 24 * 3600;
/** The packages whose code it runs, where they are not in its own files. */
const PACKAGES = ["@noble", "zod"];

/** The command that starts one. */
export function signerCommand(
  start: Start,
  { reads = [], writes = [], startsPrograms = false }: Access,
): string[] {
  const script = fileURLToPath(ownScript("signing/process"));
  const sources = dirname(dirname(script));
  const packages = IS_CHECKOUT ? PACKAGES.map(placeOf) : [];
  const program = [sources, fileURLToPath(ownFile("package.json")), ...packages];
  const shown = [...program, ...reads, process.execPath];
  return shutIn(
    [
      // What the box sets is of no use to it.
      ...["/usr/bin/env", "--ignore-environment", process.execPath],
      ...["--permission", "--disable-warning=ExperimentalWarning"],
      ...[...program, ...reads, ...writes, ...(startsPrograms ? ["/proc"] : [])].map(
        (path) => `--allow-fs-read=${path}`,
      ),
      ...writes.map((path) => `--allow-fs-write=${path}`),
      ...(startsPrograms ? ["--allow-child-process"] : []),
      ...[script, JSON.stringify(start)],
    ],
    {
      shows: Object.fromEntries(shown.map((path) => [path, path])),
      ...{ writes, startsPrograms, memoryBytes: MEMORY_BYTES, cpuSeconds: CPU_SECONDS },
    },
  );
}

/** Where this program finds a package, as it would itself. */
function placeOf(name: string): string {
  const folders = createRequire(import.meta.url).resolve.paths(name) ?? [];
  return join(folders.find((folder) => existsSync(join(folder, name))) ?? "", name);
}
