/**
 * A run: catalog → matrix → what is missing → build, load, publish. Every step compares what is wanted with what is
 * there, so it may be stopped anywhere and run again.
 */
import { readPublished } from "../registry/generations.ts";
import { Coordinator } from "./coordinator.ts";
import { loadDrivers } from "./drivers.ts";
import { openGate } from "./gate.ts";
import { Ledger } from "./ledger.ts";
import { thisPerson } from "./moves.ts";
import { askSourcesOf, type Farm } from "./open.ts";
import { withoutPlaces } from "./places.ts";
import type { RunReport } from "./report.ts";
import type { RunOptions } from "./run-options.ts";
import { makeFirstRoot } from "./signing/ceremony.ts";
import { authorOf, untrustedNote } from "./signing/heads.ts";
import { hasOwnKeys, makeMissingKeys } from "./signing/keys.ts";
import { openAttestor } from "./signing/statements.ts";
import { leftOutSuites } from "./sources.ts";

/**
 * Runs the farm once. What goes wrong with a source, a driver or an element is reported, and all others go on; only
 * configuration and store end a run.
 * @throws FarmError INTERRUPTED after everything that was finished is published; NOT_PUBLISHED
 */
export async function runFarm(farm: Farm, options: RunOptions): Promise<RunReport> {
  const coordinator = await openCoordinator(farm, options);
  const { ledger } = coordinator;
  if (!options.without?.includes("catalog"))
    coordinator.hear(await askSourcesOf(farm, ledger.catalog, options.signal));
  await coordinator.begin();
  coordinator.want();
  await coordinator.drained();
  return coordinator.end();
}

/** A coordinator on the newest generation of the farm's store. */
export async function openCoordinator(farm: Farm, options: RunOptions): Promise<Coordinator> {
  const { progress, signal, now, retry, what = "run", roots = {}, isDry = false } = options;
  if (!isDry) await makeMissingKeys(farm.config, (text) => progress.say(text));
  const published = await readPublished(farm.store);
  options.opened?.(published);
  const author = authorOf(farm, thisPerson(), what, now);
  if (!isDry && !hasOwnKeys(farm.config.keys)) {
    const made = await makeFirstRoot(farm.store, farm.signing, now());
    const said = made ?? (await untrustedNote(farm.store, farm));
    if (said !== undefined) progress.say(said);
  }
  for (const note of leftOutSuites(farm.config.sources)) progress.say(note);
  const ledger = new Ledger(farm.store, published, author, withoutPlaces(farm));
  if (retry) ledger.forgetLessons();
  for (const [name, packages] of Object.entries(roots)) ledger.learnRoot(name, packages);
  const drivers = await loadDrivers(farm, (text) => progress.say(text), signal);
  const attestor = await openAttestor(farm);
  const gate = await openGate(farm, () => ledger.published, now);
  return new Coordinator(farm, options, { ledger, drivers, gate, attestor });
}
