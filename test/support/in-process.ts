/** Command lines without a process of their own, where to start one takes longer than all that it does. */
import { vi } from "vitest";
import { COMMANDS } from "../../src/cli/commands/index.ts";
import { runProgram } from "../../src/cli/program.ts";
import { holdToDocuments } from "./documents.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** All but what bin/ and src/cli/main.ts do, which a few tests of real processes see to. Not to be called at once with itself. */
export async function inProcess(argv: readonly string[], { cwd }: { readonly cwd?: string } = {}) {
  const said = { stdout: "", stderr: "" };
  const before = process.cwd();
  const listening = new Map(SIGNALS.map((name) => [name, process.listeners(name)]));
  if (cwd !== undefined) process.chdir(cwd);
  for (const name of ["stdout", "stderr"] as const)
    vi.spyOn(process[name], "write").mockImplementation((text: unknown, done?: unknown) => {
      said[name] += String(text);
      if (typeof done === "function") done();
      return true;
    });
  try {
    const exitCode = await runProgram(argv, COMMANDS);
    holdToDocuments(said);
    return { exitCode, ...said };
  } finally {
    vi.restoreAllMocks();
    process.stdout.removeAllListeners("error");
    // A command listens for Ctrl-C until its process ends.
    for (const [name, known] of listening)
      for (const added of process.listeners(name))
        if (!known.includes(added)) process.removeListener(name, added);
    process.chdir(before);
  }
}
