/**
 * What is published must be readable by whoever comes next, or one stranger's word makes a whole registry unreadable. Each
 * item of the lists that all share is held against its readers' type and a size when it is made, where it is known whose
 * fault it is; each part once more before it is stored.
 */
import type { z } from "zod";
import { FarmError, toFarmError } from "../base/error.ts";
import { type Digest, describeIssue } from "../base/json.ts";
import { writeHead } from "../provenance/head.ts";
import { EMPTY_ROOT } from "../provenance/trees/rfc6962.ts";
import { requireWritable } from "../provenance/write-node-index.ts";
import { droppedDecisions } from "./decisions.ts";
import type { Published } from "./documents.ts";
import { indexPlaces, nodeIndices } from "./node-index.ts";
import { typeOfPart } from "./parts.ts";
import { DOCUMENT_LIMIT_BYTES } from "./stores/store.ts";

/** Thousands of items share a part; real ones have 1 to 3 KiB. */
const ITEM_LIMIT_BYTES = 60 * 1024;
/** An artifact of some hundred modules; decisions name all of them in each verdict. */
export const ENTRY_LIMIT_BYTES = 120 * 1024;

/** @throws FarmError BUG naming `what`: nobody could read it again */
export function requireKeepable(
  type: z.ZodType,
  item: unknown,
  what: string,
  limit = ITEM_LIMIT_BYTES,
): void {
  const { error } = type.safeParse(item);
  if (error !== undefined) throw unreadable(what, describeIssue(error));
  const bytes = Buffer.byteLength(JSON.stringify(item));
  if (bytes > limit) throw unreadable(what, `it has ${bytes} bytes, and the limit is ${limit}`);
}

/** The last look before a part is stored. @throws FarmError BUG: nothing is published then, and what was stays readable */
export function requireReadable(name: string, text: string): void {
  requireDocument(typeOfPart(name), name, text);
}

/** The same of a whole document. @throws FarmError BUG */
export function requireDocument(type: z.ZodType, name: string, text: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > DOCUMENT_LIMIT_BYTES)
    throw unreadable(name, `it has ${bytes} bytes, and the limit is ${DOCUMENT_LIMIT_BYTES}`);
  const { error } = type.safeParse(JSON.parse(text));
  if (error !== undefined) throw unreadable(name, describeIssue(error));
}

/** Nothing published takes a denial or a floor away but a later decision. @throws FarmError BUG */
export function requireStanding(
  before: Pick<Published, "decisions">,
  after: Pick<Published, "decisions">,
): void {
  const [lost] = droppedDecisions(before.decisions, after.decisions);
  if (lost === undefined) return;
  const detail = `nothing was published, because the decision of ${lost.by} about ${lost.artifact.driver} (${lost.at}) would be gone`;
  throw new FarmError("BUG", { detail });
}

/**
 * What is published must fit into a head that nodes read, or nobody hears of it, and of no withdrawal either.
 * @throws FarmError REGISTRY_TOO_LARGE
 */
export function requireHeadable(state: Published, origin: string): void {
  const indices = indexPlaces(state).map(({ driver, machine, floor }) => ({
    ...{ driver, machine, widths: LONGEST_WIDTHS, top: LONGEST_DIGEST },
    ...(floor === undefined ? {} : { floor }),
  }));
  // As long as any: a head that is larger tomorrow would be too late.
  const [number, issued, expires] = [999_999_999, "2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z"];
  const log = { size: number, root: EMPTY_ROOT };
  const generation = { number, digest: LONGEST_DIGEST };
  try {
    writeHead({ ...{ origin, serial: number, issued, expires, generation, log, indices } });
  } catch (thrown) {
    const { message } = toFarmError(thrown);
    throw new FarmError("REGISTRY_TOO_LARGE", {
      detail: `nothing was published, because no head could name its ${indices.length} drivers and machines: ${message}`,
    });
  }
}

const LONGEST_WIDTHS = "2+2+1";
const LONGEST_DIGEST: Digest = `sha256:${"0".repeat(64)}`;

/** What nodes would be told must be no more than they read. @throws FarmError REGISTRY_TOO_LARGE */
export function requireIndexable(state: Published): void {
  for (const { driver, machine, blocks } of nodeIndices(state, () => LARGEST_SIZE))
    requireWritable({ driver, machine }, blocks);
}

/** As long as any: where a blob lies is no matter here. */
const LARGEST_SIZE = 999_999_999;

function unreadable(what: string, fact: string): FarmError {
  return new FarmError("BUG", {
    detail: `${what} was not published, because it could not be read back: ${fact}`,
  });
}
