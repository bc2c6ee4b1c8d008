/**
 * Sources of kernels: repositories and lists, and who may ask them.
 */
import { resolve } from "node:path";
import { z } from "zod";
import { holdsCredentials } from "../../base/url.ts";
import { ArchitectureName } from "../../kernel/architecture.ts";
import { PathSegment } from "../../kernel/path-segment.ts";
import { areInTheOpen, CredentialsConfig, credentialsAt, IN_THE_OPEN } from "./credentials.ts";
import { Architectures, Names } from "./words.ts";

const Url = z
  .url({ protocol: /^https?$/, error: "must be an http or https URL", abort: true })
  .refine((url) => !holdsCredentials(url), {
    error: "holds a user or a password; use `credentials`",
  });

const Credentials = CredentialsConfig.optional().describe("Who asks; said to its configured servers only.");
const Keyring = z.string().min(1).optional();
const Fingerprint = z
  .string()
  .transform((text) => text.replaceAll(/[\s:]/g, "").toUpperCase())
  .refine((text) => /^(?:[0-9A-F]{40}|[0-9A-F]{64})$/.test(text), {
    error: "must be the 40 or 64 hexadecimal digits of a key's fingerprint",
  });
const AcceptExpired = z.boolean().optional();
const Every = z
  .number()
  .min(0.01)
  .max(10_080)
  .optional()
  .describe("Minutes after which `kmodfarm watch` asks it again. Default: 15.");
const Redistributable = z
  .boolean()
  .optional()
  .describe(
    "Whether its packages may be passed on; those that may not are archived below `private/` of the store, which must not be served. Default: true.",
  );

const AptSourceConfig = z
  .strictObject({
    kind: z.literal("apt").describe("An apt repository."),
    releases: Names.describe("Distribution release keys, such as debian12."),
    mirror: Url.optional().describe(
      "Main archive; default: for Debian the host's own apt mirror, else a public one.",
    ),
    securityMirror: Url.optional().describe("Security archive, likewise."),
    portsMirror: Url.optional().describe("Where Ubuntu's kernels of other architectures than x86_64 are."),
    suites: Names.optional().describe("Suites of the main archive to read instead of the release's own."),
    architectures: Architectures.describe(
      "Indices to read; default: all. Cross builds for Debian need the builder's own too.",
    ),
    keyring: Keyring.describe("Keyring that its signatures must verify against, relative to this file."),
    acceptExpired: AcceptExpired.describe("Use metadata past its Valid-Until, shown as stale."),
    redistributable: Redistributable,
    every: Every,
    credentials: Credentials,
  })
  .refine(
    ({ credentials, mirror, securityMirror, portsMirror }) =>
      credentials === undefined || [mirror, securityMirror, portsMirror].some((url) => url !== undefined),
    { error: "`credentials` need a `mirror` that they are for" },
  )
  .refine(
    ({ credentials, mirror, securityMirror, portsMirror }) =>
      !areInTheOpen(credentials, [mirror, securityMirror, portsMirror]),
    IN_THE_OPEN,
  );

const RpmSourceConfig = z
  .strictObject({
    kind: z.literal("rpm-md").describe("An rpm repository."),
    release: PathSegment.describe("Distribution release key of everything in it, such as almalinux9.4."),
    name: PathSegment.optional().describe(
      "What to call it beside others of its release; default: from its URL.",
    ),
    baseurl: Url.optional().describe(
      "The repository; `$basearch` stands for the architecture. Default: the distribution's public ones.",
    ),
    mirrorlist: Url.optional().describe("Instead: a text that lists mirrors, such as Amazon's mirror.list."),
    metalink: Url.optional().describe("Instead: a metalink, such as Fedora's."),
    architectures: Architectures.describe("Default: x86_64 and aarch64."),
    keyring: Keyring.describe(
      "File with the keys of whoever signs its packages and repomd.xml, relative to this file; default: the distribution's own, fetched.",
    ),
    keyUrl: Url.optional().describe("Where to fetch those keys instead, such as a mirror of your own."),
    fingerprints: z
      .array(Fingerprint)
      .min(1)
      .optional()
      .describe("Primary keys that count, by fingerprint; default: the distribution's own."),
    allowUnsigned: z
      .boolean()
      .optional()
      .describe(
        "Take packages and repomd.xml that nobody signed: whoever has the server then has this release's toolchain and its modules. Never over http.",
      ),
    acceptExpired: AcceptExpired.describe("Use metadata older than its usual rhythm, shown as stale."),
    redistributable: Redistributable,
    every: Every,
    credentials: Credentials,
  })
  .refine((source) => urlsOf(source).length <= 1, {
    error: "`baseurl`, `mirrorlist` and `metalink` exclude each other",
  })
  .refine(
    ({ allowUnsigned, keyring, keyUrl, fingerprints }) =>
      !allowUnsigned || [keyring, keyUrl, fingerprints].every((one) => one === undefined),
    {
      error: "`allowUnsigned` and `keyring`, `keyUrl`, `fingerprints` exclude each other",
    },
  )
  .refine(
    ({ allowUnsigned, baseurl, ...lists }) =>
      !allowUnsigned || (urlsOf(lists).length === 0 && !baseurl?.startsWith("http:")),
    {
      error: "`allowUnsigned` needs a `baseurl` with https: anybody on the way could put other packages in",
    },
  )
  .refine((source) => source.credentials === undefined || urlsOf(source).length === 1, {
    error: "`credentials` need a `baseurl`, `mirrorlist` or `metalink` that they are for",
  })
  .refine((source) => !areInTheOpen(source.credentials, urlsOf(source)), IN_THE_OPEN);

function urlsOf(source: { baseurl?: unknown; mirrorlist?: unknown; metalink?: unknown }): unknown[] {
  return [source.baseurl, source.mirrorlist, source.metalink].filter((url) => url !== undefined);
}

const ListSourceConfig = z
  .strictObject({
    kind: z.literal("kernel-crawler").describe("A list as kernel-crawler writes it."),
    list: z
      .string()
      .min(1)
      .describe("Its URL, or its path relative to this file; may end in .gz, .xz or .zst."),
    name: PathSegment.optional().describe("What to call it; default: kernel-crawler and its architecture."),
    architecture: ArchitectureName.optional().describe(
      "Of entries that do not show theirs; default: as its name says.",
    ),
    trusted: z
      .boolean()
      .optional()
      .describe(
        "Whether you vouch for the digests that it gives. Nobody signs a list: without your word, what is built with its packages stays a candidate. Not over plain http. Default: false.",
      ),
    redistributable: Redistributable,
    every: Every,
    credentials: Credentials,
  })
  .refine(({ credentials, list }) => !areInTheOpen(credentials, [list]), IN_THE_OPEN)
  .refine(({ trusted, list }) => trusted !== true || !areInTheOpen({}, [list]), {
    path: ["trusted"],
    error: "cannot be said of a list that comes over plain http, which anybody on the way may change",
  });

export const SourceConfig = z.discriminatedUnion("kind", [
  AptSourceConfig,
  RpmSourceConfig,
  ListSourceConfig,
]);
export type SourceConfig = z.infer<typeof SourceConfig>;
export type AptSourceConfig = z.infer<typeof AptSourceConfig>;
export type RpmSourceConfig = z.infer<typeof RpmSourceConfig>;

/** The same with absolute paths. */
export function sourceAt(base: string, source: SourceConfig): SourceConfig {
  const credentials = credentialsAt(base, source.credentials);
  if (source.kind === "kernel-crawler")
    return { ...source, credentials, list: isHttp(source.list) ? source.list : resolve(base, source.list) };
  return {
    ...source,
    credentials,
    keyring: source.keyring === undefined ? undefined : resolve(base, source.keyring),
  };
}

/** Whether a list is fetched; else it is a file. */
export function isHttp(place: string): boolean {
  return /^https?:/.test(place);
}
