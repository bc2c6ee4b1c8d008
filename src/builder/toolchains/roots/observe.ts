/**
 * What compilers of a root say of themselves, asked before any driver's tree is there: what a build says of its
 * surroundings is the driver's word.
 */
import { FarmError } from "../../../base/error.ts";
import { lastLines } from "../../../base/run.ts";
import { ARCHITECTURES, type ArchitectureName } from "../../../kernel/architecture.ts";
import { isCross, type OfferedCompiler } from "../image.ts";
import { runInBox } from "./box.ts";

const TIMEOUT_MS = 120_000;
/** Longer than any compiler's name, and no place for a story. */
const LONGEST = 300;

/**
 * The first line of `--version`, for each architecture that the root compiles for.
 * @throws FarmError TOOL_FAILED when a compiler does not run
 */
export async function observeCompilers(
  root: string,
  compiler: OfferedCompiler,
  builder: ArchitectureName,
  signal?: AbortSignal,
): Promise<Partial<Record<ArchitectureName, string>>> {
  const found: Partial<Record<ArchitectureName, string>> = {};
  for (const { name, triplet } of ARCHITECTURES) {
    if (name !== builder && !isCross(compiler)) continue;
    const command = name === builder ? compiler.command : `${triplet}-${compiler.command}`;
    const result = await runInBox(
      {
        argv: [command, "--version"],
        shows: [{ outside: root, inside: "/" }],
        timeoutMs: TIMEOUT_MS,
      },
      signal,
    );
    if (result.exitCode !== 0)
      throw new FarmError("TOOL_FAILED", {
        detail: `the compiler ${command} of a toolchain root does not run: ${lastLines(result.stderr, 2)}`,
      });
    found[name] = (result.stdout.split("\n")[0] ?? "")
      .replaceAll(/\p{Cc}/gu, "")
      .trim()
      .slice(0, LONGEST);
  }
  return found;
}
