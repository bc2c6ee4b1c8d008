/**
 * What a kernel release (`uname -r`) says by its form alone: upstream version, build, architecture, flavour.
 */
import { ARCHITECTURES, type ArchitectureName } from "./architecture.ts";

export interface KernelRelease {
  /** `5.14.0`: the part that kernel.org gave it. */
  readonly upstream: string;
  /** `5.14` */
  readonly series: string;
  /** The distribution's own number: `362.13.1.el9_3`, `1021`, `0.deb11.4`; empty where it has none. */
  readonly build: string;
  readonly architecture: ArchitectureName | undefined;
  /** generic, cloud, rt, 16k, or the distribution's own word. */
  readonly flavour: string;
  /** `20.04` of `5.15.0-1011-gke~20.04`: some lists put Ubuntu's version behind the release. */
  readonly suite: string | undefined;
}

const UPSTREAM = /^(\d{1,4}\.\d{1,4})(?:\.\d{1,6}){0,2}(?:[-~]rc\d{1,3})?(?![\d.]*\.\d)/;
const RPM = /^[-.]([^+]*)\.(x86_64|aarch64)(?:[+._]([A-Za-z0-9][A-Za-z0-9._+-]*))?$/;
const DEBIAN = /^(?:([+.][^-]*)?(?:-(\d[^-]*))?)-(?:([a-z][a-z0-9-]*)-)?(amd64|arm64)(?:-(.+))?$/;
const OTHER = /^(?:[-+.]?(\d[^-~]*|(?:arch|zen|hardened)\d+-\d+))?(?:-([A-Za-z][^~]*))?(?:~(\d\d\.\d\d))?$/;

/** Undefined for what is no kernel release at all; never throws, and takes linear time. */
export function parseKernelRelease(release: string): KernelRelease | undefined {
  if (release.length > 128) return undefined;
  const upstream = UPSTREAM.exec(release);
  if (upstream === null) return undefined;
  const base = { upstream: upstream[0], series: upstream[1] as string, suite: undefined };
  const rest = release.slice(upstream[0].length);
  const rpm = RPM.exec(rest);
  if (rpm !== null) {
    const [, build = "", machine, word] = rpm;
    return { ...base, build, architecture: machine as ArchitectureName, flavour: word ?? rpmFlavour(build) };
  }
  const debian = DEBIAN.exec(rest);
  if (debian !== null) {
    const [, local = "", abi, before, machine, after] = debian;
    const architecture = ARCHITECTURES.find((known) => known.debian === machine)?.name;
    const flavour = [before, after].filter((word) => word !== undefined).join("-") || "generic";
    return { ...base, build: abi ?? local.slice(1), architecture, flavour };
  }
  const other = OTHER.exec(rest);
  const [, build = other === null ? rest : "", word, suite] = other ?? [];
  return { ...base, build, architecture: undefined, flavour: word ?? "generic", suite };
}

/** Where the release part names a flavour: `5.4.17-2011.el8uek`, `4.18.0-147.rt24.93.el8`. */
function rpmFlavour(build: string): string {
  if (/uek$/.test(build)) return "uek";
  return /(?:^|\.)rt\d/.test(build) ? "rt" : "generic";
}
