/**
 * `kmodfarm promote`, `withdraw`, `rollback`: what people decide about artifacts.
 */
import { FarmError } from "../../base/error.ts";
import * as gate from "../../farm/gate.ts";
import { importArtifact } from "../../farm/import.ts";
import { artifactsNamed } from "../artifact-names.ts";
import { readModuleFiles } from "../module-files.ts";
import { type PlaceOptions, stopSignal, withFarm } from "../options.ts";
import { print, printJson, table } from "../output.ts";

interface PersonOptions extends PlaceOptions {
  readonly why: string;
  readonly by?: string;
}

export async function promote(
  subjects: readonly string[],
  options: PersonOptions & { readonly all?: boolean },
): Promise<number> {
  if (subjects.length > 0 === (options.all ?? false))
    throw new FarmError("USAGE", {
      detail: "name artifacts, or every candidate with --all: one of the two",
    });
  const choose = (listed: readonly gate.Listed[]) =>
    options.all ? listed.filter(({ channel }) => channel === "candidate") : chosen(listed, subjects);
  return withFarm(options, async (farm) =>
    tell(await gate.promote(farm, choose, personOf(options), now), options),
  );
}

export async function withdraw(subjects: readonly string[], options: PersonOptions): Promise<number> {
  const choose = (listed: readonly gate.Listed[]) => {
    const named = chosen(listed, subjects);
    const stable = named.filter(({ channel }) => channel === "stable");
    return stable.length > 0 ? stable : named;
  };
  return withFarm(options, async (farm) =>
    tell(await gate.withdraw(farm, choose, personOf(options), now), options),
  );
}

export async function rollback(
  generation: number,
  options: PersonOptions & { readonly driver?: string },
): Promise<number> {
  return withFarm(options, async (farm) =>
    tell(await gate.rollback(farm, generation, options.driver, personOf(options), now), options),
  );
}

interface ImportOptions extends PersonOptions {
  readonly target: string;
  readonly driver: string;
  readonly driverVersion: string;
  readonly load: boolean;
}

export async function importModules(files: readonly string[], options: ImportOptions): Promise<number> {
  const modules = await readModuleFiles(files);
  return withFarm(options, async (farm) => {
    const { driver, driverVersion, target, load } = options;
    const person = personOf(options);
    const request = { modules, target, name: driver, version: driverVersion, isLoaded: load, ...person };
    return tell(await importArtifact(farm, request, now, stopSignal()), options);
  });
}

const now = () => new Date();

function personOf({ by, why }: PersonOptions): gate.Person {
  if (why.trim() === "") throw new FarmError("USAGE", { detail: "--why says nothing" });
  return { by: by ?? gate.thisPerson(), why };
}

function chosen(listed: readonly gate.Listed[], subjects: readonly string[]): gate.Listed[] {
  return [...new Set(subjects.flatMap((words) => artifactsNamed(listed, words)))];
}

async function tell({ moves, generation }: gate.Moves, { json }: PersonOptions): Promise<number> {
  if (json)
    await printJson({
      schema: "kmodfarm.moves/1",
      generation,
      moves: moves.map(({ place, result, reasons, entry }) => ({
        place,
        result,
        reasons,
        recipe: entry.recipe,
      })),
    });
  else {
    const rows = moves.map(({ place, result, reasons }) => [
      result,
      place.replace(/^view\//, ""),
      reasons.join("; "),
    ]);
    const shown = rows.length === 0 ? "Nothing to do.\n" : table(["RESULT", "ARTIFACT", "WHY"], rows);
    await print(`${shown}Generation ${generation}.\n`);
  }
  const isBad = ({ result, reasons }: (typeof moves)[number]) =>
    result === "refused" || (result === "imported" && reasons.some((reason) => reason.includes(": fail: ")));
  return moves.some(isBad) ? 1 : 0;
}
