/** File systems in memory of whatever size, as root can make them. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { onTestFinished } from "vitest";

/** Puts one over a directory until the running test ends. */
export async function mountSmall(directory: string, bytes: number): Promise<void> {
  const options = `mode=700,size=${bytes}`;
  await promisify(execFile)("mount", ["-t", "tmpfs", "-o", options, "kmodfarm-test", directory]);
  onTestFinished(async () => void (await promisify(execFile)("umount", ["--lazy", directory])));
}

/** Not to less than what is in it. */
export async function resizeSmall(directory: string, bytes: number): Promise<void> {
  await promisify(execFile)("mount", ["-o", `remount,size=${bytes}`, directory]);
}
