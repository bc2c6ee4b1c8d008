/** The packages of a Debian release that hold drivers for DKMS. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

export interface DkmsPackage {
  readonly name: string;
  readonly version: string;
}

/** What else is called like that. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  "dh-dkms": "a tool for making such packages",
};

/**
 * All of main, by name. Contrib has two more: nvidia-open-kernel-dkms depends on what is not free, and zfs-dkms is larger
 * than any of these, with a configure step that tries the kernel out a hundred times.
 */
export async function dkmsPackages(mirror: string, codename: string): Promise<readonly DkmsPackage[]> {
  const answer = await fetch(`${mirror}/dists/${codename}/main/binary-amd64/Packages.xz`);
  const packed = Buffer.from(await answer.arrayBuffer());
  const unpacking = promisify(execFile)("xz", ["-dc"], { maxBuffer: 1 << 28 });
  unpacking.child.stdin?.end(packed);
  const { stdout } = await unpacking;
  return [...stdout.matchAll(/^Package: (\S+-dkms)\n(?:.+\n)*?Version: (\S+)$/gm)]
    .map(([, name = "", version = ""]) => ({ name, version }))
    .filter(({ name }) => LEFT_OUT[name] === undefined)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
