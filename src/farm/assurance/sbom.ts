/**
 * What an artifact is made of, as a software bill of materials: CycloneDX 1.6, of the very inputs that the registry keeps.
 * The same build has the same bill, byte for byte: it holds no clock, and its number follows from what it lists.
 * Source: cyclonedx.org/docs/1.6/json.
 */
import { Enums, Models, Serialize, Spec } from "@cyclonedx/cyclonedx-library";
import { PackageURL } from "packageurl-js";
import { canonicalJson, type Digest, digestOf, hexOf } from "../../base/json.ts";
import { purl as packageUrl } from "../../provenance/build.ts";
import type { StatedModule } from "../../provenance/statement.ts";
import type { BuildInputs, InputPackage, ToolchainInputs } from "../../registry/inputs.ts";

export interface BilledArtifact {
  readonly recipeKey: Digest;
  readonly modules: readonly StatedModule[];
  readonly inputs: BuildInputs;
  readonly toolchain: ToolchainInputs;
}

/** The bill's text. */
export function sbomOf({ recipeKey, modules, inputs, toolchain }: BilledArtifact): string {
  const { driver, element, headers } = inputs;
  const product = component(Enums.ComponentType.DeviceDriver, driver.name, {
    ref: "driver",
    version: driver.version,
    properties: {
      "kmodfarm:recipe": recipeKey,
      "kmodfarm:kernel": element.kversion,
      "kmodfarm:kernelPackage": element.packageVersion,
      "kmodfarm:distribution": element.distribution,
      "kmodfarm:architecture": element.architecture,
    },
  });
  const made = modules.map(({ name, digest, stripped }) =>
    component(Enums.ComponentType.File, `${name}.ko`, {
      ref: `module/${name}`,
      sha256: hexOf(stripped ?? digest),
    }),
  );
  const sources = [driver, ...driver.needed].map(({ name, version, source }) =>
    component(Enums.ComponentType.File, `${name} source`, {
      ref: `source/${name}`,
      ...{ version, sha256: hexOf(source.archive.digest) },
      properties: { "kmodfarm:tree": source.tree },
    }),
  );
  const kernel = headers.map((one) => packaged(one, "headers", element.distribution));
  const tools = toolchain.packages.map((one) => packaged(one, "toolchain", toolchain.release));
  // What only ran while it was built is no part of what nodes load.
  for (const tool of tools) tool.scope = Enums.ComponentScope.Excluded;
  for (const one of made) product.components.add(one);
  for (const one of [...sources, ...kernel, ...tools]) product.dependencies.add(one.bomRef);
  const bom = new Models.Bom({
    version: 1,
    serialNumber: serialOf([recipeKey, modules.map((one) => ({ ...one })), inputs]),
    metadata: new Models.Metadata({ component: product }),
    components: new Models.ComponentRepository([...sources, ...kernel, ...tools]),
  });
  const serializer = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6));
  return `${canonicalJson(JSON.parse(serializer.serialize(bom, { sortLists: true })))}\n`;
}

interface Described {
  readonly ref: string;
  readonly version?: string;
  readonly sha256?: string;
  readonly purl?: string;
  readonly properties?: Readonly<Record<string, string>>;
}

function component(
  type: Enums.ComponentType,
  name: string,
  { ref, version, sha256, purl, properties = {} }: Described,
): Models.Component {
  const made = new Models.Component(type, name, {
    bomRef: ref,
    hashes: new Models.HashDictionary(sha256 === undefined ? [] : [[Enums.HashAlgorithm["SHA-256"], sha256]]),
    properties: new Models.PropertyRepository(
      Object.entries(properties).map(([key, value]) => new Models.Property(key, value)),
    ),
  });
  if (version !== undefined) made.version = version;
  if (purl !== undefined) made.purl = PackageURL.fromString(purl) as never;
  return made;
}

function packaged(
  { name, version, architecture, sha256 }: InputPackage,
  kind: "headers" | "toolchain",
  release: string,
): Models.Component {
  return component(Enums.ComponentType.Library, name, {
    ref: `${kind}/${name}/${architecture}/${sha256.slice(0, 16)}`,
    ...{ version, sha256, purl: packageUrl(release, name, version) },
    properties: { "kmodfarm:role": kind, "kmodfarm:architecture": architecture },
  });
}

/** A UUID of no clock and no chance (RFC 9562, version 8): of the same content the same one. */
function serialOf(content: unknown): string {
  const hex = hexOf(digestOf(content));
  const variant = ((Number.parseInt(hex[16] ?? "0", 16) & 3) | 8).toString(16);
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
  ];
  return `urn:uuid:${[...parts, hex.slice(20, 32)].join("-")}`;
}
