/**
 * Device nodes inside are those of this machine, and when root starts us, no user in there owns them: they are
 * made read-only, in a mount namespace of their own, so that no build takes /dev/null from everybody.
 * Writing to a device itself needs no writable mount.
 */

const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"];

/**
 * A table for `mount --all --fstab` that does so; empty when we are not root and own no device. One program for all of
 * them: an element takes a second or two, and six times mount(8) shows.
 * @param binds more mounts to make there, [from, to]
 */
export function mountTable(binds: readonly (readonly [string, string])[] = []): string {
  if (process.getuid?.() !== 0) return "";
  const lines = [
    ...DEVICES.map((name) => `/dev/${name} /dev/${name} none bind,ro 0 0`),
    ...binds.map(([from, to]) => `${escaped(from)} ${escaped(to)} none bind 0 0`),
  ];
  return `${lines.join("\n")}\n`;
}

/** As fstab(5) wants them: what would end a word is a backslash and three octal digits. */
function escaped(path: string): string {
  return path.replaceAll(
    /[\s\\#]/g,
    (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`,
  );
}
