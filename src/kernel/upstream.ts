/**
 * The release of kernel.org that a kernel was made from, as include/generated/uapi/linux/version.h of its headers says it.
 * Distributions name their kernels as they like; this file is made from the numbers in the kernel's own Makefile.
 */

/** Where it lies below a kernel's headers. */
export const VERSION_FILE = "include/generated/uapi/linux/version.h";

/** `6.1.170`; undefined where the file does not say enough. */
export function upstreamOf(header: string): string | undefined {
  const number = (name: string) => {
    const digits = new RegExp(`^#define[ \\t]+LINUX_VERSION_${name}[ \\t]+(\\d{1,9})[ \\t]*$`, "m").exec(
      header,
    )?.[1];
    return digits === undefined ? undefined : Number(digits);
  };
  const [major, patch, sub] = [number("MAJOR"), number("PATCHLEVEL"), number("SUBLEVEL")];
  if (major !== undefined && patch !== undefined && sub !== undefined) return `${major}.${patch}.${sub}`;
  const code = number("CODE");
  // Kernels before 5.12 have the code alone, in which 255 stands for everything from there on.
  if (code === undefined || code >= 2 ** 24 || (code & 255) === 255) return undefined;
  return [code >> 16, (code >> 8) & 255, code & 255].join(".");
}
