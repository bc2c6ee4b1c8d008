/**
 * Whether this machine runs programs of another architecture: qemu-user, registered with the kernel so that it
 * works inside roots (binfmt_misc, flag F). Source: the kernel's Documentation/admin-guide/binfmt-misc.rst.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ARCHITECTURES, type ArchitectureName } from "../../kernel/architecture.ts";

const REGISTERED = "/proc/sys/fs/binfmt_misc";

/** Architectures whose programs run here beside the machine's own. */
export async function emulatedArchitectures(directory = REGISTERED): Promise<ReadonlySet<ArchitectureName>> {
  const found = new Set<ArchitectureName>();
  for (const { name } of ARCHITECTURES) {
    const text = await readFile(join(directory, `qemu-${name}`), "utf8").catch(() => "");
    // Without F the kernel would look for the emulator inside the root.
    if (/^enabled$/m.test(text) && /^flags: .*F/m.test(text)) found.add(name);
  }
  return found;
}
