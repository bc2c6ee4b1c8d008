/** Roots of Debian releases in directories, with apt and whatever packages a test wants in them; made once. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";

export interface RootSettings {
  readonly codename: string;
  /** Lines of a sources.list. */
  readonly sources: readonly string[];
  /** `extract`: its packages' files alone. */
  readonly variant: "essential" | "apt" | "extract";
  readonly packages: readonly string[];
  /** Patterns of paths that packages do not unpack. */
  readonly without?: readonly string[];
}

/** Makes a root, unless it is there. */
export async function debianRoot(place: string, settings: RootSettings): Promise<string> {
  if (existsSync(place)) return place;
  const { codename, sources, variant, packages, without = [] } = settings;
  const temporary = `${place}.part`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(dirname(place), { recursive: true });
  await promisify(execFile)(
    "mmdebstrap",
    [
      ...["--quiet", "--mode=root", "--format=directory", `--variant=${variant}`],
      ...without.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
      // Who loses a root makes it anew.
      "--dpkgopt=force-unsafe-io",
      ...['--aptopt=Acquire::Languages "none"', "--skip=cleanup/apt", `--include=${packages.join(",")}`],
      ...["--keyring=/usr/share/keyrings/debian-archive-keyring.gpg", codename, temporary, ...sources],
    ],
    { maxBuffer: 1 << 26 },
  );
  await rename(temporary, place);
  return place;
}
