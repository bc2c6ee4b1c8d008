/**
 * What the farm itself sees of the place where it builds: the packages of the toolchain root, from the root's own record,
 * and its compiler's words, asked before any driver is there. What a build says of its surroundings is the driver's word.
 */
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import type { Scratch } from "../base/scratch.ts";
import { removeTree } from "../base/strange-tree.ts";
import { type BuildLimits, sandboxLimits } from "./limits.ts";
import { firstLine } from "./outputs.ts";
import type { Sandbox } from "./sandboxes/sandbox.ts";

interface Observing {
  readonly sandbox: Sandbox;
  readonly scratch: Scratch;
  readonly limits: BuildLimits;
}

const Observed = z.object({ compiler: z.string() });

/**
 * The first line of what a root's compiler says of its version, such as `gcc-12 (Debian 12.2.0-14) 12.2.0`; empty when it
 * does not run. Asked once, and kept beside the root.
 */
export async function observedCompiler(
  root: string,
  command: string,
  { sandbox, scratch, limits }: Observing,
  signal?: AbortSignal,
): Promise<string> {
  const file = join(dirname(root), `${command}.json`);
  const known = await readFile(file, "utf8")
    .then(JSON.parse)
    .catch(() => undefined);
  const kept = Observed.safeParse(known);
  if (kept.success) return kept.data.compiler;
  const work = scratch.path();
  try {
    for (const name of ["output", "scratch"]) await mkdir(join(work, name), { recursive: true });
    const { exitCode, output } = await sandbox.run(
      {
        root,
        inputs: [],
        outputs: [[join(work, "output"), "/output"]],
        scratch: join(work, "scratch"),
        links: [],
        emptyDirectories: [],
        env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
        argv: [command, "--version"],
        ...sandboxLimits(limits),
        logFile: join(work, "log"),
      },
      signal,
    );
    if (exitCode !== 0) return "";
    const compiler = firstLine(output);
    await scratch.write(file, JSON.stringify({ compiler }));
    return compiler;
  } finally {
    await removeTree(work);
  }
}
