/**
 * `kmodfarm github init`: the workflows for a repository.
 */
import { relative, resolve } from "node:path";
import { FarmError } from "../../../base/error.ts";
import { type GithubKey, type GithubSettings, githubFiles, type StoreAccess } from "../../../ci/github.ts";
import type { FarmConfig } from "../../../farm/config/index.ts";
import type { OptionsOf } from "../../command.ts";
import { configOf } from "../../options.ts";
import type { INIT } from "./command.ts";
import { ownPackage, pathIn, writeGithub } from "./written.ts";

type InitOptions = OptionsOf<typeof INIT>;

export async function init(options: InitOptions): Promise<number> {
  const config = await configOf(options);
  const output = resolve(options.output ?? ".");
  await writeGithub(output, githubFiles(await settingsOf(config, options, output)), options, NEXT);
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
    keys: keysIn(output, config),
    isKeyless: config.keys.some(({ place }) => place.kind === "keyless"),
    privateHosts: config.privateHosts,
    config: pathIn(output, "the configuration", resolve(options.config ?? "kmodfarm.yaml")),
    package: options.package ?? (await ownPackage()),
    isPublic: options.server === undefined,
  };
}

/**
 * Keys in files of the repository's directory. Root keys are for other machines, and keys elsewhere are for machines that
 * keep them. @throws FarmError USAGE
 */
function keysIn(output: string, { keys }: FarmConfig): GithubKey[] {
  return keys.flatMap(({ name, role, place, password }) => {
    if (role === "root" || place.kind !== "file" || relative(output, place.path).startsWith("..")) return [];
    return {
      secret: `KMODFARM_PRIVATE_KEY_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}`,
      file: pathIn(output, `the key ${name}`, place.path),
      password: password.kind === "given" ? password.variable : undefined,
    };
  });
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
