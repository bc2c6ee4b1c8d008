/**
 * Device nodes inside are those of this machine, and when root starts us, nobody in there owns them: they are
 * made read-only, in a mount namespace of their own, so that no build takes /dev/null from everybody.
 * Writing to a device itself needs no writable mount.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"];
const SCRIPT = 'mount --all --fstab "$1" || exit 125; shift; exec "$@"';

/**
 * Command words that do so and become what follows; none when we are not root and own no device.
 * @param binds more mounts to make there, [from, to]
 */
export async function guardingDevices(
  scratch: string,
  binds: readonly (readonly [string, string])[] = [],
): Promise<string[]> {
  if (process.getuid?.() !== 0) return [];
  // One program for all of them: an element takes a second or two, and six times mount(8) shows.
  const table = join(scratch, "devices.fstab");
  const lines = [
    ...DEVICES.map((name) => `/dev/${name} /dev/${name} none bind,ro 0 0`),
    ...binds.map(([from, to]) => `${escaped(from)} ${escaped(to)} none bind 0 0`),
  ];
  await writeFile(table, `${lines.join("\n")}\n`);
  return ["unshare", "--mount", "--", "sh", "-c", SCRIPT, "sh", table];
}

/** As fstab(5) wants them: what would end a word is a backslash and three octal digits. */
function escaped(path: string): string {
  return path.replaceAll(
    /[\s\\#]/g,
    (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`,
  );
}
