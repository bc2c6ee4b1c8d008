/**
 * Orders and hand-overs: all that travels between who plans and who works. Neither holds a path of a machine, a place of
 * the store, or a credential.
 */
import { z } from "zod";
import { type Digest, digestOf } from "../../base/json.ts";
import { BuildWords } from "../../builder/driver-words.ts";
import { LoadSettings } from "../../builder/load-settings.ts";
import { AttemptRecord, CompilerMismatch, type Recipe } from "../../builder/records.ts";
import { RootCompiler } from "../../builder/toolchains/root-record.ts";
import { Verdict } from "../../check/verdict.ts";
import { ArchitectureName } from "../../kernel/architecture.ts";
import { Package } from "../../kernel/kernel.ts";
import { PathSegment } from "../../kernel/path-segment.ts";
import { Element } from "../../matrix/element.ts";

const Sha256 = z.templateLiteral(["sha256:", z.string().regex(/^[0-9a-f]{64}$/)]);

/** Bytes by their digest. */
export const Bytes = z.strictObject({ digest: Sha256, size: z.int().nonnegative() });
export type Bytes = z.infer<typeof Bytes>;

/** A source tree: its own digest, and a tar archive of it. */
const Source = z.strictObject({ tree: Sha256, archive: Bytes });

const Module = z.strictObject({ name: PathSegment, ...Bytes.shape });

/** What one build may take of a machine; sizes in bytes. */
const Limits = z.strictObject({
  // As a configuration may say it: a timer of more is over at once.
  minutes: z.number().positive().max(10_000),
  memory: z.int().positive(),
  processes: z.int().positive(),
  disk: z.int().positive(),
  output: z.int().positive(),
  artifact: z.int().positive(),
});

/** The very root that is built in. `digest` is of its content. */
const Toolchain = z.strictObject({
  name: PathSegment,
  digest: Sha256,
  archive: Bytes,
  compiler: RootCompiler,
  /** What the compiler for the target says of itself. */
  says: z.string(),
  mismatch: CompilerMismatch.optional(),
});

const common = {
  schema: z.literal("kmodfarm.order/1"),
  element: Element,
  /** Where each source of packages is: catalog source id → URL. */
  mirrors: z.record(z.string(), z.string()),
  /** Where nobody can have seen it before: no hand-over was made for another order. */
  nonce: z.string().regex(/^[0-9a-f]{32}$/),
  expires: z.iso.datetime(),
  /** What failed before is tried again: another outcome than a failure counts. */
  isRetry: z.literal(true).optional(),
};

/** Packages with a userland for the guest, the likeliest first. */
const Guest = z.array(Package);

export const BuildOrder = z.strictObject({
  ...common,
  kind: z.literal("build"),
  recipe: z.custom<Recipe>((value) => typeof value === "object" && value !== null),
  driver: z.strictObject({
    name: PathSegment,
    version: PathSegment,
    source: Source,
    modules: z.array(PathSegment),
    build: BuildWords,
    packageName: PathSegment.optional(),
    needed: z.array(
      z.strictObject({
        name: PathSegment,
        version: PathSegment,
        packageName: PathSegment.optional(),
        source: Source,
        modules: z.array(Module),
      }),
    ),
  }),
  toolchain: Toolchain,
  limits: Limits,
  /** How what comes of it is tested: with its modules, that is a load order (following-test.ts). */
  load: z
    .strictObject({ guest: Guest, smoke: z.string().optional(), settings: LoadSettings.optional() })
    .optional(),
});
export type BuildOrder = z.infer<typeof BuildOrder>;

export const LoadOrder = z.strictObject({
  ...common,
  kind: z.literal("load"),
  guest: Guest,
  set: z.strictObject({
    driver: PathSegment,
    modules: z.array(
      z.strictObject({
        ...Module.shape,
        packed: z.strictObject({ packing: z.enum(["xz", "zst", "gz"]), ...Bytes.shape }).optional(),
      }),
    ),
    smoke: z.string().optional(),
    settings: LoadSettings.optional(),
    needs: z.array(Module),
  }),
});
export type LoadOrder = z.infer<typeof LoadOrder>;

export const Order = z.discriminatedUnion("kind", [BuildOrder, LoadOrder]);
export type Order = z.infer<typeof Order>;

/** An order's name: the digest of the whole of it. */
export function orderDigest(order: Order): Digest {
  return digestOf(order);
}

/** Who carried an order out, in their own words. */
const Runner = z.strictObject({
  kind: z.enum(["local", "github", "kubernetes", "machine"]),
  name: z.string().max(200),
  architecture: ArchitectureName,
  sandbox: z.string().max(40),
  network: z.enum(["none", "policyOnly", "open"]),
});
export type Runner = z.infer<typeof Runner>;

export const HandOver = z.strictObject({
  schema: z.literal("kmodfarm.handOver/1"),
  order: Sha256,
  /** The build order that the order follows from, if nobody wrote the order itself. */
  after: Sha256.optional(),
  nonce: z.string(),
  runner: Runner,
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime(),
  /** What the build might take, where the worker gives less than its order allows. */
  limits: Limits.optional(),
  attempt: AttemptRecord.strict().optional(),
  load: z
    .strictObject({
      verdict: Verdict.strict(),
      bootMs: z.int().nonnegative().optional(),
      isOutOfReach: z.boolean().optional(),
    })
    .optional(),
  /** What kept the worker from carrying it out. */
  error: z
    .strictObject({ code: z.string().regex(/^[A-Z][A-Z0-9_]{0,63}$/), message: z.string().max(4000) })
    .optional(),
  files: z.array(z.strictObject({ path: z.string().max(4096), ...Bytes.shape })).max(20_000),
});
export type HandOver = z.infer<typeof HandOver>;

/** The first file of a hand-over's archive; its own description. */
export const HAND_OVER_FILE = "hand-over.json";
