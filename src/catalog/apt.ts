/**
 * An apt repository as a source of kernels: signed InRelease, package indices by their digests, nothing
 * fetched twice that did not change.
 */
import { z } from "zod";
import { FarmError } from "../base/error.ts";
import { hexOf, sha256 } from "../base/json.ts";
import { run } from "../base/run.ts";
import { shutIn } from "../base/shut-in.ts";
import { urlOf } from "../base/url.ts";
import { parseParagraph } from "../formats/deb822.ts";
import { type ArchitectureName, architecture } from "../kernel/architecture.ts";
import type { DebDistribution, ListedPackage } from "../kernel/distributions/distribution.ts";
import { readVerified } from "./read-apart.ts";
import {
  type AnySource,
  answering,
  extractOf,
  fetchRemembered,
  madeOnce,
  readKeyring,
  relyOn,
  type SourceAnswer,
  type SourceContext,
  signatureFault,
} from "./source.ts";

/** One suite of one mirror. */
export interface AptSource extends AnySource {
  readonly kind: "apt";
  readonly distribution: DebDistribution;
  readonly suite: string;
  readonly component: string;
  readonly architectures: readonly ArchitectureName[];
  readonly url: string;
  readonly keyring: string;
  /** The name of the one package that is looked for. Default: whatever kernels consist of. */
  readonly only?: string;
}

const IN_RELEASE_LIMIT_BYTES = 8 * 1024 * 1024;

/** Reads one suite. */
export async function readAptSource(source: AptSource, context: SourceContext): Promise<SourceAnswer> {
  return answering(async () => {
    const url = urlOf(source.url, `dists/${source.suite}/InRelease`);
    const inRelease = await fetchRemembered(url, IN_RELEASE_LIMIT_BYTES, "", context);
    if (inRelease === undefined) return { kind: "notServed", url };
    return relyOn(inRelease, async () => {
      const release = await verifiedRelease(inRelease.text, source, context);
      const indices = source.architectures.map((name) =>
        readIndex(source, release, `${source.component}/binary-${architecture(name).debian}`, context),
      );
      await Promise.allSettled(indices); // When one fails, the others must not go on behind our back.
      const packages = await Promise.all(indices);
      return {
        kind: "read",
        url: source.url,
        metadata: { ...release.metadata, digest: sha256(inRelease.text) },
        packages: packages.flat(),
      };
    });
  });
}

/**
 * What a signed InRelease says. That these very keys signed these very bytes stays true: it is verified once,
 * and again as soon as either changes.
 */
async function verifiedRelease(
  inRelease: string,
  source: AptSource,
  context: SourceContext,
): Promise<ReleaseFile> {
  const keys = sha256(await readKeyring(source.keyring));
  const origin = hexOf(sha256([source.id, source.suite, keys, inRelease].join("\n")));
  return madeOnce("verified", origin, ReleaseFile, context, async () =>
    parseRelease(await verifySignature(inRelease, source, context), source),
  );
}

/** The text that the keyring's owner signed; what stands around it in the file is not part of that. */
async function verifySignature(
  inRelease: string,
  source: AptSource,
  { signal }: SourceContext,
): Promise<string> {
  const argv = shutIn(["gpgv", "--quiet", "--keyring", "/keyring", "--output", "-", "-"], {
    shows: { "/keyring": source.keyring },
  });
  const result = await run(argv, { input: inRelease, timeoutMs: 60_000 }, signal);
  if (result.exitCode === 0 && result.stdout !== "") return result.stdout;
  throw signatureFault(source.id, "InRelease", source.keyring, result);
}

const ReleaseFile = z.object({
  metadata: z.object({ date: z.string(), validUntil: z.string().exactOptional() }),
  /** Path of a package index below the suite → what it must be. */
  indices: z.record(z.string(), z.object({ sha256: z.string(), size: z.int() })),
});
type ReleaseFile = z.infer<typeof ReleaseFile>;

function parseRelease(text: string, source: AptSource): ReleaseFile {
  const fields = parseParagraph(text);
  const { suiteField, suiteAliases = {} } = source.distribution;
  const name = fields.get(suiteField);
  const expected = Object.hasOwn(suiteAliases, source.suite) ? suiteAliases[source.suite] : source.suite;
  if (name !== expected) {
    throw new FarmError("SIGNATURE_INVALID", {
      about: source.id,
      detail: `the mirror serves the suite '${name}' under this name`,
    });
  }
  const date = toTime(fields.get("Date"));
  if (date === undefined)
    throw new FarmError("REMOTE_UNAVAILABLE", { about: source.id, detail: "its InRelease has no date" });
  const validUntil = toTime(fields.get("Valid-Until"));
  const indices: Record<string, { sha256: string; size: number }> = {};
  for (const line of fields.get("SHA256")?.split("\n") ?? []) {
    if (!line.endsWith("/Packages.gz") && !line.endsWith("/Packages.xz")) continue;
    const match = /^([0-9a-f]{64})\s+(\d+)\s+(\S+)$/.exec(line);
    if (match !== null) indices[match[3] as string] = { sha256: match[1] as string, size: Number(match[2]) };
  }
  return { metadata: { date, ...(validUntil === undefined ? {} : { validUntil }) }, indices };
}

/** Years of more than four digits are written in a way of their own, which nobody reads back. */
const LAST_TIME = Date.parse("9999-12-31T23:59:59Z");

function toTime(date: string | undefined): string | undefined {
  const at = Date.parse(date ?? "");
  return at >= 0 && at <= LAST_TIME ? new Date(at).toISOString() : undefined;
}

async function readIndex(
  source: AptSource,
  release: ReleaseFile,
  path: string,
  context: SourceContext,
): Promise<ListedPackage[]> {
  // gzip first: half as large again on the wire, but unpacked in half the time, and off this thread.
  const names = [`${path}/Packages.gz`, `${path}/Packages.xz`];
  const name = names.find((candidate) => release.indices[candidate] !== undefined);
  const expected = release.indices[name ?? ""];
  if (name === undefined || expected === undefined) return [];
  const { distribution, only } = source;
  const prefixes = only === undefined ? distribution.packagePrefixes : [`${only}\n`];
  return extractOf(expected, `${distribution.id} ${prefixes.join()}`, source.id, context, async () => {
    const url = urlOf(source.url, `dists/${source.suite}/${name}`);
    return readVerified(url, expected, context, (file) => ({
      ...{ kind: "apt", file, name, release: source.release, source: source.id },
      ...(only === undefined ? {} : { only }),
    }));
  });
}
