/**
 * Attempts: what a try at building an element left behind, kept under its recipe key.
 */

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { markUsed } from "../base/cache.ts";
import { isErrno } from "../base/error.ts";
import { ERRORS } from "../base/error-codes.ts";
import { hexOf, sha256, toDocument } from "../base/json.ts";
import { removeTree } from "../base/strange-tree.ts";
import { compressedPath, modulePath, strippedPath } from "./outputs.ts";
import { recipeKey } from "./recipe.ts";
import { AttemptRecord, type Recipe } from "./records.ts";

export interface Attempt {
  readonly record: AttemptRecord;
  readonly recipeKey: string;
  /** Where its files are: `modules/*.ko`, `build.log`, `attempt.json`, and what else outputs.ts keeps. */
  readonly directory: string;
  readonly logFile: string;
}

/** An earlier attempt at this very recipe that ended for good: with modules, or on the driver's own fault. */
export async function findAttempt(recipe: Recipe, cache: string): Promise<Attempt | undefined> {
  return findAttemptOf(recipeKey(recipe), cache);
}

/** The same by the recipe's key. */
export async function findAttemptOf(key: string, cache: string): Promise<Attempt | undefined> {
  const directory = join(cache, "attempts", hexOf(key));
  try {
    const record = AttemptRecord.parse(JSON.parse(await readFile(join(directory, "attempt.json"), "utf8")));
    if (recipeKey(record.recipe) !== key) return undefined;
    for (const { path, sha256: digest } of keptFiles(record)) {
      if (sha256(await readFile(join(directory, path))) !== digest) return undefined;
    }
    await markUsed(directory);
    return attemptOf(record, directory);
  } catch {
    return undefined; // Absent or damaged is the same: it is made anew.
  }
}

/**
 * Moves evidence into the cache as one whole. What failed for the machine's sake is kept too, where nobody
 * takes it for an answer.
 */
export async function keepAttempt(record: AttemptRecord, evidence: string, cache: string): Promise<Attempt> {
  const blame = record.failure === undefined ? undefined : ERRORS[record.failure.code].blame;
  const isFinal = blame === undefined || blame === "source";
  const directory = join(cache, isFinal ? "attempts" : "unfinished", hexOf(recipeKey(record.recipe)));
  await writeFile(join(evidence, "attempt.json"), toDocument(record));
  await mkdir(join(directory, ".."), { recursive: true });
  await removeTree(directory);
  await rename(evidence, directory);
  return attemptOf(record, directory);
}

/** As `keepAttempt`, of one that ended for good, unless another process kept one first: that one stays, and this is no news. */
export async function keepFirstAttempt(
  record: AttemptRecord,
  evidence: string,
  cache: string,
): Promise<boolean> {
  const key = recipeKey(record.recipe);
  const directory = join(cache, "attempts", hexOf(key));
  await writeFile(join(evidence, "attempt.json"), toDocument(record));
  await mkdir(join(directory, ".."), { recursive: true });
  for (;;) {
    try {
      await rename(evidence, directory);
      return true;
    } catch (thrown) {
      if (!isErrno(thrown) || !["ENOTEMPTY", "EEXIST"].includes(thrown.code ?? "")) throw thrown;
    }
    if ((await findAttemptOf(key, cache)) !== undefined) return false;
    // What is damaged is made anew.
    await removeTree(directory);
  }
}

function attemptOf(record: AttemptRecord, directory: string): Attempt {
  return { record, recipeKey: recipeKey(record.recipe), directory, logFile: join(directory, "build.log") };
}

/** Every file of an attempt that is part of its result, with its place in the attempt's directory. */
export function keptFiles({
  recipe,
  modules,
  files = [],
}: AttemptRecord): { readonly path: string; readonly sha256: string }[] {
  const compression = recipe.driver.build?.compress;
  return [
    ...modules.flatMap(({ name, sha256: digest, stripped, compressed }) => [
      { path: modulePath(name), sha256: digest },
      ...(stripped === undefined ? [] : [{ path: strippedPath(name), sha256: stripped.sha256 }]),
      ...(compressed === undefined || compression === undefined
        ? []
        : [{ path: compressedPath(name, compression), sha256: compressed.sha256 }]),
    ]),
    ...files.map(({ path, sha256: digest }) => ({ path: `files/${path}`, sha256: digest })),
  ];
}
