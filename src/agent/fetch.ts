/**
 * What a client on a node does (docs/nodes.md): it finds out what a registry has for the node's kernel, and puts exactly those
 * modules in place, all or none, or answers in one word why not. What is in place stays whatever goes wrong; only what is
 * signed takes it away: a module that is denied, or that nothing is given instead of for another build.
 */
import { release as running } from "node:os";
import { FarmError, toFarmError } from "../base/error.ts";
import type { Denial, NodeArtifact, NodeBlock, Sized } from "../provenance/node-index.ts";
import { isBelow } from "../provenance/version.ts";
import { type Answer, answer, wordFor } from "./answers.ts";
import { demandStatement, readBuilders } from "./builders.ts";
import { Loader } from "./load.ts";
import { requireLogged } from "./logged.ts";
import { openMirrors } from "./mirrors.ts";
import { kernelOf, type NodeKernel, signatureRulesOf } from "./node.ts";
import { type ChosenModule, factsOf, forgetRemoved, type ModuleSet, Place, type SetFacts } from "./place.ts";
import { type Published, readRegistry } from "./published.ts";
import { resolve } from "./resolve.ts";
import { State } from "./state.ts";
import { Proofs, readTrustedSets } from "./trusted-sets.ts";

export interface FetchRequest {
  readonly driver: string;
  /** URLs and directories, in the order in which they are asked. */
  readonly registries: readonly string[];
  /** File of the root that is trusted. */
  readonly root: string;
  /** Directory in which the client remembers. */
  readonly state: string;
  /** The node's `/` in a container; empty where it is this one. */
  readonly host: string;
  /** File of the builders that the node demands; none if it is not there. */
  readonly builders: string;
  /** File of the sets of modules that the node trusts; it demands no proofs if it is not there. */
  readonly sets: string;
  /** Whether the node takes nothing that is not in the registry's log. */
  readonly requiresLog: boolean;
  /** Folder for the modules, in place of the kernel's own. */
  readonly to?: string | undefined;
  /** Release of the kernel to prepare for, in place of the one that runs. */
  readonly kernel?: string | undefined;
  /** Whether the kernel that runs is to have them at once. */
  readonly load: boolean;
  /** The longest time for one file, and for another client to end. */
  readonly patienceMs: number;
  readonly waitMs: number;
  readonly now: Date;
}

/** Never throws for what a node or a registry may be; only for bugs. */
export async function fetchDriver(request: FetchRequest): Promise<Answer> {
  try {
    const state = await State.open(request.state, request.waitMs);
    if (state === undefined) return answer("busy", `another client works in ${request.state}`);
    try {
      await using mirrors = openMirrors(request.registries, request.patienceMs);
      const published = await readRegistry(request.root, state, mirrors.all, request);
      const answered = await answerFor(request, published);
      await state.removeOldBlobs(request.now);
      return answered;
    } finally {
      await state.close();
    }
  } catch (thrown) {
    const error = toFarmError(thrown);
    const word = wordFor(error);
    if (word === undefined) throw error;
    return answer(word, error.message);
  }
}

async function answerFor(request: FetchRequest, published: Published): Promise<Answer> {
  const { driver, host, to } = request;
  const kernel = await kernelOf(host, request.kernel);
  const { found, denied: all, floor } = await resolve(published, { driver, ...kernel });
  const place = new Place(driver, host, kernel.release, to);
  await place.requireOwn();
  if (to === undefined) await forgetRemoved(host, [kernel.release, running()]);
  const who = `${driver} for ${kernel.release} (${kernel.version})`;
  const block = found.kind === "found" ? found.block : undefined;
  const given = block === undefined ? undefined : givenBy(block);
  const whyBad = (set: SetFacts) => whyDenied(set, all, floor);

  const before = await place.facts();
  const bad = before === undefined ? undefined : whyBad(before);
  // Modules of another build of this release are a near miss for this kernel, as those that are denied.
  const isStrange = before !== undefined && before.build !== kernel.version && given === undefined;
  if (bad !== undefined || isStrange) await place.remove();
  if (bad !== undefined && given === undefined)
    return answer("denied", `what was in place is removed: ${bad}`);
  if (block === undefined || given === undefined) {
    const { word, sentence } = whyNothing(who, block?.answer, found.kind);
    return answer(word, `${sentence}${lateNote(published.late)}`);
  }

  const choice = await chooseModules(kernel, given.artifact, host);
  if ("word" in choice) return choice;
  const denied = whyBad(factsOf(choice));
  if (denied !== undefined) return answer("denied", `${who}: ${denied}`);
  const isGood = (set: SetFacts) => set.build === kernel.version && whyBad(set) === undefined;
  const loader = request.load ? new Loader(place, host, isGood) : undefined;
  return putInPlace(request, published, { place, loader, choice, block, given });
}

interface GivenModules {
  readonly artifact: NodeArtifact;
  readonly builtFor: string | undefined;
}

function givenBy({ answer: said }: NodeBlock): GivenModules | undefined {
  if (said.kind === "exact") return { artifact: said.artifact, builtFor: undefined };
  return said.kind === "loadsOn" ? { artifact: said.artifact, builtFor: said.builtFor } : undefined;
}

function whyDenied(
  { version, modules }: SetFacts,
  denied: readonly Denial[],
  floor: string | undefined,
): string | undefined {
  const denial = denied.find(({ module }) => modules.includes(module));
  if (denial !== undefined) return denial.why;
  return isBelow(version, floor) ? `${version} is below the least version ${floor}` : undefined;
}

/** Why what is said may be old. */
function lateNote(late: string | undefined): string {
  return late === undefined ? "" : ` (${late})`;
}

function whyNothing(
  who: string,
  said: NodeBlock["answer"] | undefined,
  found: "found" | "neverSeen" | "ambiguous",
): Answer {
  if (found === "neverSeen") return answer("neverSeen", `the registry knows nothing of ${who}`);
  if (said === undefined)
    return answer("ambiguous", `several kernels of the registry say the same of themselves as ${who}`);
  if ("why" in said) return answer(said.kind, `${who}: ${said.why}`);
  return answer("building", `${who} failed for a reason that passes, and is tried again`);
}

/** Each module with the signature that the kernel knows, or the keys to enrol. */
async function chooseModules(
  kernel: NodeKernel,
  { version, modules, signatures }: NodeArtifact,
  host: string,
): Promise<ModuleSet | Answer> {
  const { enforcedBy, hasKey } = await signatureRulesOf(host);
  const chosen: ChosenModule[] = [];
  for (const module of modules) {
    const offered = signatures.filter(({ file }) => file === module.file);
    const signature = offered.find(({ keyId }) => hasKey(keyId));
    if (enforcedBy !== undefined && signature === undefined) {
      const keys = offered.length === 0 ? "none" : offered.map(({ keyId }) => keyId).join(" ");
      return answer(
        "cannotLoad",
        `signatures are enforced (${enforcedBy}), and this kernel has no key that ${module.file} is signed by: ${keys}`,
      );
    }
    chosen.push({ module, signature });
  }
  return { kernel, version, modules: chosen };
}

interface Choice {
  readonly place: Place;
  readonly loader: Loader | undefined;
  readonly choice: ModuleSet;
  readonly block: NodeBlock;
  readonly given: GivenModules;
}

async function putInPlace(
  { driver, builders: file, sets, requiresLog }: FetchRequest,
  { blob, late, frozen, log }: Published,
  { place, loader, choice, block, given }: Choice,
): Promise<Answer> {
  const { kernel, version } = choice;
  const built = given.builtFor === undefined ? "" : `, built for ${given.builtFor}`;
  const done = answer(
    given.builtFor === undefined ? "exact" : "loadsOn",
    `${driver} ${version} is ${loader === undefined ? "in" : "loaded from"} ${place.link}${built}${lateNote(late)}`,
  );
  const read = ({ digest, size }: Sized) => blob(digest, limitOf(size));
  const builders = await readBuilders(file);
  const about = { driver, kernel, block, ...given };
  if (builders !== undefined) await demandStatement(about, builders, read);
  if (log !== undefined) await requireLogged(log, about, read);
  const trusted = await readTrustedSets(sets);
  const proofs = trusted === undefined ? undefined : await Proofs.of(given.artifact, trusted, read);
  const what = `${driver} ${version}`;
  if (await place.has(choice)) {
    for (const { module } of choice.modules)
      proofs?.require(module.file, (await place.read(module.file)).subarray(0, module.size));
    await place.keepProofs(proofs?.files);
    await place.finish();
    return (await loader?.load(what)) ?? done;
  }
  if (frozen !== undefined) return answer("stale", frozen);
  if (requiresLog && log === undefined)
    return answer("unreachable", `no registry shows that ${what} is in its log${lateNote(late)}`);
  await place.prepare();
  const slot = (await loader?.nextSlot()) ?? (await place.slots()).other;
  const refusal = await loader?.refusal(choice, slot);
  if (refusal !== undefined) return refusal;
  await place.stage(slot, choice, async ({ module, signature }) => {
    const bytes = await read(module);
    checkVermagic(bytes, module.file, kernel, given.builtFor);
    proofs?.require(module.file, bytes);
    return signature === undefined ? bytes : Buffer.concat([bytes, await read(signature)]);
  });
  await place.keepProofs(proofs?.files, slot);
  const stuck = await loader?.makeRoom();
  if (stuck !== undefined) return stuck;
  await place.show(slot);
  return (await loader?.load(what)) ?? done;
}

/** Whole kibibytes, as a shell counts them. */
function limitOf(size: number): number {
  return (Math.floor(size / 1024) + 1) * 1024;
}

/** The kernel would refuse it, or worse, would not. @throws FarmError DIGEST_MISMATCH */
function checkVermagic(
  module: Buffer,
  file: string,
  { release }: NodeKernel,
  builtFor: string | undefined,
): void {
  const said = [...module.toString("latin1").matchAll(/(?<![ -~])vermagic=([!-~]*) /g)].map(
    ([, word]) => word,
  );
  const [word = ""] = said;
  const isRight =
    builtFor === undefined
      ? word === release
      : word !== "" && builtFor.split("/").at(-1)?.startsWith(`${word}_`);
  if (said.length === 1 && isRight) return;
  throw new FarmError("DIGEST_MISMATCH", { detail: `${file} was built for '${said.join(" ")}'` });
}
