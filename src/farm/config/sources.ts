/**
 * Sources of kernels: repositories and lists, and who may ask them.
 */
import { resolve } from "node:path";
import { z } from "zod";
import { holdsCredentials } from "../../base/url.ts";
import { ArchitectureName } from "../../kernel/architecture.ts";
import { findRelease, noRelease } from "../../kernel/distributions/index.ts";
import { PathSegment } from "../../kernel/path-segment.ts";
import { areInTheOpen, CredentialsConfig, credentialsAt, IN_THE_OPEN } from "./credentials.ts";
import { Architectures, Names } from "./words.ts";

const Url = z
  .url({ protocol: /^https?$/, error: "must be an http or https URL", abort: true })
  .refine((url) => !holdsCredentials(url), {
    error: "contains a user name or a password; use `credentials`",
  });

const Credentials = CredentialsConfig.optional().describe(
  "Credentials; sent only to the servers configured for this source.",
);
const Keyring = z.string().min(1).optional();
const Fingerprint = z
  .string()
  .transform((text) => text.replaceAll(/[\s:]/g, "").toUpperCase())
  .refine((text) => /^(?:[0-9A-F]{40}|[0-9A-F]{64})$/.test(text), {
    error: "must be the 40 or 64 hexadecimal digits of a key's fingerprint",
  });
const AcceptExpired = z.boolean().optional();
const Upcoming = z
  .boolean()
  .optional()
  .describe(
    "Whether its kernels are still to come (experimental, sid, backports, proposed updates): `run` leaves out kernels that only such sources list, `kmodfarm forecast` builds and tests them, and their modules stay candidates. Default: false.",
  );
const Every = z
  .number()
  .min(0.01)
  .max(10_080)
  .optional()
  .describe("Minutes after which `kmodfarm watch` queries it again. Default: 15.");
const Redistributable = z
  .boolean()
  .optional()
  .describe(
    "Whether its packages may be redistributed. If not, they are archived under `private/` in the store, which must not be served. Default: true.",
  );

const Release = PathSegment.refine((key) => findRelease(key) !== undefined, {
  error: ({ input }) => noRelease(String(input)),
});
const Releases = z.array(Release).min(1);

const AptSourceConfig = z
  .strictObject({
    kind: z.literal("apt").describe("An apt repository."),
    releases: Releases.describe("Distribution release keys, for example debian12."),
    mirror: Url.optional().describe(
      "Main archive. Default: for Debian the host's own apt mirror, else a public one.",
    ),
    securityMirror: Url.optional().describe("Security archive; same default."),
    portsMirror: Url.optional().describe("Archive of Ubuntu's kernels for architectures other than x86_64."),
    suites: Names.optional().describe(
      "Suites to read instead of all of the release. Those that are its own keep their archive, security included; others are looked for in the main archive.",
    ),
    architectures: Architectures.describe(
      "Architectures whose indices to read. Default: all. Cross builds for Debian also need the builder's own.",
    ),
    keyring: Keyring.describe("Keyring that must verify its signatures, relative to this file."),
    upcoming: Upcoming,
    acceptExpired: AcceptExpired.describe(
      "Accept metadata past its Valid-Until date, and show its kernels as stale.",
    ),
    redistributable: Redistributable,
    every: Every,
    credentials: Credentials,
  })
  .refine(
    ({ credentials, mirror, securityMirror, portsMirror }) =>
      credentials === undefined || [mirror, securityMirror, portsMirror].some((url) => url !== undefined),
    { error: "`credentials` need a `mirror` to send them to" },
  )
  .refine(
    ({ credentials, mirror, securityMirror, portsMirror }) =>
      !areInTheOpen(credentials, [mirror, securityMirror, portsMirror]),
    IN_THE_OPEN,
  );

const RpmSourceConfig = z
  .strictObject({
    kind: z.literal("rpm-md").describe("An rpm repository."),
    release: Release.describe("Distribution release key of everything in it, for example almalinux9.4."),
    name: PathSegment.optional().describe(
      "Name that distinguishes it from other repositories of its release. Default: taken from its URL.",
    ),
    baseurl: Url.optional().describe(
      "The repository; `$basearch` stands for the architecture. Default: the distribution's public ones.",
    ),
    mirrorlist: Url.optional().describe(
      "Instead: a text file that lists mirrors, for example Amazon's mirror.list.",
    ),
    metalink: Url.optional().describe("Instead: a metalink, for example Fedora's."),
    architectures: Architectures.describe("Default: x86_64 and aarch64."),
    keyring: Keyring.describe(
      "File with the keys that sign its packages and repomd.xml, relative to this file. Default: the distribution's own, which are fetched.",
    ),
    keyUrl: Url.optional().describe("URL to fetch those keys from instead, for example your own mirror."),
    fingerprints: z
      .array(Fingerprint)
      .min(1)
      .optional()
      .describe("Fingerprints of the trusted primary keys. Default: the distribution's own."),
    allowUnsigned: z
      .boolean()
      .optional()
      .describe(
        "Accept unsigned packages and repomd.xml: anyone who controls the server then controls this release's toolchain and modules. Never over http.",
      ),
    upcoming: Upcoming,
    acceptExpired: AcceptExpired.describe(
      "Accept metadata older than its usual interval, and show its kernels as stale.",
    ),
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
      error:
        "`allowUnsigned` needs a `baseurl` with https: anybody on the network path could replace the packages",
    },
  )
  .refine((source) => source.credentials === undefined || urlsOf(source).length === 1, {
    error: "`credentials` need a `baseurl`, `mirrorlist` or `metalink` to send them to",
  })
  .refine((source) => !areInTheOpen(source.credentials, urlsOf(source)), IN_THE_OPEN);

function urlsOf(source: { baseurl?: unknown; mirrorlist?: unknown; metalink?: unknown }): unknown[] {
  return [source.baseurl, source.mirrorlist, source.metalink].filter((url) => url !== undefined);
}

const ListSourceConfig = z
  .strictObject({
    kind: z.literal("kernel-crawler").describe("A list in kernel-crawler's format."),
    list: z
      .string()
      .min(1)
      .describe("Its URL, or its path relative to this file; it may end in .gz, .xz or .zst."),
    name: PathSegment.optional().describe(
      "Name of the source. Default: kernel-crawler and its architecture.",
    ),
    architecture: ArchitectureName.optional().describe(
      "Architecture of entries that do not name theirs. Default: as its file name says.",
    ),
    trusted: z
      .boolean()
      .optional()
      .describe(
        "Whether you vouch for its digests. Lists are not signed: unless you vouch for it, artifacts built with its packages stay candidates. Not over plain http. Default: false.",
      ),
    redistributable: Redistributable,
    every: Every,
    credentials: Credentials,
  })
  .refine(({ credentials, list }) => !areInTheOpen(credentials, [list]), IN_THE_OPEN)
  .refine(({ trusted, list }) => trusted !== true || !areInTheOpen({}, [list]), {
    path: ["trusted"],
    error: "cannot be set for a list fetched over plain http, which anybody on the network path can change",
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
