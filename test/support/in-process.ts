/** Command lines without a process of their own, where to start one takes longer than all that it does. */
import { vi } from "vitest";
import { runProgram } from "../../src/cli/program.ts";

/** All but what bin/ and src/cli/main.ts do, which a few tests of real processes see to. Not to be called at once with itself. */
export async function inProcess(argv: readonly string[], { cwd }: { readonly cwd?: string } = {}) {
  const said = { stdout: "", stderr: "" };
  const before = process.cwd();
  if (cwd !== undefined) process.chdir(cwd);
  for (const name of ["stdout", "stderr"] as const)
    vi.spyOn(process[name], "write").mockImplementation((text: unknown, done?: unknown) => {
      said[name] += String(text);
      if (typeof done === "function") done();
      return true;
    });
  try {
    return { exitCode: await runProgram(argv), ...said };
  } finally {
    vi.restoreAllMocks();
    process.stdout.removeAllListeners("error");
    process.chdir(before);
  }
}
