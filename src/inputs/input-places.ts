/**
 * Where a package may be: its mirror, the URLs it had when the element was made, the farm's own archive. The first
 * that has the right bytes is used; what the others did wrong is kept.
 */

import type { Readable } from "node:stream";
import type { z } from "zod";
import { FarmError, toFarmError } from "../base/error.ts";
import { ERRORS, type ErrorCode } from "../base/error-codes.ts";
import type { Expected, Http } from "../base/http.ts";
import { consumeMetered } from "../base/verified.ts";
import type { VerifiedPackage } from "../kernel/kernel.ts";
import type { InputOrigin, InputRecord } from "./input-record.ts";

/** Where the farm keeps the packages it has seen, whatever becomes of mirrors. */
export interface InputArchive {
  /** The bytes under a SHA-256 (hexadecimal), not yet checked; undefined when they are not there. */
  open(digest: string): Promise<Readable | undefined>;
  /**
   * Keeps a file; what is there already stays, if it has the same size. `isPrivate`: its distribution does not let us pass it
   * on. `isYoung`: what has been there for long is written again, because nothing else than what is about to be published
   * may name it.
   */
  write(digest: string, file: string, isPrivate: boolean, isYoung?: boolean): Promise<void>;
}

export interface Place {
  /** A URL, or `archive`. */
  readonly name: string;
  readonly from: z.infer<typeof InputOrigin>;
  /** Reads the package as it comes; rejects if its bytes were not the right ones after all. */
  take<T>(consume: (body: Readable) => Promise<T>): Promise<T>;
}

export function urlPlace(
  url: string,
  from: "mirror" | "kernelurls",
  wanted: Expected,
  http: Http,
  signal: AbortSignal | undefined,
): Place {
  return { name: url, from, take: (consume) => http.streamVerified(url, wanted, consume, signal) };
}

export function archivePlace(archive: InputArchive, wanted: VerifiedPackage): Place {
  return {
    name: "archive",
    from: "archive",
    async take(consume) {
      const { name, version, sha256 } = wanted;
      const body = await archive.open(sha256);
      if (body === undefined)
        throw new FarmError("NOT_FETCHABLE", { detail: `the archive has no ${name} ${version}` });
      const damaged = () =>
        new FarmError("DIGEST_MISMATCH", {
          detail: `the archive's ${name} ${version} is not what was put there`,
        });
      const limit = wanted.size ?? Number.POSITIVE_INFINITY;
      return consumeMetered(body, consume, limit, damaged, (seen) => {
        if (seen.sha256 !== sha256) throw damaged();
      });
    },
  };
}

/** Faults after which another place may help, the ones that a person must hear of first. */
const ELSEWHERE: readonly ErrorCode[] = ["DIGEST_MISMATCH", "REMOTE_UNAVAILABLE", "NOT_FETCHABLE"];

/**
 * What `take` makes of the first place that has the package.
 * @throws FarmError the gravest fault of all places: only when every one says that it is not there, it is
 *   NOT_FETCHABLE
 */
export async function takeFirst<T>(
  wanted: VerifiedPackage,
  places: readonly Place[],
  take: (place: Place) => Promise<T>,
): Promise<{ readonly taken: T; readonly record: InputRecord }> {
  const { name, version, sha256: digest } = wanted;
  const faults: { readonly place: Place; readonly error: FarmError }[] = [];
  for (const place of places) {
    try {
      const taken = await take(place);
      const tried = faults.map((fault) => ({ place: fault.place.name, fault: wordsOf(fault.error) }));
      return { taken, record: { name, version, sha256: digest, from: place.from, tried } };
    } catch (thrown) {
      const error = toFarmError(thrown);
      if (!ELSEWHERE.includes(error.code)) throw error;
      faults.push({ place, error });
    }
  }
  const [gravest] = faults.toSorted(
    (a, b) => ELSEWHERE.indexOf(a.error.code) - ELSEWHERE.indexOf(b.error.code),
  );
  throw (
    gravest?.error ?? new FarmError("NOT_FETCHABLE", { detail: `no source says where ${name} ${version} is` })
  );
}

function wordsOf(error: FarmError): string {
  return error.code === "NOT_FETCHABLE"
    ? "does not have it"
    : `${ERRORS[error.code].summary}: ${error.message}`;
}

/** One line for people; undefined when the package came from its mirror at once. */
export function fallbackLine({ name, version, from, tried }: InputRecord): string | undefined {
  if (tried.length === 0 && from === "mirror") return undefined;
  const source = {
    mirror: "another mirror",
    kernelurls: "its earlier location",
    archive: "the archive",
    cache: "the cache",
  }[from];
  const why = tried.filter(({ place }) => place !== "archive").map(({ place, fault }) => `${place} ${fault}`);
  return `${name} ${version} came from ${source}${why.length === 0 ? "" : `: ${why.join("; ")}`}`;
}
