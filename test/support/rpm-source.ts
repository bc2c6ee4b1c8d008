/** Sources of rpm repositories as a catalog would look at them, and what is in them. */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, onTestFinished } from "vitest";
import { Http } from "../../src/base/http.ts";
import { openScratch } from "../../src/base/scratch.ts";
import type { RpmSource } from "../../src/catalog/rpm-md.ts";
import type { SourceAnswer, SourceContext } from "../../src/catalog/source.ts";
import { almalinux } from "../../src/kernel/distributions/almalinux.ts";
import type { ListedKernel, RpmDistribution } from "../../src/kernel/distributions/distribution.ts";
import { buildRpms, createRepository } from "./rpm-repository.ts";
import { sharedDirectory, temporaryDirectory } from "./temporary.ts";

export const EVR = "5.14.0-427.13.1.el9_4";
export const REVISION = 1_770_000_000;
const UPDATEINFO = `<?xml version="1.0"?><updates><update type="security"><id>ALSA-2026:1</id></update></updates>`;

/** Builds the packages for the tests of one file: AlmaLinux for two architectures, Amazon Linux. */
export function makeRpmRepositories() {
  const built = sharedDirectory();
  beforeAll(() => {
    const uname = (suffix = "", architecture = "x86_64") => `${EVR}.${architecture}${suffix}`;
    buildRpms(join(built, "alma"), {
      evr: EVR,
      architecture: "x86_64",
      packages: [
        { name: "kernel-devel", release: uname() },
        { name: "kernel" },
        { name: "kernel-core" },
        { name: "kernel-modules-core" },
        { name: "kernel-rt-devel", release: uname("+rt") },
        { name: "kernel-rt-core" },
        { name: "kernel-headers" },
        { name: "kernel-devel-matched" },
        { name: "bash" },
      ],
    });
    buildRpms(join(built, "alma-arm"), {
      evr: EVR,
      architecture: "aarch64",
      packages: [
        { name: "kernel-64k-devel", release: uname("+64k", "aarch64") },
        { name: "kernel-64k-core" },
      ],
    });
    buildRpms(join(built, "amazon"), {
      evr: "6.1.102-108.177.amzn2023",
      architecture: "x86_64",
      packages: [{ name: "kernel-devel", release: "6.1.102-108.177.amzn2023.x86_64" }, { name: "kernel" }],
    });
    buildRpms(join(built, "amazon"), {
      evr: "6.12.25-32.101.amzn2023",
      architecture: "x86_64",
      packages: [{ name: "kernel6.12-devel" }, { name: "kernel6.12" }],
    });
  });
  return {
    /** The built packages. */
    directoryOf: (name: string) => join(built, name),
    /** A repository of them, made anew: path → bytes. */
    repositoryOf: async (name: string, options: Parameters<typeof createRepository>[1] = {}) => {
      const directory = await temporaryDirectory();
      cpSync(join(built, name), directory, { recursive: true });
      return createRepository(directory, { revision: REVISION, updateinfo: UPDATEINFO, ...options });
    },
  };
}

export async function openContext(http = new Http({ retries: 1, firstDelayMs: 1 })): Promise<SourceContext> {
  const cache = await temporaryDirectory();
  onTestFinished(() => http.close());
  return { http, cache, scratch: await openScratch(join(cache, "tmp")) };
}

export function sourceAt(url: string, changes: Partial<RpmSource> = {}): RpmSource {
  return {
    kind: "rpm-md",
    id: "almalinux9.4/BaseOS/x86_64",
    distribution: almalinux,
    release: "almalinux9.4",
    architectures: ["x86_64"],
    location: { kind: "baseurl", urls: [url] },
    acceptExpired: false,
    isRequired: false,
    ...changes,
  };
}

export function kernelsIn(answer: SourceAnswer, distribution: RpmDistribution = almalinux): ListedKernel[] {
  return answer.kind === "read" ? distribution.kernelsOf(answer.packages) : [];
}
