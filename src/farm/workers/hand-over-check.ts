/**
 * Whether what a hand-over says of itself is what its order asked for; looks at documents only. Whatever is not
 * exactly as ordered is refused, and named.
 */

import { defined } from "../../base/defined.ts";
import { FarmError } from "../../base/error.ts";
import { ERRORS } from "../../base/error-codes.ts";
import { canonicalJson, type Digest } from "../../base/json.ts";
import { areLess } from "../../builder/limits.ts";
import {
  compressedPath,
  isKeptFile,
  MODULE_LIMIT_BYTES,
  MODULE_NAME_CHARACTERS,
  MOST_MODULES,
  modulePath,
  strippedPath,
} from "../../builder/outputs.ts";
import type { AttemptRecord } from "../../builder/records.ts";
import { load as loadCheck } from "../../check/checks/load.ts";
import { moduleName } from "../../formats/kernel-module.ts";
import { isFilePath, isPathSegment } from "../../kernel/path-segment.ts";
import type { BuildOrder, Bytes, HandOver, LoadOrder, Order } from "./order.ts";

/** What else an archive may have beside modules and files: its description, the log's marks of what was cut. */
const ROOM_BYTES = 8 * 1024 * 1024;
/** What is published of one beside its files: real ones say 1 to 3 KiB. */
const WORDS_LIMIT = 64 * 1024;
const LOAD_LOG_LIMIT_BYTES = 32 * 1024 * 1024;

/** `hint` is the next step, where it is not to look at the worker and order again. */
export function refused(fact: string, cause?: unknown, hint?: string): FarmError {
  return new FarmError("HAND_OVER_REFUSED", defined({ detail: fact, cause, hint }));
}

/** How large the archive of a hand-over for this order may be at most. */
export function sizeLimit(order: Order): number {
  if (order.kind === "load") return LOAD_LOG_LIMIT_BYTES + ROOM_BYTES;
  // Each module in three shapes: as built, stripped, compressed.
  return 3 * order.limits.artifact + 2 * order.limits.output + ROOM_BYTES;
}

/** @throws FarmError HAND_OVER_REFUSED naming the first thing that is not as ordered */
export function checkHandOver(handOver: HandOver, order: Order, digest: Digest, now: Date): void {
  if (handOver.order !== digest) throw refused("it is for another order");
  if (handOver.nonce !== order.nonce) throw refused("its nonce is not the order's");
  if (Date.parse(order.expires) < now.getTime())
    throw refused(`its order expired at ${order.expires}: an old one is not taken`);
  const { attempt, load, error, limits } = handOver;
  if (limits !== undefined && (order.kind === "load" || areLess(order.limits, limits)))
    throw refused("it says that its build might take more than its order allows");
  const given = [attempt, load, error].filter((one) => one !== undefined);
  if (given.length !== 1) throw refused("it must say one thing: an attempt, a load test, or an error");
  if (error !== undefined) {
    if (handOver.files.length > 0) throw refused("it reports an error, and brings files");
    return;
  }
  const expected =
    order.kind === "build" ? expectedOfBuild(order, attempt) : expectedOfLoad(order, load, handOver.files);
  checkFiles(handOver.files, expected);
}

/** Path → what is known of the file beforehand. */
type Expected = ReadonlyMap<string, Partial<Bytes> & { readonly limit: number }>;

function checkFiles(files: HandOver["files"], expected: Expected): void {
  const seen = new Set<string>();
  for (const { path, digest, size } of files) {
    const wanted = expected.get(path);
    if (wanted === undefined) throw refused(`it brings ${quoted(path)}, which was not ordered`);
    if (seen.has(path)) throw refused(`it brings ${quoted(path)} twice`);
    seen.add(path);
    if (wanted.digest !== undefined && wanted.digest !== digest)
      throw refused(`its ${path} is not the one that its attempt names`);
    if ((wanted.size !== undefined && wanted.size !== size) || size > wanted.limit)
      throw refused(`its ${path} has ${size} bytes`);
  }
  const missing = [...expected.keys()].find((path) => !seen.has(path));
  if (missing !== undefined) throw refused(`its ${missing} is missing`);
}

function expectedOfBuild(order: BuildOrder, attempt: AttemptRecord | undefined): Expected {
  if (attempt === undefined) throw refused("a build was ordered, and it brings a load test");
  checkWords([attempt.inputs, attempt.failure ?? null]);
  checkEvidence(order, attempt);
  checkOutputs(order, attempt);
  const { artifact, output } = order.limits;
  const compression = order.driver.build.compress;
  const shapes = attempt.modules.flatMap(({ name, sha256, size, stripped, compressed }) => [
    [modulePath(name), { digest: sha256, size }] as const,
    ...(stripped === undefined ? [] : [[strippedPath(name), ofKept(stripped)] as const]),
    ...(compressed === undefined || compression === undefined
      ? []
      : [[compressedPath(name, compression), ofKept(compressed)] as const]),
  ]);
  const stray = attempt.files?.find(({ path }) => !isFilePath(path));
  if (stray !== undefined)
    throw refused(`it has a file ${JSON.stringify(stray.path.slice(0, 160))}, which is no safe path`);
  const files = (attempt.files ?? []).map((file) => [`files/${file.path}`, ofKept(file)] as const);
  return new Map<string, Partial<Bytes> & { readonly limit: number }>([
    ["build.log", { limit: 2 * output + ROOM_BYTES }],
    ...[...shapes, ...files].map(([path, bytes]) => [path, { ...bytes, limit: artifact }] as const),
  ]);
}

function ofKept({ sha256, size }: { readonly sha256: Digest; readonly size: number }): Bytes {
  return { digest: sha256 as Bytes["digest"], size };
}

/** All elements share the documents that these words are published in, and none may fill them. */
function checkWords(words: unknown): void {
  const { length } = canonicalJson(words);
  if (length > WORDS_LIMIT)
    throw refused(`it says ${length} characters, and nobody has more than ${WORDS_LIMIT} to say`);
}

/** What the worker says of the surroundings is what was planned, or a lie. */
function checkEvidence({ recipe, toolchain }: BuildOrder, attempt: AttemptRecord): void {
  if (!isSame(attempt.recipe, recipe)) throw refused("its recipe is not the order's");
  const packages = attempt.inputs.map(({ name, version, sha256 }) =>
    canonicalJson({ name, version, sha256 }),
  );
  const ordered = recipe.headers.map((one) => canonicalJson(one));
  if (!isSame(packages.toSorted(), ordered.toSorted()))
    throw refused("it was built with other packages than the ordered ones");
  const { compiler, packages: installed } = attempt.environment;
  if (compiler !== toolchain.says)
    throw refused(
      `its compiler calls itself ${quoted(compiler)}, and the ordered one ${quoted(toolchain.says)}`,
    );
  if (!isSame(installed, recipe.toolchain))
    throw refused("the packages of its toolchain are not the ordered ones");
  if (!isSame(attempt.mismatch ?? null, toolchain.mismatch ?? null))
    throw refused("what it says of a compiler that is not the kernel's is not what was planned");
}

function checkOutputs({ driver, limits }: BuildOrder, attempt: AttemptRecord): void {
  const { modules, files = [], failure, buildMs } = attempt;
  if (buildMs < 0) throw refused("it ended before it began");
  if (failure !== undefined) {
    if (modules.length + files.length > 0) throw refused("it failed, and brings modules");
    if (!FAILURES.has(ERRORS[failure.code].blame)) throw refused(`no build fails with ${failure.code}`);
    return;
  }
  const names = modules.map(({ name }) => name);
  const bad = names.find((name) => !isPathSegment(name) || name.length > MODULE_NAME_CHARACTERS);
  if (bad !== undefined) throw refused(`a module of it has the name ${quoted(bad)}`);
  if (new Set(names.map((name) => moduleName(name))).size !== names.length)
    throw refused("two modules of it have one name");
  if (names.length === 0) throw refused("it brings no module, and says nothing of a failure");
  if (names.length > MOST_MODULES) throw refused(`it brings ${names.length} modules`);
  if (driver.modules.length > 0 && !isSame(names.toSorted(), driver.modules.toSorted()))
    throw refused(`it brings the modules ${names.join(", ")}, and ${driver.modules.join(", ")} were ordered`);
  for (const module of modules) checkShapes(driver.build, module);
  for (const { path } of files) {
    if (!path.split("/").every(isPathSegment)) throw refused(`it brings a file ${quoted(path)}`);
    if (!isKeptFile(path, driver.build.files))
      throw refused(`it brings ${quoted(path)}, which was not ordered`);
  }
  checkPlaces(files.map(({ path }) => path));
  const large = [...modules, ...files].find(({ size }) => size > MODULE_LIMIT_BYTES);
  if (large !== undefined) throw refused(`it brings a file of ${large.size} bytes, which no output has`);
  const total = [...modules, ...files].reduce((sum, { size }) => sum + size, 0);
  if (total > limits.artifact)
    throw refused(`it brings ${total} bytes, and limits.artifact is ${limits.artifact}`);
}

/** Each file has a place of its own, which is none on the way to another's. */
function checkPlaces(paths: readonly string[]): void {
  const all = new Set(paths);
  if (all.size < paths.length) throw refused("it brings a file twice");
  for (const path of paths)
    for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1))
      if (all.has(path.slice(0, at)))
        throw refused(`its file ${quoted(path.slice(0, at))} is a directory too`);
}

const FAILURES: ReadonlySet<string> = new Set(["source", "unknown", "input", "infra"]);

function checkShapes(
  { strip, kind, compress }: BuildOrder["driver"]["build"],
  { name, stripped, compressed }: AttemptRecord["modules"][number],
): void {
  if ((compress === undefined) !== (compressed === undefined))
    throw refused(`its ${name}.ko is ${compressed === undefined ? "not " : ""}compressed, against the order`);
  // A dkms.conf decides for each module where the configuration does not.
  const mustBe = strip ?? (kind === "kbuild" ? false : undefined);
  if (mustBe !== undefined && mustBe !== (stripped !== undefined))
    throw refused(`its ${name}.ko is ${stripped === undefined ? "not " : ""}stripped, against the order`);
}

function expectedOfLoad(order: LoadOrder, load: HandOver["load"], files: HandOver["files"]): Expected {
  if (load === undefined) throw refused("a load test was ordered, and it brings a build");
  const { verdict } = load;
  const mayBeRefused = order.set.settings?.noDevice === true;
  const words = ["pass", "fail", "unknown", ...(mayBeRefused ? ["notApplicable"] : [])];
  if (verdict.check !== "load" || !words.includes(verdict.verdict))
    throw refused("its verdict is none of a load test");
  checkWords(verdict.reasons);
  const strange = verdict.reasons.find(({ code }) => !LOAD_CODES.has(code));
  if (strange !== undefined) throw refused(`no load test gives the reason ${quoted(strange.code)}`);
  const { modules } = order.set;
  const known = new Set(
    modules.flatMap(({ name, digest, packed }) =>
      [digest, packed?.digest].map((one) => `${moduleName(name)} ${one}`),
    ),
  );
  const tested = (verdict.of ?? []).map(({ module, sha256 }) => `${module} ${sha256}`);
  if (tested.some((one) => !known.has(one))) throw refused("it tested other modules than the ordered ones");
  if (new Set(tested).size < tested.length) throw refused("it names a module twice");
  const names = new Set((verdict.of ?? []).map(({ module }) => module));
  const isOfAll = verdict.verdict === "pass" || verdict.verdict === "notApplicable";
  if (isOfAll && modules.some(({ name }) => !names.has(moduleName(name))))
    throw refused("it passes modules that it does not name");
  const isLogged = files.some(({ path }) => path === "load.log");
  if (verdict.verdict !== "unknown" && !isLogged) throw refused("its load.log is missing");
  return new Map(isLogged ? [["load.log", { limit: LOAD_LOG_LIMIT_BYTES }]] : []);
}

/** The last one says how many more there are. */
const LOAD_CODES: ReadonlySet<string> = new Set([...loadCheck.codes, "more"]);

function isSame(a: unknown, b: unknown): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
