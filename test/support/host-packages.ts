/** Debian packages that tests compare with, fetched as this machine's apt does it and unpacked, not installed. */
import { execFileSync } from "node:child_process";
import { globSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { sharedDirectory } from "./temporary.ts";

/** The directory that holds what would be below `/`. */
export function hostPackages(...names: readonly string[]): string {
  const directory = sharedDirectory();
  const root = join(directory, "root");
  mkdirSync(root);
  execFileSync("apt-get", ["download", "--quiet", ...names], { cwd: directory, stdio: "pipe" });
  for (const file of globSync("*.deb", { cwd: directory }))
    execFileSync("dpkg-deb", ["-x", join(directory, file), root], { stdio: "pipe" });
  return root;
}
