/**
 * `kmodfarm github init`: the workflows for a repository.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { FarmError } from "../../../base/error.ts";
import { type GithubSettings, githubFiles, type StoreAccess } from "../../../ci/github.ts";
import type { FarmConfig } from "../../../farm/config/index.ts";
import type { OptionsOf } from "../../command.ts";
import { configOf } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import type { INIT } from "./command.ts";

type InitOptions = OptionsOf<typeof INIT>;

export async function init(options: InitOptions): Promise<number> {
  const config = await configOf(options);
  const output = resolve(options.output ?? ".");
  const files = githubFiles(await settingsOf(config, options, output));
  for (const [path, text] of files) {
    const file = join(output, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
  const written = [...files.keys()];
  if (options.json) await printJson({ schema: "kmodfarm.githubInit/1", output, files: written });
  else await print(`${written.map((path) => `${path}\n`).join("")}${NEXT}`);
  return 0;
}

const NEXT = "Commit them. docs/github.md says which roles, variables and environment they want.\n";

async function settingsOf(config: FarmConfig, options: InitOptions, output: string): Promise<GithubSettings> {
  const { runners, ...github } = config.github;
  for (const machine of Object.values(config.builders))
    if (runners[machine] === undefined)
      throw new FarmError("CONFIG_INVALID", {
        detail: `\`builders\` names ${machine} machines, and \`github.runners\` has none`,
        hint: `Add \`${machine}\` to \`github.runners\`.`,
      });
  return {
    ...github,
    runners,
    store: accessOf(config, output),
    privateHosts: config.privateHosts,
    config: configIn(output, resolve(options.config ?? "kmodfarm.yaml")),
    package: options.package ?? `kmodfarm@${await ownVersion()}`,
    isPublic: options.server === undefined,
  };
}

/** @throws FarmError CONFIG_INVALID for a store that goes away with its job */
function accessOf({ store }: FarmConfig, output: string): StoreAccess {
  if (typeof store === "string") {
    if (relative(output, store).startsWith("..")) return { kind: "directory" };
    throw new FarmError("CONFIG_INVALID", {
      detail: `the store ${store} is in the repository, of which every job has a copy that goes away with it`,
      hint: "Set `store` to a bucket (docs/stores.md), or to a directory that the coordinator's machine keeps.",
    });
  }
  return store.endpoint === undefined ? { kind: "roles", region: store.region } : { kind: "keys" };
}

/** As the workflows find it in their checkout. It goes into a shell command. @throws FarmError USAGE */
function configIn(output: string, file: string): string {
  const path = relative(output, file);
  if (/^[A-Za-z0-9][A-Za-z0-9._/-]*$/.test(path) && !path.split("/").includes("..")) return path;
  throw new FarmError("USAGE", {
    detail: `the configuration ${file} is not a plain path in the repository ${output}`,
    hint: "Name the repository with --output, and keep the configuration in it under a name without special characters.",
  });
}

async function ownVersion(): Promise<string> {
  const file = new URL("../../../../package.json", import.meta.url);
  return (JSON.parse(await readFile(file, "utf8")) as { version: string }).version;
}
