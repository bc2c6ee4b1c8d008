/**
 * A run: catalog → matrix → what is missing → build, load, publish. Every step compares what is wanted with what is
 * there, so it may be stopped anywhere and run again.
 */
import { during } from "../../base/progress.ts";
import { readPublished } from "../../registry/generations.ts";
import { readVouched } from "../../registry/vouched.ts";
import { loadDrivers } from "../drivers.ts";
import { openGate } from "../gate/gate.ts";
import { thisPerson } from "../gate/moves.ts";
import { askSourcesOf, type Farm } from "../open.ts";
import { authorOf } from "../signing/heads.ts";
import { openTrust } from "../signing/opening.ts";
import { openAttestor } from "../signing/statements.ts";
import { leftOutSuites } from "../sources.ts";
import { Coordinator } from "./coordinator.ts";
import { Ledger } from "./ledger.ts";
import { withoutPlaces } from "./places.ts";
import type { RunReport } from "./report.ts";
import type { RunOptions } from "./run-options.ts";
import { refuseUnknownEarly } from "./wanted.ts";

/**
 * Runs the farm once. What goes wrong with a source, a driver or an element is reported, and all others go on; only
 * configuration and store end a run.
 * @throws FarmError INTERRUPTED after everything that was finished is published; NOT_PUBLISHED
 */
export async function runFarm(farm: Farm, options: RunOptions): Promise<RunReport> {
  const coordinator = await openCoordinator(farm, options);
  const { ledger } = coordinator;
  if (!options.without?.includes("catalog"))
    coordinator.hear(
      await during(options.progress, "asking the mirrors which kernels there are", (note) =>
        askSourcesOf(farm, ledger.catalog, options.signal, note),
      ),
    );
  await coordinator.putInOrder();
  await coordinator.begin();
  coordinator.want();
  await coordinator.drained();
  return coordinator.end();
}

/** A coordinator on the newest generation of the farm's store. */
export async function openCoordinator(farm: Farm, options: RunOptions): Promise<Coordinator> {
  const { progress, signal, now, retry, what = "run", roots = {}, dry } = options;
  const author = authorOf(farm, thisPerson(), what, now);
  const published =
    dry === undefined
      ? await readVouched(farm.store, await openTrust(farm, (text) => progress.say(text), now))
      : await readPublished(farm.store);
  options.opened?.(published);
  for (const note of leftOutSuites(farm.config.sources)) progress.say(note);
  const ledger = new Ledger(farm.store, published, author, withoutPlaces(farm));
  if (retry) ledger.forgetLessons();
  for (const [name, packages] of Object.entries(roots)) ledger.learnRoot(name, packages);
  const drivers = await loadDrivers(farm, (text) => progress.say(text), signal);
  const attestor = await openAttestor(farm);
  if (options.narrowed !== undefined) {
    const releases = [
      ...farm.sources.map(({ release }) => release),
      ...published.catalog.kernels.map(({ distribution }) => distribution),
    ];
    refuseUnknownEarly(options.narrowed, farm.lists.length > 0 ? undefined : releases, [
      ...drivers.loaded,
      ...drivers.absent,
    ]);
  }
  // Which kernels are still to come is known by what this run hears.
  const gate = await openGate(farm, () => ({ ...ledger.published, catalog: ledger.catalog }), now);
  return new Coordinator(farm, options, { ledger, drivers, gate, attestor });
}
