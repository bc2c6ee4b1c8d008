/**
 * Files that our parent process held open and left open for us. Node.js keeps only the first few of them from the
 * programs that it starts; a directory among them would be a way out of every sandbox.
 */
import { closeSync, readdirSync, readFileSync } from "node:fs";

/** What we open ourselves has it always; what stays open across an exec never does. */
const CLOSE_ON_EXEC = 0o2000000;
const STANDARD = 2;

/** Closes them, but for the three standard streams. A file given as /dev/fd/N must have been read by then. */
export function closeInherited(): void {
  for (const name of readdirSync("/proc/self/fd")) {
    const descriptor = Number(name);
    if (descriptor > STANDARD && isInherited(descriptor)) closeSync(descriptor);
  }
}

function isInherited(descriptor: number): boolean {
  try {
    const [, flags = "0"] =
      /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8")) ?? [];
    return (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) === 0;
  } catch {
    return false; // The one by which the directory was read.
  }
}
