/** `kmodfarm verify`: whether what is here holds together, and who says so. */

import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { counted } from "../../../base/counted.ts";
import { FarmError, toFarmError } from "../../../base/error.ts";
import { ERRORS } from "../../../base/error-codes.ts";
import { largest } from "../../../base/extremes.ts";
import { formatSize } from "../../../base/size.ts";
import { MODULE_LIMIT_BYTES } from "../../../builder/outputs.ts";
import { readPolicy } from "../../../farm/gate/policy-file.ts";
import type { FoundCheckpoint } from "../../../provenance/shown-log.ts";
import { readPublished } from "../../../registry/generations.ts";
import { openFolderStore } from "../../../registry/stores/folder.ts";
import { type Break, type VerifiedPlace, verifyRegistry } from "../../../registry/verify.ts";
import { verifyArtifact, verifyModule } from "../../../registry/verify-artifact.ts";
import type { OptionsOf } from "../../command.ts";
import { readNamedFile } from "../../named-file.ts";
import { print, printJson } from "../../output.ts";
import { readTrustedRoot, withRegistry } from "../../registries.ts";
import { firstRootOf, SeenCheckpoints } from "../../seen-checkpoints.ts";
import type { VERIFY } from "./command.ts";

type VerifyOptions = OptionsOf<typeof VERIFY>;

interface Report {
  readonly what: string;
  readonly breaks: readonly Break[];
  readonly remarks: readonly string[];
}

export async function verify(place: string, options: VerifyOptions): Promise<number> {
  const report = await reportOn(place, options);
  const { breaks } = report;
  if (options.json) await printJson({ schema: "kmodfarm.verified/1", good: breaks.length === 0, ...report });
  else await print(textOf(report));
  return breaks.length === 0 ? 0 : largest(breaks.map(({ code }) => ERRORS[code].exit));
}

async function reportOn(place: string, options: VerifyOptions): Promise<Report> {
  const kind = await kindOf(place);
  if (kind === "registry") return withRegistry(place, (registry) => registryReport(registry, options));
  const { store } = options;
  const look = async (registry: VerifiedPlace | undefined): Promise<Report> => {
    const chain = registry === undefined ? undefined : await registryReport(registry, options);
    const state = registry === undefined ? undefined : await readPublished(registry);
    const found = await (kind === "module"
      ? verifyModule(await readNamedFile(place, MODULE_LIMIT_BYTES), place, state ?? missingStore())
      : verifyArtifact(await openFolderStore(resolve(place)), state));
    return {
      what: `${place}${chain === undefined ? "" : `, of ${chain.what}`}`,
      breaks: [...(chain?.breaks ?? []), ...found.breaks],
      remarks: [...(chain?.remarks ?? []), ...found.remarks],
    };
  };
  return store === undefined ? look(undefined) : withRegistry(store, look);
}

function missingStore(): never {
  throw new FarmError("USAGE", {
    detail: "a module alone says nothing of where it comes from",
    hint: "Name the registry that it should be of: --store PLACE.",
  });
}

/** @throws FarmError FILE_UNREADABLE, STORE_MISSING */
async function kindOf(place: string): Promise<"registry" | "artifact" | "module"> {
  if (/^[a-z0-9]+:\/\//i.test(place)) return "registry";
  const isThere = (path: string) => stat(path).catch(() => undefined);
  const status = await isThere(place);
  if (status === undefined)
    throw new FarmError("FILE_UNREADABLE", { about: place, joint: " ", detail: "is not there" });
  if (!status.isDirectory()) return "module";
  const has = async (name: string) => (await isThere(join(place, name))) !== undefined;
  if (await has("manifest.json")) return "artifact";
  const store = join(".kmodfarm", "store");
  if (!(await has("generations")) && (await has(store)))
    throw new FarmError("STORE_MISSING", {
      detail: `${place} is the directory of a farm, not a registry (did you mean ${join(place, store)}?)`,
      hint: "Name the registry itself.",
    });
  return "registry";
}

async function registryReport(
  registry: VerifiedPlace,
  { root, policy, state }: VerifyOptions,
): Promise<Report> {
  const builders = policy === undefined ? [] : (await readPolicy(policy)).builders;
  const trusted = root === undefined ? undefined : await readTrustedRoot(root);
  const seen = new SeenCheckpoints(state, await firstRootOf(registry, trusted));
  let before: string | undefined;
  const found = await verifyRegistry(registry, {
    ...{ trusted, builders, now: new Date() },
    seen: async (origin) => {
      before = await seen.last(origin);
      return before;
    },
  });
  const { origin, serial, generation, files, bytes, breaks, checkpoint } = found;
  const kept = await keepSeen(seen, registry, checkpoint, before);
  const remarks = [...found.remarks, ...(kept.note === undefined ? [] : [kept.note])];
  const head = serial === undefined ? "" : ` ${origin}, head ${serial},`;
  return {
    what: `registry${head} generation ${generation}, ${counted(files, "file")}, ${formatSize(bytes)}`,
    ...{ breaks: [...kept.breaks, ...breaks], remarks },
  };
}

/** A server may have held this run while another one saw the other side of a fork: that is a broken link too. */
async function keepSeen(
  seen: SeenCheckpoints,
  registry: VerifiedPlace,
  checkpoint: FoundCheckpoint | undefined,
  before: string | undefined,
): Promise<{ readonly breaks: readonly Break[]; readonly note?: string | undefined }> {
  if (checkpoint === undefined) return { breaks: [] };
  try {
    return { breaks: [], note: await seen.keep(registry, checkpoint, before) };
  } catch (thrown) {
    const { code, blame, message } = toFarmError(thrown);
    if (blame !== "integrity") throw thrown;
    return { breaks: [{ link: "log", code, fact: message }] };
  }
}

const MOST_SHOWN = 20;

function textOf({ what, breaks, remarks }: Report): string {
  const shown = breaks
    .slice(0, MOST_SHOWN)
    .map(({ link, fact, code }) => `broken: ${link}: ${fact} [${code}]\n`);
  const more = breaks.length > MOST_SHOWN ? [`and ${breaks.length - MOST_SHOWN} more\n`] : [];
  const notes = remarks.map((remark) => `note: ${remark}\n`);
  const end = breaks.length === 0 ? "good" : `the first broken link is: ${breaks[0]?.link}`;
  return [...shown, ...more, ...notes, `${what}: ${end}.\n`].join("");
}
