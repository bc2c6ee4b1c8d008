/**
 * The documents of a registry: manifests of artifacts, indices of what is published, generations, channels.
 */

import { z } from "zod";
import { BuildRemarks, CompilerMismatch, Failure, OriginRecord, type Recipe } from "../builder/records.ts";
import { AnnotatedKernel } from "../catalog/annotated.ts";
import { type Catalog, CatalogSource, GuestTools } from "../catalog/catalog.ts";
import { VERDICT_WORDS, Verdict } from "../check/verdict.ts";
import { InputRecord } from "../inputs/input-record.ts";
import { ArchitectureName } from "../kernel/architecture.ts";
import { KernelFacts } from "../kernel/facts.ts";
import { isFilePath, PathSegment } from "../kernel/path-segment.ts";
import { Element, OutputPath } from "../matrix/element.ts";

/** Stands in the place of a recipe for what was not built here. */
interface ImportRecipe {
  readonly schema: "kmodfarm.import/1";
  readonly element: string;
  readonly modules: readonly { readonly name: string; readonly digest: string }[];
}

const Digest = z.templateLiteral(["sha256:", z.string().regex(/^[0-9a-f]{64}$/)]);
const NamedVersion = z.object({ name: z.string(), version: z.string() });

/** A file beside the modules, by its path in the driver's tree. */
const FilePath = z.string().refine(isFilePath, { error: "not a safe path" });
/** A file of a generation: a document, or an index in a folder of its own. */
const GenerationFile = z.string().regex(/^(index\/)?[A-Za-z0-9][A-Za-z0-9._+~-]{0,199}$/, {
  error: "not a file of a generation",
});
const GenerationNumber = z.int().positive().max(999_999_999);
const NamedFile = z.object({ path: FilePath, digest: Digest, size: z.int() });

/** Something among the blobs. */
export const Part = z.object({ digest: Digest, size: z.int() });
export type Part = z.infer<typeof Part>;

/** All that is known of one artifact. Holds no clock: the same build gives the same manifest. */
export const Manifest = z.object({
  /** The first version had reasons of verdicts without codes, as texts alone. */
  schema: z.enum(["kmodfarm.manifest/1", "kmodfarm.manifest/2"]),
  identity: z.object({
    driver: z.object({ name: PathSegment, version: PathSegment, source: Digest }),
    distribution: z.object({ id: z.string(), version: z.string(), release: PathSegment }),
    architecture: ArchitectureName,
    kernel: z.object({ release: PathSegment, packageVersion: z.string(), flavour: PathSegment }),
  }),
  /** What it was built by; of modules that somebody else built, only which they are. */
  recipe: z.custom<Recipe | ImportRecipe>((value) => typeof value === "object" && value !== null),
  recipeKey: Digest,
  modules: z.array(
    z.object({
      name: PathSegment,
      /** As it was built, without debugging information, and compressed, where the driver wants them so. */
      digests: z.object({ unsigned: Digest, stripped: Digest.optional(), compressed: Digest.optional() }),
      size: z.int(),
      /** Facts read from the module itself, as nodes get it. */
      witnesses: z.object({
        vermagic: z.string(),
        version: z.string().optional(),
        srcversion: z.string().optional(),
        license: z.string().optional(),
        depends: z.array(z.string()),
        buildId: z.string().optional(),
        buildSalt: z.string().optional(),
        compilers: z.array(z.string()),
      }),
    }),
  ),
  /** Firmware and what else the driver's patterns chose. */
  files: z.array(NamedFile).optional(),
  environment: z.object({
    /** What the recipe says. */
    declared: z.object({ compiler: z.string(), packages: z.array(NamedVersion) }),
    /** What the farm itself saw of the toolchain root, before the driver was there. */
    observed: z.object({ compiler: z.string(), packages: z.array(NamedVersion) }),
    /** What the kernel's own packages say of it; what they do not say is not there. */
    target: z.object({
      compiler: z.string(),
      compilerVersion: z.string().optional(),
      release: z.string().optional(),
      vermagic: z.string().optional(),
      buildSalt: z.string().optional(),
      configuration: Digest.optional(),
    }),
    /** The compiler was not the kernel's own: the nearest there was. */
    mismatch: CompilerMismatch.optional(),
  }),
  /** What the build said of it that cannot be seen in the modules. */
  remarks: BuildRemarks.optional(),
  /** All that a rebuild needs (registry/inputs.ts); earlier versions kept no such document. */
  inputs: Part.optional(),
  /** The same as a software bill of materials. */
  sbom: Part.optional(),
  verdicts: z.array(Verdict),
  log: z.object({ digest: Digest, size: z.int() }),
});
export type Manifest = z.infer<typeof Manifest>;

/** A signature for one of the keys that nodes enrol, in a file beside the module: what `sign-file` would append. */
const ModuleSignature = z.object({
  /** Of the certificate: how a node names the keys that it has. */
  keyId: z.string().regex(/^([0-9a-f]{2}){1,64}$/),
  /** The certificate itself, in DER, among the blobs: what admins enrol. */
  certificate: Digest,
  digest: Digest,
  size: z.int(),
});
export type ModuleSignature = z.infer<typeof ModuleSignature>;

/** More people than that need not say the same of one artifact. */
export const MOST_REBUILDS = 64;

/** One published artifact in an index: enough to find and check everything else. */
export const IndexEntry = z.object({
  driver: PathSegment,
  driverVersion: PathSegment,
  series: PathSegment,
  kversion: PathSegment,
  packageVersion: z.string(),
  flavour: PathSegment,
  output: OutputPath,
  recipe: Digest,
  manifest: Digest,
  /** What an earlier version wrote has no size of its manifest, nor of stripped modules. */
  manifestSize: z.int().optional(),
  modules: z.array(
    z.object({
      name: PathSegment,
      digest: Digest,
      size: z.int(),
      stripped: Digest.optional(),
      strippedSize: z.int().optional(),
      compressed: z.object({ file: PathSegment, digest: Digest }).optional(),
      /** Over the bytes that nodes insert: without debugging information, where there is such a one. */
      signatures: z.array(ModuleSignature).max(16).optional(),
    }),
  ),
  files: z.array(NamedFile).optional(),
  log: Digest,
  inputs: Part.optional(),
  sbom: Part.optional(),
  /**
   * Bundles with statements of how it was built. They are not in the manifest: a signature may be another one each time, and
   * the same build has the same manifest.
   */
  provenance: z.array(Part).max(16).optional(),
  /** Bundles with what others stated who built it again. */
  rebuilds: z.array(Part).max(MOST_REBUILDS).optional(),
  /** Why a candidate is not stable. */
  reasons: z.array(z.string()).optional(),
  /** What each check came to. */
  verdicts: z.partialRecord(z.string(), z.enum(VERDICT_WORDS)).optional(),
  /**
   * The policy that this was judged by, and the last day on which that holds: so long nobody need read the manifest to know
   * where the artifact stands. Absent where other artifacts decide too.
   */
  judged: z.object({ policy: Digest, until: z.iso.date().optional() }).optional(),
});
export type IndexEntry = z.infer<typeof IndexEntry>;

/** A kernel that modules serve which were built for another one, and proven to load on it. */
export const LoadsOn = z.object({
  kversion: PathSegment,
  packageVersion: z.string(),
  flavour: PathSegment,
  /** Whose modules: stable in the index of its own distribution release, of this architecture. */
  artifact: z.object({
    distribution: PathSegment,
    driver: PathSegment,
    output: OutputPath,
    recipe: Digest,
    manifest: Digest,
  }),
});
export type LoadsOn = z.infer<typeof LoadsOn>;

export const Index = z.object({
  schema: z.literal("kmodfarm.index/1"),
  distribution: PathSegment,
  architecture: ArchitectureName,
  stable: z.array(IndexEntry),
  candidate: z.array(IndexEntry),
  /** Kernels that nothing was built for, and what serves them. */
  loadsOn: z.array(LoadsOn).optional(),
});
export type Index = z.infer<typeof Index>;

/** A piece of all indices, one after the other: of the first and the last of them it may have only some lines. */
export const Indices = z.object({ schema: z.literal("kmodfarm.indices/1"), indices: z.array(Index) });
export type Indices = z.infer<typeof Indices>;

/** Which index it is: there is one for each distribution release and architecture. */
export function indexName({
  distribution,
  architecture,
}: Pick<Index, "distribution" | "architecture">): string {
  return `${distribution}.${architecture}`;
}

export function emptyIndex({
  distribution,
  architecture,
}: Pick<Index, "distribution" | "architecture">): Index {
  return { schema: "kmodfarm.index/1", distribution, architecture, stable: [], candidate: [] };
}

/** The last try at an element: what came of it, how long it took, what its log is. */
export const AttemptNote = z.object({
  element: z.string(),
  recipe: Digest.optional(),
  at: z.iso.datetime(),
  compiler: z.string(),
  /** Packages that did not come from their mirror at once. */
  inputs: z.array(InputRecord).optional(),
  mismatch: CompilerMismatch.optional(),
  /** Where the driver's source came from. */
  origin: OriginRecord.optional(),
  buildMs: z.int().optional(),
  load: z.object({ verdict: Verdict, bootMs: z.int().optional() }).optional(),
  /** Checks that keep it from being stable, one line each. */
  refusals: z.array(z.string()).optional(),
  /** Drivers that it needs and that were not stable; of what needs others and is not stable itself. */
  waitsFor: z.array(z.string()).optional(),
  /** Its kernel was still to come: it is judged again once users have it. */
  upcoming: z.literal(true).optional(),
  failure: Failure.extend({
    code: z.string(),
    blame: z.string(),
    /** How often this very recipe failed so; counted where nothing proves why. */
    tries: z.int().optional(),
  }).optional(),
  /** Of the build, or the error that there was instead; of what is stable its manifest names it. */
  log: Part.optional(),
  /** Of the load test. */
  console: Part.optional(),
});
export type AttemptNote = z.infer<typeof AttemptNote>;

export const Attempts = z.object({
  /** As in manifests, the first version had no codes of reasons. */
  schema: z.enum(["kmodfarm.attempts/1", "kmodfarm.attempts/2"]),
  attempts: z.array(AttemptNote),
});

/**
 * What is installed in the toolchain roots, by their names: recipes are known by it without a root, so that who has
 * nothing to build needs none.
 */
export const Roots = z.object({
  schema: z.literal("kmodfarm.roots/1"),
  roots: z.record(PathSegment, z.array(NamedVersion)),
});
type Roots = z.infer<typeof Roots>["roots"];

/** What names an artifact in decisions: the same recipe is the same artifact, whatever was found out about it since. */
const ArtifactName = z.object({ driver: PathSegment, output: OutputPath, recipe: Digest });

/** Something that was decided about an artifact, or found out about it: who, why, on what evidence. */
export const Decision = z.object({
  at: z.iso.datetime(),
  action: z.enum([
    ...(["promote", "refuse", "withdraw", "rollback", "import", "evidence", "reuse", "endReuse"] as const),
    "floor",
  ]),
  artifact: ArtifactName,
  /** The kernel that it is about, where that is another than its own. */
  kernel: z.string().optional(),
  by: z.string(),
  why: z.string(),
  /** The policy that it was decided by. */
  policy: Digest.optional(),
  /** The artifact's manifest then, with the verdicts that it rested on. */
  manifest: Digest.optional(),
  /** Nodes that have these modules must not load them again: what they insert, and the kernels that were given it. */
  denied: z.object({ modules: z.array(Digest), kernels: z.array(z.string()) }).optional(),
  /** The least version of the driver that nodes may still use. */
  floor: PathSegment.optional(),
  /** Those among the required that were no pass, and what was found out later. */
  verdicts: z.array(Verdict),
});
export type Decision = z.infer<typeof Decision>;

/** Oldest first; nothing is ever taken out. */
export const Decisions = z.object({
  /** As in manifests, the first version had no codes of reasons. */
  schema: z.enum(["kmodfarm.decisions/1", "kmodfarm.decisions/2"]),
  decisions: z.array(Decision),
});

/**
 * Kernels of one distribution release and architecture. Earlier versions noted here what they learned of them; that is read,
 * and never written.
 */
export const Kernels = z.object({
  schema: z.literal("kmodfarm.kernels/1"),
  kernels: z.array(AnnotatedKernel),
});

/** What is known of these kernels beside. */
export const Facts = z.object({ schema: z.literal("kmodfarm.facts/1"), facts: z.array(KernelFacts) });

/** Elements of one distribution release and architecture. */
export const Elements = z.object({ schema: z.literal("kmodfarm.elements/1"), elements: z.array(Element) });

/**
 * When something first happened to a driver series on a kernel. Nothing is ever taken out, and a time that is there stays:
 * attempts keep the last try alone.
 */
export const HistoryEntry = z.object({
  driver: PathSegment,
  series: PathSegment,
  /** `kernelName` */
  kernel: z.string(),
  built: z.iso.datetime().optional(),
  loaded: z.iso.datetime().optional(),
  stable: z.iso.datetime().optional(),
  /** Withdrawn, rolled back, or not served to this kernel any more. */
  takenBack: z.iso.datetime().optional(),
  /** A node was seen that runs the kernel. */
  node: z.iso.datetime().optional(),
});
export type HistoryEntry = z.infer<typeof HistoryEntry>;

export const History = z.object({
  schema: z.literal("kmodfarm.history/1"),
  history: z.array(HistoryEntry),
});

const BadRecords = z.object({ reason: z.string(), count: z.int(), first: z.string() });

/** What a feed said when it last said something else than before. */
export const FeedNote = z.object({
  name: z.string().min(1).max(200),
  kind: z.string().min(1).max(50),
  from: z.string().max(2000),
  /** What tells its bytes from any others: nothing is read again as long as this is the same. */
  source: z.string().max(200),
  /** When it was read. */
  at: z.iso.datetime(),
  /** The feed's own date: what happened later it cannot know. */
  date: z.iso.date().optional(),
  licence: z.string().max(500),
  records: z.int(),
  bad: z.array(BadRecords).max(100),
  /** Its records, one a line. */
  content: Part,
});
export type FeedNote = z.infer<typeof FeedNote>;

export const Feeds = z.object({ schema: z.literal("kmodfarm.feeds/1"), feeds: z.array(FeedNote) });

const ToldMessage = z.object({
  /** What whoever receives it knows it by: it comes again as it is, or not at all. */
  id: z.string().regex(/^[0-9a-f]{32}$/),
  lane: z.enum(["urgent", "digest"]),
  day: z.iso.date(),
  at: z.iso.datetime(),
  /** Who has not had it yet. */
  waits: z.array(z.string().max(200)).max(100),
  /** Who is delivering it, and for how long others leave it alone. */
  claim: z.object({ by: z.string().max(100), until: z.iso.datetime() }).optional(),
  /** What is delivered, as long as somebody waits for it. */
  body: z
    .string()
    .max(4 << 20)
    .optional(),
});
export type ToldMessage = z.infer<typeof ToldMessage>;

/** What people were told, and what is on its way to them. */
export const Told = z.object({
  schema: z.literal("kmodfarm.told/1"),
  /** Of everything that was put into a message. */
  keys: z.array(z.string().max(1000)),
  /** Oldest first. */
  messages: z.array(ToldMessage),
});
export type Told = z.infer<typeof Told>;

export const NOTHING_TOLD: Told = { schema: "kmodfarm.told/1", keys: [], messages: [] };

/** What the catalog knows beside kernels: who was asked, and the userland of guests. */
export const Sources = z.object({
  schema: z.literal("kmodfarm.sources/1"),
  sources: z.array(CatalogSource),
  guests: z.array(GuestTools),
});

/** SHA-256 of a tree of modules, hexadecimal. */
const TreeHash = z.string().regex(/^[0-9a-f]{64}$/);

/**
 * Modules that the set of a driver's release gained at once. Its root is over these and all before them; their proofs are
 * made for it and never change.
 */
export const Edition = z.object({
  driver: PathSegment,
  version: PathSegment,
  /** From 1. */
  edition: z.int().positive(),
  /** How many decisions there were: where it stands in the log. */
  after: z.int().nonnegative(),
  /** Modules of the set so far. */
  count: z.int().positive(),
  levels: z.int().positive().max(32),
  root: TreeHash,
  /** In their order, which goes on from the edition before. */
  places: z
    .array(
      z.object({
        manifest: Digest,
        module: PathSegment,
        /** Of the bytes that nodes insert. */
        digest: Digest,
        leaf: TreeHash,
        /** The file NAME.ko.merkle. */
        proof: Digest,
      }),
    )
    .min(1),
});
export type Edition = z.infer<typeof Edition>;

export const Sets = z.object({
  schema: z.literal("kmodfarm.set/1"),
  format: z.literal("linux-merkle-v5"),
  /** As nodes insert them: without debugging information, where there are such ones. */
  form: z.literal("inserted"),
  editions: z.array(Edition),
});

/**
 * A part of a generation, a document of its own among the blobs, so that what did not change is neither written nor read
 * again: `matrix/0c1f6e0d9f0a1b2c`, `decisions/3`, `roots`; an earlier version's `index/debian12.x86_64`.
 */
const PartName = z
  .string()
  .regex(
    /^((index|indices|matrix|attempts|kernels|facts|history)\/[A-Za-z0-9][A-Za-z0-9._+~-]{0,199}|(decisions|sets)\/\d{1,9}|sources|roots|feeds|told)$/,
    {
      error: "not a part of a generation",
    },
  );

/** Who made a generation: a person and a command, `ann` and `promote`. */
const Maker = z.object({ who: z.string(), what: z.string() });

/** What is otherwise than in the parent, in numbers. */
const Difference = z.object({
  stable: z.object({ added: z.int(), changed: z.int(), removed: z.int() }),
  candidates: z.object({ added: z.int(), changed: z.int(), removed: z.int() }),
  attempts: z.int(),
  kernels: z.int(),
  /** Kernels of which something was learned; the first generations with parts did not say. */
  facts: z.int().optional(),
  decisions: z.int(),
  /** Feeds that say something else. */
  feeds: z.int().optional(),
});
export type Difference = z.infer<typeof Difference>;

/** A generation is published by the creation of this document, and by nothing else. */
export const Generation = z.object({
  schema: z.literal("kmodfarm.generation/2"),
  number: GenerationNumber,
  parent: z.object({ number: GenerationNumber, digest: Digest }).nullable(),
  publishedAt: z.iso.datetime(),
  by: Maker,
  difference: Difference,
  parts: z.record(PartName, Part),
});
export type Generation = z.infer<typeof Generation>;

/** As earlier versions wrote it: every generation had all of its documents below it. Read, and never written. */
export const WholeGeneration = z.object({
  schema: z.literal("kmodfarm.generation/1"),
  number: GenerationNumber,
  parent: z.object({ number: GenerationNumber, digest: Digest }).nullable(),
  publishedAt: z.iso.datetime(),
  /** Path below the generation → digest. */
  files: z.record(GenerationFile, Digest),
});

export const ChannelName = z.enum(["candidate", "stable"]);
export type ChannelName = z.infer<typeof ChannelName>;

/** Where readers begin: this generation, or one after it. The only document that is ever overwritten. */
export const Channel = z.object({
  schema: z.literal("kmodfarm.channel/1"),
  channel: ChannelName,
  generation: GenerationNumber,
  digest: Digest,
});
export type Channel = z.infer<typeof Channel>;

/** Number and digest of a generation. */
export interface Head {
  readonly number: number;
  readonly digest: z.infer<typeof Digest>;
}

/** One complete published state. */
export interface Published {
  /** Its generation; null before the first. */
  readonly head: Head | null;
  /** Where the store has its parts; none for what is not published as it is. */
  readonly parts: Readonly<Record<string, Part>>;
  readonly catalog: Catalog;
  /** What was learned of kernels, in the order of their names. */
  readonly facts: readonly KernelFacts[];
  /** Elements whose outcome is settled: published, or failed by their own fault. */
  readonly matrix: readonly Element[];
  readonly attempts: readonly AttemptNote[];
  readonly indices: readonly Index[];
  readonly roots: Readonly<Roots>;
  readonly decisions: readonly Decision[];
  /** In the order of drivers, series and kernels. */
  readonly history: readonly HistoryEntry[];
  /** In the order of their names. */
  readonly feeds: readonly FeedNote[];
  readonly told: Told;
  /** Of every driver's releases, oldest first; nothing is ever taken out. */
  readonly editions: readonly Edition[];
}
