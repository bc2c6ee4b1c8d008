/**
 * When an element is tried again: published or failed with this very recipe, and nothing left to find out, is done.
 */
import type { NeededDriver } from "../../builder/driver.ts";
import { upcomingIn } from "../../catalog/catalog.ts";
import { type Element, elementKey } from "../../matrix/element.ts";
import { hasWaited, versionOf } from "../needs.ts";
import type { Ledger } from "./ledger.ts";
import type { RunOptions } from "./run-options.ts";
import type { Upkeep } from "./upkeep.ts";

export interface DoneContext {
  readonly options: RunOptions;
  readonly ledger: Ledger;
  readonly upkeep: Upkeep;
  /** Whether this farm states how artifacts were built. */
  readonly isStating: boolean;
}

export function isDone(planned: Element, needed: readonly NeededDriver[], context: DoneContext): boolean {
  const { ledger, upkeep, isStating } = context;
  const { retry, without, fresh } = context.options;
  if (planned.recipe !== undefined && fresh?.has(planned.recipe)) return false;
  if (!ledger.isSettled(planned) || upkeep.isDamaged(planned)) return false;
  const note = ledger.noteOf(elementKey(planned));
  if (note !== undefined && hasWaited(note, needed)) return false;
  // It was proven before users had its kernel: now the policy decides.
  if (note?.upcoming === true && !isUpcoming(planned, ledger)) return false;
  if (isStating && isUnstated(planned, ledger)) return false;
  const isRefused = note?.load?.verdict.verdict === "pass" && (note.refusals ?? []).length > 0;
  if (note?.failure !== undefined || note?.load?.verdict.verdict === "fail" || isRefused) return !retry;
  const isUntested = note?.load?.verdict.verdict === "unknown" && !without?.includes("load");
  return !isUntested || ledger.factsOf(planned).fetching?.notLoadableSince !== undefined;
}

function isUpcoming(planned: Element, ledger: Ledger): boolean {
  const kernel = ledger.kernelOf(planned);
  return kernel !== undefined && upcomingIn(ledger.catalog.sources)(kernel);
}

/** Whether it was built, by an earlier version or a farm without keys, and nothing states how. */
function isUnstated(planned: Element, ledger: Ledger): boolean {
  const { entry } = ledger.knownOf(planned, versionOf(planned), planned);
  return entry !== undefined && entry.recipe === planned.recipe && entry.provenance === undefined;
}
