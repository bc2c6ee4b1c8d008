/**
 * `kmodfarm toolchain export|import`: roots that travel.
 */

import { join, resolve } from "node:path";
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import { fileDigest } from "../../../base/file-digest.ts";
import { exists } from "../../../base/scratch.ts";
import { exportRoot, importRoot } from "../../../builder/toolchains/archive.ts";
import { openToolchains } from "../../../farm/open.ts";
import { hostArchitecture } from "../../../kernel/architecture.ts";
import { Compiler } from "../../../kernel/kernel.ts";
import { withTask } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import type { PlaceOptions } from "../../common-options.ts";
import { toArchitecture, withFarm } from "../../options.ts";
import { print, printJson, say } from "../../output.ts";
import type { EXPORT_TOOLCHAIN } from "./command.ts";

export async function exportToolchain(
  release: string,
  compiler: string,
  options: OptionsOf<typeof EXPORT_TOOLCHAIN>,
): Promise<number> {
  const wanted = {
    release,
    compiler: compilerOf(compiler),
    architecture: options.arch === undefined ? hostArchitecture(process.arch) : toArchitecture(options.arch),
  };
  return withFarm(options, async (farm) => {
    const toolchains = openToolchains(farm, say);
    const made = `making the toolchain root of ${release} with ${compiler}`;
    if (!(await toolchains.isReady(wanted)))
      await withTask(options, made, ({ signal }) => toolchains.root(wanted, signal));
    const file = resolve(options.output);
    say(`writing ${options.output}`);
    const { name, digest, record } = await exportRoot(await toolchains.place(wanted), file, farm.scratch);
    const archive = await fileDigest(file);
    if (options.json)
      await printJson({ schema: "kmodfarm.toolchain/1", name, digest, file, archive, ...record });
    else
      await print(
        `${name}: ${counted(record.packages.length, "package")}\n  content ${digest}\n  ${options.output} ${archive}\n`,
      );
    return 0;
  });
}

export async function importToolchain(file: string, options: PlaceOptions): Promise<number> {
  return withFarm(options, async (farm) => {
    const place = ({ name }: { readonly name: string }) => join(farm.cache, "roots", name);
    if (!(await exists(file))) throw new FarmError("FILE_UNREADABLE", { detail: `there is no file ${file}` });
    const { name, digest, record } = await withTask(options, `reading ${file}`, ({ signal }) =>
      importRoot(resolve(file), place, farm.scratch, signal),
    );
    if (options.json) await printJson({ schema: "kmodfarm.toolchain/1", name, digest, ...record });
    else
      await print(
        `${name}: ${counted(record.packages.length, "package")}, content ${digest}\nadded to the cache\n`,
      );
    return 0;
  });
}

function compilerOf(word: string): Compiler {
  const [, family, version] = /^(gcc|clang)-(.+)$/.exec(word) ?? [];
  const parsed = Compiler.safeParse({ family, version, source: "table" });
  if (parsed.success) return parsed.data;
  throw new FarmError("USAGE", { detail: `'${word}' is not a compiler; write it as gcc-12 or clang-17` });
}
