/**
 * The family of package formats: what building must know of each, and the way from a package to its own.
 */
import type { Readable } from "node:stream";
import { FarmError } from "../base/error.ts";
import type { Package } from "../kernel/kernel.ts";
import type { Keeping, PackageFile } from "./byte-reader.ts";
import { readDebFiles } from "./deb-stream.ts";
import { readRpmFiles } from "./rpm-stream.ts";

export interface PackageFormat {
  readonly name: "deb" | "rpm";
  /** How names of its files end. */
  readonly ending: string;
  /** The distribution's own tool: reads a package, writes its files as a tar archive. */
  readonly toTar: readonly string[];
  /** Where its distributions keep what a driver for a kernel is built against. */
  readonly headersDirectory: (kversion: string) => string;
  /** Takes single files out of a package that flies by. */
  readonly readFiles: (
    body: Readable,
    isWanted: (path: string) => boolean,
    isEnough: (found: readonly PackageFile[]) => boolean,
    keeping?: Keeping,
  ) => Promise<readonly PackageFile[]>;
}

const PACKAGE_FORMATS: readonly PackageFormat[] = [
  {
    name: "deb",
    ending: ".deb",
    toTar: ["dpkg-deb", "--fsys-tarfile", "-"],
    headersDirectory: (kversion) => `/usr/src/linux-headers-${kversion}`,
    readFiles: readDebFiles,
  },
  {
    name: "rpm",
    ending: ".rpm",
    toTar: ["rpm2archive", "--nocompression", "-"],
    headersDirectory: (kversion) => `/usr/src/kernels/${kversion}`,
    readFiles: readRpmFiles,
  },
];

/** @throws FarmError PACKAGE_MALFORMED for what is of no format that we can unpack */
export function packageFormat({
  name,
  version,
  path,
}: Pick<Package, "name" | "version" | "path">): PackageFormat {
  const file = path.replace(/[?#].*$/, "");
  const found = PACKAGE_FORMATS.find(({ ending }) => file.endsWith(ending));
  if (found !== undefined) return found;
  throw new FarmError("PACKAGE_MALFORMED", {
    detail: `${name} ${version} (${path}) is neither ${PACKAGE_FORMATS.map(({ ending }) => ending).join(" nor ")}`,
  });
}
