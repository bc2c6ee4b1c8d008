/**
 * The compiler of a kernel whose index does not say it: read from the kernel's own headers.
 */
import { FarmError } from "../base/error.ts";
import { COMPILE_FILE, CONFIG_FILES, compilerOfConfig, compilerOfHeader } from "../kernel/compiler-record.ts";
import type { Compiler } from "../kernel/kernel.ts";
import type { Element } from "../matrix/element.ts";
import type { Inputs } from "./inputs.ts";
import { packageFormat } from "./package-format.ts";
import { readInTrees } from "./tree.ts";

/** Configurations have 0.3 MB. */
const LIMIT_BYTES = 4 * 1024 * 1024;

/**
 * Fetches a kernel's headers and reads who compiled it.
 * @throws FarmError COMPILER_UNAVAILABLE when they do not say, and what fetching throws
 */
export async function learnCompiler(
  { kversion, packages, kernelurls }: Pick<Element, "kversion" | "packages" | "kernelurls">,
  inputs: Inputs,
  signal?: AbortSignal,
): Promise<Compiler> {
  const staged = await inputs.unpackAll(packages.headers, kernelurls, signal);
  const [headers] = packages.headers;
  const found =
    headers === undefined
      ? undefined
      : readCompiler(
          staged.map(({ tree }) => tree),
          packageFormat(headers).headersDirectory(kversion),
        );
  if (found !== undefined) return found;
  throw new FarmError("COMPILER_UNAVAILABLE", {
    detail: `neither an index nor its own headers name the compiler that built ${kversion}`,
    hint: "Look at its headers: include/generated/compile.h and .config should name it.",
  });
}

/** What the headers in a directory of some trees say, the configuration first. */
export function readCompiler(trees: readonly string[], directory: string): Compiler | undefined {
  const read = (file: string) =>
    readInTrees(trees, `${directory}/${file}`, LIMIT_BYTES)?.toString("utf8") ?? "";
  for (const file of CONFIG_FILES) {
    const found = compilerOfConfig(read(file));
    if (found !== undefined) return found;
  }
  return compilerOfHeader(read(COMPILE_FILE));
}
