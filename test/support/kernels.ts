/** Packages, kernels and catalogs as the sources of a farm would give them, with only what a test says different. */
import { createHash } from "node:crypto";
import type { Catalog, CatalogKernel, CatalogSource } from "../../src/catalog/catalog.ts";
import type { ListedKernel, ListedPackage } from "../../src/kernel/distributions/distribution.ts";
import type { Package } from "../../src/kernel/kernel.ts";

/** A package whose digest and path follow from its name, version and architecture. */
export function makePackage(changes: Partial<Package> & Pick<Package, "name">): Package {
  const { name } = changes;
  const version = changes.version ?? "6.1.170-3";
  const architecture = changes.architecture ?? "x86_64";
  const suffix = { x86_64: "amd64", aarch64: "arm64", all: "all" }[architecture];
  return {
    version,
    architecture,
    sha256: createHash("sha256").update(`${name} ${version} ${architecture}`).digest("hex"),
    size: 1000,
    source: "debian/bookworm",
    path: `pool/main/l/linux/${name}_${version.replace(/^\d+:/, "")}_${suffix}.deb`,
    ...changes,
  };
}

export function makeListedPackage(changes: Partial<ListedPackage> & Pick<Package, "name">): ListedPackage {
  const { depends = "", ...rest } = changes;
  return { ...makePackage(rest), depends };
}

/** A kernel as an index lists it, with header packages, build tools, image and modules to its name. */
export function makeListedKernel(changes: Partial<ListedKernel> = {}): ListedKernel {
  const kversion = changes.kversion ?? "6.1.0-56-amd64";
  const architecture = changes.architecture ?? "x86_64";
  const version = changes.packageVersion ?? "6.1.170-3";
  const source = changes.sources?.[0] ?? "debian/bookworm";
  const image = makePackage({ name: `linux-image-${kversion}`, version, architecture, source });
  const other = architecture === "x86_64" ? "aarch64" : "x86_64";
  return {
    kversion,
    packageVersion: version,
    architecture,
    flavour: "generic",
    compiler: { family: "gcc", version: "12", source: "package" },
    packages: {
      headers: [
        makePackage({ name: `linux-headers-${kversion}`, version, architecture, source }),
        makePackage({ name: "linux-kbuild-6.1", version, architecture, source }),
      ],
      crossTools: [makePackage({ name: "linux-kbuild-6.1", version, architecture: other, source })],
      image: [image],
      modules: [image],
    },
    missing: [],
    sources: [source],
    ...changes,
  };
}

/** A kernel as the catalog remembers it. */
export function makeKernel(
  changes: Partial<CatalogKernel> & Pick<Partial<ListedKernel>, "kversion"> = {},
): CatalogKernel {
  const {
    missing: _,
    compiler,
    ...listed
  } = makeListedKernel({
    kversion: changes.kversion ?? "6.1.0-56-amd64",
    ...(changes.architecture === undefined ? {} : { architecture: changes.architecture }),
    ...(changes.packageVersion === undefined ? {} : { packageVersion: changes.packageVersion }),
    ...(changes.sources === undefined ? {} : { sources: changes.sources }),
  });
  return {
    ...listed,
    packages: {
      headers: [...listed.packages.headers],
      crossTools: [...listed.packages.crossTools],
      image: [...listed.packages.image],
      modules: [...listed.packages.modules],
    },
    sources: [...listed.sources],
    ...(compiler === undefined ? {} : { compiler }),
    distribution: "debian12",
    firstSeen: "2026-01-01T00:00:00.000Z",
    lastSeen: "2026-01-01T00:00:00.000Z",
    ...changes,
  };
}

/** A source that is well. */
export function makeSource(changes: Partial<CatalogSource> = {}): CatalogSource {
  return {
    id: "debian/bookworm",
    kind: "apt",
    distribution: "debian12",
    url: "http://mirror.example/debian",
    status: "ok",
    checkedAt: "2026-01-01T00:00:00.000Z",
    metadataDate: "2026-01-01T00:00:00.000Z",
    kernels: {},
    cadence: [],
    ...changes,
  };
}

export function makeCatalog(
  kernels: readonly CatalogKernel[],
  sources: readonly CatalogSource[] = [makeSource()],
): Catalog {
  return { schema: "kmodfarm.catalog/1", sources: [...sources], guests: [], kernels: [...kernels] };
}

/** Of several releases, architectures and flavours. */
export const KERNELS = [
  makeKernel({ kversion: "5.10.0-35-amd64", distribution: "debian11" }),
  makeKernel({ kversion: "6.1.0-55-amd64", packageVersion: "6.1.160-1" }),
  makeKernel({ kversion: "6.1.0-56-amd64" }),
  makeKernel({ kversion: "6.1.0-56-cloud-amd64", flavour: "cloud" }),
  makeKernel({ kversion: "6.1.0-56-arm64", architecture: "aarch64" }),
  makeKernel({ kversion: "6.12.30-amd64", distribution: "debian13" }),
  makeKernel({ kversion: "7.1.3-amd64", distribution: "debiansid" }),
  makeKernel({ kversion: "5.10.230-1.amzn2.x86_64", distribution: "amazonlinux2" }),
];
