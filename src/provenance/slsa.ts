/**
 * SLSA's build provenance, version 1, as kmodfarm's own type of build fills it in (docs/buildtype.md): what was asked
 * for, of what it was made, and who made it. Source: slsa.dev/spec/v1.1/provenance, and in-toto's ResourceDescriptor.
 */
import { z } from "zod";
import type { Digest } from "../base/json.ts";
import { ArchitectureName } from "../kernel/architecture.ts";
import { PathSegment } from "../kernel/path-segment.ts";

export const PREDICATE_TYPE = "https://slsa.dev/provenance/v1";
export const BUILD_TYPE = "urn:kmodfarm:buildtype:v1";

/** Of one line, and not endless: it is shown to people. */
export const Text = z
  .string()
  .min(1)
  .max(2048)
  .regex(/^\P{Cc}*$/u, { error: "has control characters" });
/** A URI; also what names a builder. */
export const Uri = Text.regex(/^[A-Za-z][A-Za-z0-9+.-]*:\S+$/, { error: "is not a URI" });
export const Sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, { error: "is not 64 lower-case hexadecimal digits" });
export const TreeDigest = z.templateLiteral(["sha256:", Sha256]);
const MOST_DESCRIPTORS = 5000;

/** Other algorithms may stand beside; nothing is ever matched by them. */
const DigestSet = z.object({ sha256: Sha256.optional() }).catchall(z.string().regex(/^[0-9a-f]+$/));

const Descriptor = z
  .strictObject({
    name: Text.optional(),
    uri: Uri.optional(),
    digest: DigestSet.optional(),
    content: z.base64().optional(),
    downloadLocation: Uri.optional(),
    mediaType: Text.optional(),
    annotations: z.record(Text, z.json()).optional(),
  })
  .refine(({ uri, digest, content }) => (uri ?? digest ?? content) !== undefined, {
    error: "has neither uri nor digest nor content",
  });
export type Descriptor = z.infer<typeof Descriptor>;
export const Descriptors = z.array(Descriptor).max(MOST_DESCRIPTORS);

/** What was asked for. A reader compares all of it, so nothing else may stand here. */
const ExternalParameters = z.strictObject({
  driver: z.strictObject({ name: PathSegment, version: PathSegment, source: TreeDigest }),
  target: z.strictObject({
    distribution: Text,
    release: PathSegment,
    architecture: ArchitectureName,
    kernelRelease: PathSegment,
    packageVersion: Text,
    flavour: PathSegment,
  }),
});
export type ExternalParameters = z.infer<typeof ExternalParameters>;

/** Only the standard's fields: cosign refuses unknown ones, and so does this. */
export const BuildProvenance = z.strictObject({
  buildDefinition: z.strictObject({
    buildType: z.literal(BUILD_TYPE),
    externalParameters: ExternalParameters,
    internalParameters: z.record(Text, z.json()).optional(),
    resolvedDependencies: Descriptors.optional(),
  }),
  runDetails: z.strictObject({
    builder: z.strictObject({
      id: Uri,
      version: z.record(Text, Text).optional(),
      builderDependencies: Descriptors.optional(),
    }),
    metadata: z
      .strictObject({
        invocationId: Text.optional(),
        startedOn: z.iso.datetime().optional(),
        finishedOn: z.iso.datetime().optional(),
      })
      .refine(
        ({ startedOn, finishedOn }) =>
          startedOn === undefined ||
          finishedOn === undefined ||
          Date.parse(startedOn) <= Date.parse(finishedOn),
        { error: "it ended before it began" },
      )
      .optional(),
    byproducts: Descriptors.optional(),
  }),
});
export type BuildProvenance = z.infer<typeof BuildProvenance>;

/** Which driver for which kernel: as manifests have it. */
export interface BuiltIdentity {
  readonly driver: { readonly name: string; readonly version: string; readonly source: Digest };
  readonly distribution: { readonly id: string; readonly release: string };
  readonly architecture: ArchitectureName;
  readonly kernel: { readonly release: string; readonly packageVersion: string; readonly flavour: string };
}

export function externalParametersOf({
  driver: { name, version, source },
  distribution: { id: distribution, release },
  architecture,
  kernel: { release: kernelRelease, packageVersion, flavour },
}: BuiltIdentity): ExternalParameters {
  return {
    driver: { name, version, source },
    target: { distribution, release, architecture, kernelRelease, packageVersion, flavour },
  };
}
