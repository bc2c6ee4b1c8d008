/**
 * What is learned of a kernel by reading or fetching its packages, beside what sources say of it. Every section names, by
 * digest, what it was learned from, and holds for a kernel only as long as its packages are still those.
 */
import { z } from "zod";
import { defined } from "../base/defined.ts";
import { canonicalJson, digestOf } from "../base/json.ts";
import { Compiler, isBuildTool, KernelId, kernelName, type Package } from "./kernel.ts";

const Digest = z.templateLiteral(["sha256:", z.string().regex(/^[0-9a-f]{64}$/)]);
type Digest = z.infer<typeof Digest>;
const Time = z.iso.datetime();
/** What packages say may be of any length; what is longer than this stays unknown. */
export const MOST_CHARACTERS = 1024;
const Text = z.string().max(MOST_CHARACTERS);
/** Kernels have fewer than ten. */
const MOST_CERTIFICATES = 100;

/** What its header packages say. What they do not say is absent, and never guessed. */
const HeadersFacts = z.object({
  /** `headersDigest` of the packages. */
  of: Digest,
  compiler: Compiler.optional(),
  /** `uname -r`, as include/generated/utsrelease.h says it. */
  release: Text.optional(),
  vermagic: Text.optional(),
  buildSalt: Text.optional(),
  configuration: Digest.optional(),
  /** Of Module.symvers. */
  symvers: Digest.optional(),
  /** The release of kernel.org that it was made from: 6.1.170. */
  upstream: z
    .string()
    .regex(/^\d{1,3}\.\d{1,3}\.\d{1,5}$/)
    .optional(),
  /** The same as the Makefile of the common headers says it, which knows candidates: 6.1.170, 7.3.0-rc7. */
  makefile: z
    .string()
    .regex(/^\d{1,3}(\.\d{1,5}){2,3}(-rc\d{1,3})?$/)
    .optional(),
  hasVmlinux: z.boolean().optional(),
});
type HeadersFacts = z.infer<typeof HeadersFacts>;

/** What its boot image says. */
const ImageFacts = z.object({
  /** SHA-256 of the package. */
  of: Digest,
  /** `uname -v` */
  version: Text.optional(),
  /** Of the DER of each certificate that it trusts modules by. */
  certificates: z.array(Digest).max(MOST_CERTIFICATES).optional(),
});
/** What a boot image says of its kernel. */
export type ImageSays = Omit<z.infer<typeof ImageFacts>, "of">;

/** What the changelog of its source package says of it. */
const ChangelogFacts = z.object({
  /** `headersDigest` of the packages. */
  of: Digest,
  /** The source package whose changelog has its version, and the feed with that changelog; absent if none has it. */
  source: Text.optional(),
  feed: Text.optional(),
  /** When that version was uploaded, as its trailer says: no earlier than that was it published. */
  uploaded: z.iso.date().optional(),
});

/** A kernel has fewer than ten packages. */
const MOST_PACKAGES = 100;
const Hex = z.string().regex(/^[0-9a-f]{64,128}$/);

/** Who signed a package, and what of it: the header, and by the header the payload. */
const SignedFact = z.object({
  name: Text,
  version: Text,
  sha256: Hex,
  /** Fingerprint of the primary key. */
  key: z.string().regex(/^(?:[0-9A-F]{40}|[0-9A-F]{64})$/),
  /** Digests. */
  header: Hex,
  payload: Hex,
});
export type SignedFact = z.infer<typeof SignedFact>;

/** The signatures that its packages bear themselves, where no signed metadata lists them. A record: they are read anew. */
const SignatureFacts = z.object({
  /** `contentDigest` of the packages. */
  of: Digest,
  packages: z.array(SignedFact).max(MOST_PACKAGES),
});

/** What came of fetching its packages. */
const FetchingFacts = z.object({
  /** `placesDigest` of the packages: another package or another place is a new chance. */
  of: Digest,
  /** A package that building needs is listed, but the mirror does not have it. */
  notFetchableSince: Time.optional(),
  /** The same for the boot image, which only the load test needs. */
  notLoadableSince: Time.optional(),
});

type FetchingFacts = z.infer<typeof FetchingFacts>;

/** All that was learned of one kernel. */
export const KernelFacts = KernelId.extend({
  headers: HeadersFacts.optional(),
  image: ImageFacts.optional(),
  changelog: ChangelogFacts.optional(),
  signatures: SignatureFacts.optional(),
  fetching: FetchingFacts.optional(),
});
export type KernelFacts = z.infer<typeof KernelFacts>;

/** What was learned, without the kernel that it was learned of. */
export type Learned = Omit<KernelFacts, keyof KernelId>;

type Packages = Readonly<Record<"headers" | "crossTools" | "image" | "modules", readonly Package[]>>;

/** A kernel with its packages, as catalog and matrix have it. */
export interface PackagedKernel extends KernelId {
  readonly packages: Packages;
}

/** By `kernelName`. */
export type KnownFacts = ReadonlyMap<string, KernelFacts>;

export const NOTHING_KNOWN: KnownFacts = new Map();

export function factsByKernel(facts: readonly KernelFacts[]): KnownFacts {
  return new Map(facts.map((one) => [kernelName(one), one]));
}

/** What is known of a kernel with the packages that it has here. */
export function factsOf(known: KnownFacts, kernel: PackagedKernel): Learned {
  const facts = known.get(kernelName(kernel));
  if (facts === undefined) return {};
  const { headers, image, changelog, signatures, fetching } = facts;
  const { packages } = kernel;
  return {
    ...(headers !== undefined && headers.of === headersDigest(packages) ? { headers } : {}),
    ...(changelog !== undefined && changelog.of === headersDigest(packages) ? { changelog } : {}),
    ...(image !== undefined && image.of === imageDigest(packages) ? { image } : {}),
    ...(signatures !== undefined && signatures.of === contentDigest(packages) ? { signatures } : {}),
    ...(fetching !== undefined && fetching.of === placesDigest(packages) ? { fetching } : {}),
  };
}

/** The compiler that a source names, or else the kernel's own headers. */
export function compilerOf(
  known: KnownFacts,
  kernel: PackagedKernel & { readonly compiler?: Compiler | undefined },
): Compiler | undefined {
  return kernel.compiler ?? factsOf(known, kernel).headers?.compiler;
}

/**
 * What tells the header packages of a kernel from any others, wherever they lie; undefined while a list names them without
 * digests. Build tools say nothing of the kernel.
 */
export const headersDigest = remembered(({ headers }: Packages) => {
  const saying = headers.filter((one) => !isBuildTool(one)).map(({ sha256 = "" }) => sha256);
  if (saying.length === 0 || saying.includes("")) return undefined;
  return digestOf(saying.toSorted((a, b) => (a < b ? -1 : 1)));
});

/** Undefined where nothing lists its boot image with a digest. */
function imageDigest({ image: [image] }: Packages): Digest | undefined {
  return image?.sha256 === undefined ? undefined : `sha256:${image.sha256}`;
}

/** What tells all packages of a kernel from any others, wherever they lie. */
const contentDigest = remembered((packages: Packages) => digestOf(digestsOf(packages)));

function digestsOf({ headers, crossTools, image, modules }: Packages): string[] {
  const all = [headers, crossTools, image, modules].flat().map(({ sha256 = "" }) => sha256);
  return [...new Set(all)].toSorted();
}

/** What a failed fetch was about: every package, and where it lies. */
export const placesDigest = remembered(({ headers, crossTools, image, modules }: Packages) =>
  digestOf(
    [headers, crossTools, image, modules].map((packages) =>
      packages.map(({ name, version, architecture, sha256, size, source, path }) => ({
        ...{ name, version, architecture, sha256, size, source, path },
      })),
    ),
  ),
);

/** Packages never change once they are there, and their digests are asked for often. */
function remembered<T>(compute: (packages: Packages) => T): (packages: Packages) => T {
  const known = new WeakMap<Packages, { readonly digest: T }>();
  return (packages) => {
    const digest = known.get(packages) ?? { digest: compute(packages) };
    known.set(packages, digest);
    return digest.digest;
  };
}

/**
 * What was known, and what was learned since. A fetch that fails again fails since the first time. The same object where
 * nothing is new.
 */
export function withLearned(before: KernelFacts, learned: Learned): KernelFacts {
  const after: KernelFacts = {
    ...before,
    ...defined({
      headers: section(before.headers, learned.headers),
      image: section(before.image, learned.image),
      changelog: section(before.changelog, learned.changelog),
      signatures: section(before.signatures, learned.signatures),
      fetching: fetchingSince(before.fetching, learned.fetching),
    }),
  };
  return canonicalJson(after) === canonicalJson(before) ? before : after;
}

function section<T extends { readonly of: string }>(before: T | undefined, learned: T | undefined) {
  if (learned === undefined) return undefined;
  return (before?.of === learned.of ? { ...before, ...defined(learned) } : defined(learned)) as T;
}

function fetchingSince(before: FetchingFacts | undefined, learned: FetchingFacts | undefined) {
  const after = section(before, learned);
  if (after === undefined || before?.of !== after.of) return after;
  const first = (since: "notFetchableSince" | "notLoadableSince") =>
    [before[since], after[since]].filter((one) => one !== undefined).toSorted()[0];
  const [notFetchableSince, notLoadableSince] = [first("notFetchableSince"), first("notLoadableSince")];
  return { of: after.of, ...defined({ notFetchableSince, notLoadableSince }) };
}

/** Lays what was learned over what is known, both lists; the result is in the order of the kernels' names. */
export function withAllLearned(
  known: readonly KernelFacts[],
  learned: readonly KernelFacts[],
): readonly KernelFacts[] {
  if (learned.length === 0) return known;
  const all = new Map(factsByKernel(known));
  for (const one of learned) {
    const name = kernelName(one);
    const before = all.get(name);
    all.set(name, before === undefined ? one : withLearned(before, one));
  }
  return [...all].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, facts]) => facts);
}

/** Without what failed fetches taught, so that everything is asked for again. */
export function withoutFetching(known: readonly KernelFacts[]): readonly KernelFacts[] {
  return known.map((facts) => {
    const { fetching, ...others } = facts;
    return fetching === undefined ? facts : others;
  });
}

/** Nothing of a kernel but which one it is. */
export function idOf({ distribution, architecture, kversion, packageVersion }: KernelId): KernelId {
  return { distribution, architecture, kversion, packageVersion };
}

/** What headers said, as far as it can be kept; undefined where nothing tells them from others. */
export function headersFacts(
  kernel: PackagedKernel,
  said: Omit<HeadersFacts, "of">,
): KernelFacts | undefined {
  const of = headersDigest(kernel.packages);
  if (of === undefined) return undefined;
  return { ...idOf(kernel), headers: { of, ...keepable(HeadersFacts.omit({ of: true }), said) } };
}

/** What a boot image said, likewise. */
export function imageFacts(kernel: PackagedKernel, said: ImageSays): KernelFacts | undefined {
  const of = imageDigest(kernel.packages);
  if (of === undefined) return undefined;
  return { ...idOf(kernel), image: { of, ...keepable(ImageFacts.omit({ of: true }), said) } };
}

/** What a changelog said, likewise. */
export function changelogFacts(
  kernel: PackagedKernel,
  said: Omit<z.infer<typeof ChangelogFacts>, "of">,
): KernelFacts | undefined {
  const of = headersDigest(kernel.packages);
  if (of === undefined) return undefined;
  return { ...idOf(kernel), changelog: { of, ...keepable(ChangelogFacts.omit({ of: true }), said) } };
}

/** Who signed its packages, likewise; undefined where nothing is known of that. */
export function signatureFacts(
  kernel: PackagedKernel,
  signed: readonly SignedFact[],
): KernelFacts | undefined {
  const own = new Set(digestsOf(kernel.packages));
  const packages = signed.filter((one) => own.has(one.sha256) && SignedFact.safeParse(one).success);
  if (packages.length === 0 || packages.length > MOST_PACKAGES) return undefined;
  return { ...idOf(kernel), signatures: { of: contentDigest(kernel.packages), packages } };
}

/** Without what no reader would take: strangers wrote the packages. */
function keepable<T extends z.ZodRawShape>(
  type: z.ZodObject<T>,
  said: z.infer<z.ZodObject<T>>,
): z.infer<z.ZodObject<T>> {
  const parsed = type.safeParse(said);
  if (parsed.success) return parsed.data;
  const bad = new Set(parsed.error.issues.map(({ path }) => path[0]));
  return Object.fromEntries(Object.entries(said).filter(([name]) => !bad.has(name))) as typeof said;
}

/** That a package was listed and not there. */
export function fetchingFacts(
  kernel: PackagedKernel,
  lesson: "notFetchable" | "notLoadable",
  at: string,
): KernelFacts {
  return { ...idOf(kernel), fetching: { of: placesDigest(kernel.packages), [`${lesson}Since`]: at } };
}
