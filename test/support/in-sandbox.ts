/** Shell scripts in a sandbox, with one input (`/input/file`) and one output (`/output`). */
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Sandbox, SandboxSpec } from "../../src/builder/sandboxes/sandbox.ts";
import { temporaryDirectory } from "./temporary.ts";

/** @param root the toolchain root, and what is mounted into it */
export function runnerIn(sandbox: Sandbox, root: () => Pick<SandboxSpec, "root" | "inputs">) {
  async function specOf(script: string, changes: Partial<SandboxSpec> = {}) {
    const place = await temporaryDirectory();
    // Some engines run programs as another user of this machine.
    await chmod(place, 0o755);
    for (const name of ["input", "output", "scratch"]) await mkdir(join(place, name));
    await writeFile(join(place, "input", "file"), "from outside");
    const spec: SandboxSpec = {
      root: root().root,
      inputs: [...root().inputs, [join(place, "input"), "/input"]],
      outputs: [[join(place, "output"), "/output"]],
      scratch: join(place, "scratch"),
      links: [],
      emptyDirectories: [],
      env: { PATH: "/bin" },
      argv: ["/bin/sh", "-c", script],
      timeoutMs: 60_000,
      memoryBytes: 256 << 20,
      processLimit: 100,
      writableBytes: 32 << 20,
      outputLimitBytes: 1 << 20,
      logFile: join(place, "log"),
      ...changes,
    };
    return { place, spec };
  }

  async function runScript(script: string, changes: Partial<SandboxSpec> = {}, signal?: AbortSignal) {
    const { place, spec } = await specOf(script, changes);
    const { exitCode, stopped, output } = await sandbox.run(spec, signal);
    const log = await readFile(spec.logFile, "utf8");
    return { exitCode, stopped, output: output.trim(), place, log };
  }

  return { specOf, runScript };
}

/** An engine may take a while to start. */
export const SOON = { timeout: 20_000 };
