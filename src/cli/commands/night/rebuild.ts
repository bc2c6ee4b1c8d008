/**
 * `kmodfarm rebuild`: the same recipe in other surroundings, and whether it gives the same bytes.
 */
import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FarmError } from "../../../base/error.ts";
import { parseDocument } from "../../../base/json.ts";
import { exists } from "../../../base/scratch.ts";
import type { Farm } from "../../../farm/open.ts";
import { buildAgain, ownTask, type RebuildReport } from "../../../farm/rebuild/rebuild.ts";
import { addStatements, rebuildStatement } from "../../../farm/rebuild/statements.ts";
import { openKeyedAttestor, signStatement } from "../../../farm/signing/statements.ts";
import { readManifest } from "../../../registry/artifact.ts";
import { Manifest } from "../../../registry/documents.ts";
import { readPublished } from "../../../registry/generations.ts";
import { listAll } from "../../../registry/standing.ts";
import { artifactNamed } from "../../artifact-names.ts";
import { withBoard } from "../../board.ts";
import { kebab, type OptionsOf } from "../../command.ts";
import { readText } from "../../input.ts";
import { withStoredFarm } from "../../options.ts";
import type { REBUILD } from "./command.ts";
import { tellRebuild } from "./rebuild-report.ts";

type Options = OptionsOf<typeof REBUILD>;

export async function rebuild(subject: string, options: Options): Promise<number> {
  const { registry } = options;
  if (registry !== undefined)
    return (await import("./rebuild-from-registry.ts")).rebuildFromRegistry(subject, registry, options);
  const strange = (["root", "privateHost", "sign", "passwordFile", "to"] as const).find(
    (name) => options[name] !== undefined,
  );
  if (strange !== undefined)
    throw new FarmError("USAGE", {
      detail: `--${kebab(strange)} goes with --registry`,
      hint: "See `kmodfarm rebuild --help`.",
    });
  return withStoredFarm(options, async (farm) => {
    const { manifest, original } = await findManifest(subject, farm);
    return withBoard(options, async (watched) => {
      const report = await buildAgain(manifest, await ownTask(farm, manifest, original, watched), watched);
      await keepOwn(farm, manifest, report, (text) => watched.progress.say(text));
      await tellRebuild(report, options);
      return report.result === "equal" ? 0 : 1;
    });
  });
}

/** The farm's own second build is a statement like anybody's. */
async function keepOwn(
  farm: Farm,
  manifest: Manifest,
  report: RebuildReport,
  say: (text: string) => void,
): Promise<void> {
  const attestor = await openKeyedAttestor(farm);
  if (attestor === undefined) return say("this farm has no key for builder, so the result is not kept");
  const statement = await rebuildStatement(report, manifest, attestor.builder.id);
  if (statement === undefined) return;
  const bytes = await signStatement(attestor, statement);
  const [brought] = await addStatements(farm, [{ name: "the result", bytes }], REBUILDER, () => new Date());
  if (brought?.result === "refused") say(`the result is not kept: ${brought.fact}`);
  else say("the store keeps the result as a signed statement for the gate");
}

const REBUILDER = { by: "kmodfarm rebuild", why: "built again in a different environment" };

interface Found {
  readonly manifest: Manifest;
  readonly original: (module: string) => Promise<Buffer | undefined>;
}

/** A manifest file, a directory that holds one, or words that name an artifact of the store. */
async function findManifest(subject: string, farm: Farm): Promise<Found> {
  const isDirectory = (await stat(subject).catch(() => undefined))?.isDirectory() ?? false;
  const file = isDirectory ? join(subject, "manifest.json") : subject;
  // A driver's own tree may have the name that its artifacts have in the store.
  if (!(await exists(file)))
    return { manifest: await findPublished(subject, farm), original: async () => undefined };
  const manifest = parseDocument(Manifest, await readText(file), file);
  return {
    manifest,
    original: (module) => readFile(join(dirname(file), `${module}.ko`)).catch(() => undefined),
  };
}

async function findPublished(subject: string, { store }: Farm): Promise<Manifest> {
  const { indices } = await readPublished(store);
  return readManifest(store, artifactNamed(listAll(indices), subject).entry);
}
