/**
 * Device nodes inside are those of this machine, and when root starts us, nobody in there owns them: they are
 * made read-only, in a mount namespace of their own, so that no build takes /dev/null from everybody.
 * Writing to a device itself needs no writable mount.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"];
const SCRIPT = 'mount --all --fstab "$1" || exit 125; shift; exec "$@"';

/** Command words that do so and become what follows; none when we are not root and own no device. */
export async function guardingDevices(scratch: string): Promise<string[]> {
  if (process.getuid?.() !== 0) return [];
  // One program for all of them: an element takes a second or two, and six times mount(8) shows.
  const table = join(scratch, "devices.fstab");
  await writeFile(table, DEVICES.map((name) => `/dev/${name} /dev/${name} none bind,ro 0 0\n`).join(""));
  return ["unshare", "--mount", "--", "sh", "-c", SCRIPT, "sh", table];
}
