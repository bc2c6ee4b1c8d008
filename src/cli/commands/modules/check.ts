/**
 * `kmodfarm check`: whether modules belong to a kernel, check by check.
 */
import { stat } from "node:fs/promises";
import { FarmError } from "../../../base/error.ts";
import { sha256 } from "../../../base/json.ts";
import { type CatalogKernel, findKernel } from "../../../catalog/catalog.ts";
import { untested } from "../../../check/checks/load.ts";
import { guestPackages } from "../../../check/guest/tools.ts";
import type { ModuleFile } from "../../../check/opened-modules.ts";
import { textsOf, type Verdict } from "../../../check/verdict.ts";
import { checkArtifact, recordedVerdicts, withRecord } from "../../../farm/gate/artifact-check.ts";
import { checkModules, confirmed } from "../../../farm/gate/check.ts";
import { kernelNameOf, openGate } from "../../../farm/gate/gate.ts";
import { readCertificates } from "../../../farm/gate/policy-file.ts";
import { type Farm, readingContext } from "../../../farm/open.ts";
import { kernelName } from "../../../kernel/kernel.ts";
import { readModules } from "../../../registry/artifact.ts";
import type { Published } from "../../../registry/documents.ts";
import { readPublished } from "../../../registry/generations.ts";
import { refuseDamaged } from "../../../registry/repair.ts";
import { servedOf } from "../../../registry/reuse.ts";
import { type Listed, listAll, standingWords } from "../../../registry/standing.ts";
import { artifactNamed } from "../../artifact-names.ts";
import { withTask } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { explain, type ToldCheck } from "../../explain.ts";
import { readModuleFiles } from "../../module-files.ts";
import { withStoredFarm } from "../../options.ts";
import { print, printJson, shownVerdict, table } from "../../output.ts";
import type { CHECK } from "./command.ts";

export async function check(subjects: readonly string[], options: OptionsOf<typeof CHECK>): Promise<number> {
  const given = options.kernel === undefined ? undefined : await readModuleFiles(subjects);
  const certificates = (await Promise.all((options.signer ?? []).map(readCertificates))).flat();
  return withStoredFarm(options, async (farm) => {
    const state = await readPublished(farm.store);
    const gate = await openGate(
      farm,
      () => state,
      () => new Date(),
    );
    const { catalog } = state;
    const asked = {
      signers: [...gate.signers, ...certificates],
      moduleVersion: options.moduleVersion,
      isLoaded: options.load,
    };
    const { kernel, files, artifact } =
      given === undefined || options.kernel === undefined
        ? await publishedModules(subjects, state, farm)
        : { kernel: findKernel(catalog, options.kernel), files: given };
    const found = await withTask(options, `checking against ${kernelName(kernel)}`, ({ signal }) =>
      artifact === undefined
        ? checkModules(
            { kernel, files, guest: guestPackages(catalog.guests, kernel), ...asked },
            readingContext(farm, catalog),
            signal,
          )
        : checkArtifact(farm, state, artifact.listed, kernel, asked, signal),
    );
    const today =
      artifact === undefined
        ? []
        : [await gate.provenanceToday(artifact.listed), await gate.reproducibleToday(artifact.listed)];
    const said = [...found.verdicts, ...today.flatMap((one) => one ?? [])];
    const known = artifact === undefined ? said : withRecord(said, artifact.recorded);
    const excepted = artifact === undefined ? known : await gate.withExceptions(artifact.listed, known);
    const load = known.find(({ check: name }) => name === "load");
    const isUnasked = load === undefined && found.answer !== undefined;
    const told: ToldCheck = {
      kernel: kernelName(kernel),
      files,
      report: {
        ...found,
        verdicts: isUnasked ? [...excepted, NOT_LOADED] : excepted,
        ...(found.answer === undefined ? {} : { answer: confirmed(found.answer, load) }),
      },
      ...(artifact === undefined ? {} : { standing: await gate.standing(artifact.listed) }),
      serves: artifact === undefined ? [] : servedNames(state, artifact.listed),
    };
    if (options.json) await printJson(toJson(told));
    else await print(options.explain ? explain(told) : toText(told));
    // What was not asked for is not held against anybody.
    return exitOf(excepted);
  });
}

const NOT_LOADED = untested("skipped (--no-load)");

function servedNames({ indices }: Published, listed: Listed): string[] {
  return servedOf(indices, listed).map(({ index, served }) => kernelName({ ...index, ...served }));
}

interface Subject {
  readonly kernel: CatalogKernel;
  readonly files: readonly ModuleFile[];
  /** What the store knows, where it is one of its artifacts. */
  readonly artifact?: { readonly listed: Listed; readonly recorded: readonly Verdict[] };
}

/** Without a kernel, words name an artifact of the store: its modules as nodes get them, and its own kernel. */
async function publishedModules(
  subjects: readonly string[],
  state: Published,
  { store }: Farm,
): Promise<Subject> {
  const [words = ""] = subjects;
  if (subjects.length > 1 || (await isFile(words)))
    throw new FarmError("USAGE", {
      detail: "no kernel was named to check the files against",
      hint: "Give --kernel DISTRIBUTION/ARCHITECTURE/RELEASE, or instead of files the name of an artifact in the store.",
    });
  const listed = artifactNamed(listAll(state.indices), words);
  const { index, entry } = listed;
  // Bytes that are right are looked at; whether nodes get these very bytes is another matter.
  await refuseDamaged(store, listed);
  return {
    kernel: findKernel(state.catalog, kernelNameOf(index, entry)),
    files: await readModules(store, entry),
    artifact: { listed, recorded: await recordedVerdicts(store, state, listed) },
  };
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

/** A fault outranks what could not be determined. */
export function exitOf(verdicts: readonly Verdict[]): number {
  if (verdicts.some(({ verdict }) => verdict === "fail")) return 1;
  return verdicts.some(({ verdict }) => verdict === "unknown") ? 3 : 0;
}

function toText({ kernel, report: { verdicts, answer }, standing, serves }: ToldCheck): string {
  const rows = verdicts.flatMap(({ check: name, verdict: word, reasons }) =>
    textsOf({ reasons }).map((reason, index) => (index === 0 ? [name, word, reason] : ["", "", reason])),
  );
  const [first] = answer?.reasons ?? [];
  const failed = verdicts.filter(({ verdict: word }) => word === "fail").map(({ check: name }) => name);
  const but = answer?.answer === "loads" && failed.length > 0 ? `; but it fails ${failed.join(", ")}` : "";
  const last = answer === undefined ? "" : `\n${kernel}: ${answer.answer}, ${first ?? ""}${but}\n`;
  const stands = standing === undefined ? "" : `In the store: ${standingWords(standing)}\n`;
  const also = serves.length === 0 ? "" : `Also tested on, and served to: ${serves.join(", ")}\n`;
  return `${table(["CHECK", "VERDICT", "WHY"], rows)}${last}${stands}${also}`;
}

function toJson({ kernel, files, report: { verdicts, answer, log }, standing, serves }: ToldCheck) {
  return {
    schema: "kmodfarm.check/1" as const,
    kernel,
    files: files.map(({ name, bytes }) => ({ name, sha256: sha256(bytes), size: bytes.length })),
    verdicts: verdicts.map(shownVerdict),
    answer,
    standing,
    ...(serves.length === 0 ? {} : { serves }),
    ...(log === undefined ? {} : { log: log.split("\n") }),
  };
}
