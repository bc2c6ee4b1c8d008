/**
 * `kmodfarm promote`, `import`, `reuse`, `withdraw`, `rollback`: what people decide about artifacts.
 */

import { FarmError } from "../../../base/error.ts";
import { ERRORS } from "../../../base/error-codes.ts";
import { importArtifact } from "../../../farm/gate/import.ts";
import * as acts from "../../../farm/gate/moves.ts";
import { endReuse, type ReuseRequest, reuse as reuseArtifact } from "../../../farm/gate/reuse.ts";
import type { Listed } from "../../../registry/standing.ts";
import { viewPath } from "../../../registry/view-path.ts";
import { artifactNamed, artifactsNamed, namesOf } from "../../artifact-names.ts";
import { withTask } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { readBundleFile, readModuleFiles } from "../../module-files.ts";
import { withFarm, withStoredFarm } from "../../options.ts";
import { print, printJson, say, table } from "../../output.ts";
import type { FLOOR, IMPORT_MODULES, PersonOptions, PROMOTE, REUSE, ROLLBACK, WITHDRAW } from "./command.ts";

export async function promote(
  subjects: readonly string[],
  options: OptionsOf<typeof PROMOTE>,
): Promise<number> {
  if (subjects.length > 0 === (options.all ?? false))
    throw new FarmError("USAGE", {
      detail: "name artifacts or give --all, not both",
    });
  const choose = (listed: readonly Listed[]) => (options.all ? listed : newest(chosen(listed, subjects)));
  const person = { ...personOf(options), bringsBack: !options.all };
  return withStoredFarm(options, async (farm) =>
    tell(await acts.promote(farm, choose, person, now), options),
  );
}

type ReuseOptions = OptionsOf<typeof REUSE>;

export async function reuse(subject: string, options: ReuseOptions): Promise<number> {
  const request = reuseOf(subject, options);
  return withStoredFarm(options, async (farm) => {
    const moved = await withTask(options, `testing it on ${options.kernel.join(", ")}`, ({ signal }) =>
      reuseArtifact(farm, request, now, signal),
    );
    return tell(moved, options);
  });
}

function reuseOf(subject: string, options: ReuseOptions): ReuseRequest {
  const choose = (listed: readonly Listed[]) => artifactNamed(listed, subject);
  return { choose, kernels: options.kernel, ...personOf(options) };
}

export async function withdraw(
  subjects: readonly string[],
  options: OptionsOf<typeof WITHDRAW>,
): Promise<number> {
  const { kernel, deny = false } = options;
  if (options.why === undefined && !options.dryRun)
    throw new FarmError("USAGE", { detail: "required option '--why <reason>' not specified" });
  const decided = { ...options, why: options.why ?? "a dry run" };
  if (kernel !== undefined && deny)
    throw new FarmError("USAGE", {
      detail: "--deny is about an artifact on every kernel that it ever served",
    });
  if (kernel !== undefined) {
    const [subject = "", ...others] = subjects;
    if (others.length > 0)
      throw new FarmError("USAGE", { detail: "--kernel can be used only with a single artifact" });
    if (options.all || options.dryRun)
      throw new FarmError("USAGE", { detail: "--kernel cannot be used with --all or --dry-run" });
    const request = reuseOf(subject, { ...decided, kernel });
    return withStoredFarm(options, async (farm) => tell(await endReuse(farm, request, now), decided));
  }
  const choose = (listed: readonly Listed[]) => [
    ...new Set(subjects.flatMap((words) => withdrawable(listed, words, options.all ?? false))),
  ];
  const person = { ...personOf(decided), denies: deny, isDryRun: options.dryRun ?? false };
  return withStoredFarm(options, async (farm) =>
    tell(await acts.withdraw(farm, choose, person, now), decided),
  );
}

export async function floor(subject: string, options: OptionsOf<typeof FLOOR>): Promise<number> {
  const choose = (listed: readonly Listed[]) => [artifactNamed(listed, subject)];
  const person = personOf(options);
  return withStoredFarm(options, async (farm) =>
    tell(await acts.setFloor(farm, choose, person, now), options),
  );
}

export async function rollback(generation: number, options: OptionsOf<typeof ROLLBACK>): Promise<number> {
  const person = personOf(options);
  return withStoredFarm(options, async (farm) =>
    tell(await acts.rollback(farm, generation, options.driver, person, now), options),
  );
}

export async function importModules(
  files: readonly string[],
  options: OptionsOf<typeof IMPORT_MODULES>,
): Promise<number> {
  const person = personOf(options);
  const modules = await readModuleFiles(files);
  const provenance = options.provenance === undefined ? undefined : await readBundleFile(options.provenance);
  return withFarm(options, async (farm) => {
    const { driver, driverVersion, target, load } = options;
    const known = { modules, target, name: driver, version: driverVersion, provenance };
    const request = { ...known, isLoaded: load, ...person };
    const moved = await withTask(options, `checking ${driver} against ${target}`, ({ signal }) =>
      importArtifact(farm, request, now, signal),
    );
    return tell(moved, options);
  });
}

/**
 * What is stable of what words name. A word that fits more than its writer thought of would take it from nodes.
 * @throws FarmError ARTIFACT_AMBIGUOUS if that are several, unless all of them are meant
 */
function withdrawable(listed: readonly Listed[], words: string, areAll: boolean): readonly Listed[] {
  const named = artifactsNamed(listed, words);
  const stable = named.filter(({ channel }) => channel === "stable");
  const found = stable.length > 0 ? stable : named;
  if (areAll || found.length === 1) return found;
  throw new FarmError("ARTIFACT_AMBIGUOUS", {
    detail: `'${words}' names ${found.length} artifacts: ${namesOf(found)}`,
    hint: "Name a single one, or give --all to withdraw every one of them; with --dry-run it only shows which.",
  });
}

const now = () => new Date();

function personOf({ by, why }: PersonOptions): acts.Person {
  if (why.trim() === "") throw new FarmError("USAGE", { detail: "--why must not be empty" });
  if (/\p{Cc}/u.test(`${by ?? ""}${why}`))
    throw new FarmError("USAGE", { detail: "--by and --why must each be one line of plain text" });
  return { by: by ?? acts.thisPerson(), why };
}

function chosen(listed: readonly Listed[], subjects: readonly string[]): Listed[] {
  return [...new Set(subjects.flatMap((words) => artifactsNamed(listed, words)))];
}

/** Where one place has a stable artifact and a newer candidate, only the candidate can be promoted. */
function newest(listed: readonly Listed[]): Listed[] {
  const waiting = new Set(listed.filter(({ channel }) => channel === "candidate").map(placeOf));
  return listed.filter((one) => one.channel === "candidate" || !waiting.has(placeOf(one)));
}

function placeOf({ entry }: Listed): string {
  return viewPath(entry);
}

async function tell(
  { moves: all, generation, warnings = [] }: acts.Moves,
  { json, dryRun = false }: PersonOptions & { readonly dryRun?: boolean },
): Promise<number> {
  for (const warning of warnings) say(`policy: ${warning}`);
  // What is as it should be need not be reported.
  const moves = all.filter((move) => move.result !== "nothing to do" || whyOf(move).length > 0);
  if (json)
    await printJson({
      schema: "kmodfarm.moves/1",
      generation,
      moves: moves.map((move) => ({
        place: move.place,
        result: move.result,
        reasons: whyOf(move),
        kernel: move.kernel,
        recipe: move.entry.recipe,
      })),
    });
  else {
    const rows = moves.map((move) => [
      dryRun && move.result === "withdrawn" ? "would be withdrawn" : move.result,
      move.place.replace(/^view\//, ""),
      dryRun ? "" : whyOf(move).join("; "),
    ]);
    const shown = rows.length === 0 ? "Nothing to do.\n" : table(["RESULT", "ARTIFACT", "WHY"], rows);
    // What is refused for another kernel stays stable for its own.
    const hint = moves.some(({ result, kernel }) => result === "refused" && kernel === undefined)
      ? `${ERRORS.GATE_REFUSED.hint}\n`
      : "";
    const end = dryRun ? "Nothing was changed: this is what would be done" : `Generation ${generation}`;
    await print(`${shown}${hint}${end}.\n`);
  }
  return moves.some(({ result, failed = [] }) => result === "refused" || failed.length > 0) ? 1 : 0;
}

function whyOf({ kernel, reasons }: acts.Move): string[] {
  return [...(kernel === undefined ? [] : [`for ${kernel}`]), ...reasons];
}
