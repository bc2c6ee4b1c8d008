/**
 * `kmodfarm init`: a first configuration for the driver in a directory.
 */

import { lstat, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { FarmError, isErrno } from "../../../base/error.ts";
import { largest } from "../../../base/extremes.ts";
import { exists } from "../../../base/scratch.ts";
import { type DriverGuess, guessDriver } from "../../../builder/driver-guess.ts";
import { leftOutBy, NEVER_SOURCE } from "../../../builder/origins/not-source.ts";
import { readSourceTree } from "../../../builder/source-tree.ts";
import { DEFAULT_FILE, parseConfig } from "../../../farm/config/index.ts";
import type { OptionsOf } from "../../command.ts";
import { toList } from "../../options.ts";
import { print, printFile } from "../../output.ts";
import type { INIT_DRIVER } from "./command.ts";

type InitOptions = OptionsOf<typeof INIT_DRIVER>;

const VERSION_HELD = `    moduleVersion: "{version}"  # modules that say another version of themselves are refused\n`;

const USUAL_RELEASES = "debian12,debian13";

export async function initDriver(path: string | undefined, options: InitOptions): Promise<number> {
  const directory = resolve(path ?? ".");
  if (!(await lstat(directory).catch(() => undefined)))
    throw new FarmError("USAGE", { detail: `there is no directory ${directory}` });
  const file = join(directory, DEFAULT_FILE);
  if (await exists(file)) throw isConfigured(file);
  const guess = guessDriver(await readSourceTree(directory, leftOutBy(NEVER_SOURCE)));
  if (guess === undefined)
    throw new FarmError("DRIVER_INVALID", {
      detail: `${directory} has no dkms.conf, and no Kbuild or Makefile with obj-m`,
      hint: "Stand in the driver's directory, or name it: `kmodfarm init PATH`.",
    });
  const { name, version, releases } = await answers(guess, options);
  const isStated = guess.isStated && version === guess.version;
  const text = configText({ ...guess, name, version, isStated }, toList(releases) ?? []);
  await requireNoFarm(directory);
  parseConfig(text, file); // A wrong answer is refused before anything is written.
  await writeFile(file, text, { flag: "wx" }).catch((thrown) => {
    throw isErrno(thrown) && thrown.code === "EEXIST" ? isConfigured(file) : thrown;
  });
  const place = relative(process.cwd(), file);
  const where = directory === process.cwd() ? "" : ` --config ${place}`;
  const next = [
    [
      `kmodfarm try${path === undefined ? "" : ` ${path}`}`,
      "build and load it on a few kernels; nothing is published",
    ],
    [`kmodfarm run --dry-run${where}`, "what a run would build"],
    [`kmodfarm run${where}`, "build, test and publish it"],
  ] as const;
  const widest = largest(next.map(([command]) => command.length));
  const lines = next.map(([command, what]) => `  ${command.padEnd(widest)}  ${what}\n`);
  await printFile(text);
  await print(`\nWritten to ${place}. Next:\n${lines.join("")}`);
  return 0;
}

function isConfigured(file: string): FarmError {
  return new FarmError("USAGE", {
    detail: `there is a configuration already: ${file}`,
    hint: "It was left as it is. Edit it, or move it away and run `kmodfarm init` again.",
  });
}

/** Keys and work that lie in a tree before it has a configuration are those of whoever wrote it. @throws FarmError USAGE */
async function requireNoFarm(directory: string): Promise<void> {
  const place = join(directory, ".kmodfarm");
  const found = await lstat(place).catch(() => undefined);
  if (found === undefined) return;
  throw new FarmError("USAGE", {
    detail: `${place} is there already, and may have come with the driver: its keys would sign for whoever made them`,
    hint: "Remove it unless a farm of yours made it; if one did, move it away while you run `kmodfarm init`.",
  });
}

interface Answers {
  readonly name: string;
  readonly version: string;
  readonly releases: string;
}

/** What options do not say is asked, where somebody can answer. */
async function answers(guess: DriverGuess, options: InitOptions): Promise<Answers> {
  const known = {
    name: options.name ?? guess.name,
    version: options.driverVersion ?? guess.version,
    releases: options.releases ?? USUAL_RELEASES,
  };
  if (options.yes || !process.stdin.isTTY || !process.stderr.isTTY) return known;
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const ask = async (given: string | undefined, what: string, usual: string) =>
    given ?? ((await lines.question(`${what} [${usual}]: `)).trim() || usual);
  try {
    return {
      name: await ask(options.name, "Name of the driver", known.name),
      version: await ask(options.driverVersion, "Version", known.version),
      releases: await ask(options.releases, "Releases to build for", known.releases),
    };
  } finally {
    lines.close();
  }
}

function configText(
  { name, version, isStated, modules, directory }: DriverGuess,
  releases: readonly string[],
): string {
  const quoted = (word: string) => JSON.stringify(word);
  const below = directory === undefined ? "" : `    directory: ${quoted(directory)}\n`;
  const wanted =
    modules.length === 0
      ? ""
      : `    modules: [${modules.map(quoted).join(", ")}]  # a build that does not produce them has failed\n`;
  return `# yaml-language-server: $schema=https://unpkg.com/kmodfarm/docs/kmodfarm.schema.json
# What kmodfarm builds, and for which kernels. All settings: docs/config.md.

drivers:
  - name: ${quoted(name)}
    source: .  # this file, the store, the cache and what git ignores are not part of it
    versions: [${quoted(version)}]  # raise it with the driver's own
${isStated ? VERSION_HELD : ""}${below}${wanted}
sources:
  - kind: apt
    releases: [${releases.map(quoted).join(", ")}]

select:
  architectures: [x86_64, aarch64]
  flavours: [generic]  # also: cloud, rt, 16k
  newest: 1            # of each kernel series of a suite (backports count apart); without it: every kernel
`;
}
