/** The kernels of a catalog as the gap's rules want them. */
import type { CatalogKernel } from "../../catalog/catalog.ts";
import type { Target } from "../../gap/target.ts";
import { baseOf, baseProof } from "../../kernel/base.ts";
import { findRelease, versionOrder } from "../../kernel/distributions/index.ts";
import { factsOf, type KnownFacts } from "../../kernel/facts.ts";
import { kernelName } from "../../kernel/kernel.ts";
import { parseUpstreamVersion, type UpstreamVersion } from "../../kernel/upstream-version.ts";

export function targetOf(kernel: CatalogKernel, known: KnownFacts): Target {
  const { distribution, packageVersion } = kernel;
  const learned = factsOf(known, kernel);
  const base = baseOf(kernel, learned);
  const version = base === undefined ? undefined : parseUpstreamVersion(base.version);
  const others = (base?.disputed ?? []).flatMap((claim): UpstreamVersion[] => {
    const other = parseUpstreamVersion(claim.version);
    return other === undefined ? [] : [other];
  });
  // Uploaded is before listed, and both are before we saw it.
  const day = learned.changelog?.uploaded ?? (kernel.firstListed ?? kernel.firstSeen).slice(0, 10);
  return {
    ...{ name: kernelName(kernel), distribution, packageVersion, day },
    packages: packagesOf(kernel, learned.changelog?.source),
    ...(version === undefined ? {} : { base: version }),
    ...(others.length === 0 ? {} : { otherBases: others }),
    proof: baseProof(distribution),
    compareVersions: versionOrder(distribution),
  };
}

/** Debian's and Ubuntu's advisories name the source package, those of rpm distributions the binary ones. */
function packagesOf(
  { distribution, flavour, packages }: CatalogKernel,
  source: string | undefined,
): string[] {
  if (findRelease(distribution)?.format !== "rpm") return [source ?? "linux"];
  const names = [...packages.headers, ...packages.image, ...packages.modules].map(({ name }) => name);
  return [...new Set(["kernel", ...(flavour === "generic" ? [] : [`kernel-${flavour}`]), ...names])];
}
