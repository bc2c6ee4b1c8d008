/** `kmodfarm verify`: whether what is here holds together, and who says so. */
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { FarmError } from "../../../base/error.ts";
import { ERRORS } from "../../../base/error-codes.ts";
import { Http } from "../../../base/http.ts";
import { formatSize } from "../../../base/size.ts";
import { MODULE_LIMIT_BYTES } from "../../../builder/outputs.ts";
import { storePlaceOf } from "../../../farm/config/store.ts";
import { readPolicy } from "../../../farm/policy-file.ts";
import { readNote } from "../../../provenance/signed-note.ts";
import { firstTrust, ROOT_LIMIT_BYTES, type Trust } from "../../../provenance/trust.ts";
import { readPublished } from "../../../registry/generations.ts";
import { openFolderStore } from "../../../registry/stores/folder.ts";
import { openStore } from "../../../registry/stores/index.ts";
import { webReader } from "../../../registry/stores/web.ts";
import { type Break, type VerifiedPlace, verifyRegistry } from "../../../registry/verify.ts";
import { verifyArtifact, verifyModule } from "../../../registry/verify-artifact.ts";
import type { OptionsOf } from "../../command.ts";
import { readNamedFile } from "../../named-file.ts";
import { counted, print, printJson } from "../../output.ts";
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
  return breaks.length === 0 ? 0 : Math.max(...breaks.map(({ code }) => ERRORS[code].exit));
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

/** @throws FarmError FILE_UNREADABLE */
async function kindOf(place: string): Promise<"registry" | "artifact" | "module"> {
  if (/^[a-z0-9]+:\/\//i.test(place)) return "registry";
  const isThere = (path: string) => stat(path).catch(() => undefined);
  const status = await isThere(place);
  if (status === undefined)
    throw new FarmError("FILE_UNREADABLE", { about: place, joint: " ", detail: "is not there" });
  if (!status.isDirectory()) return "module";
  return (await isThere(join(place, "manifest.json"))) === undefined ? "registry" : "artifact";
}

async function withRegistry<T>(place: string, work: (registry: VerifiedPlace) => Promise<T>): Promise<T> {
  if (/^https?:\/\//i.test(place)) {
    const http = new Http();
    try {
      return await work(webReader(place, http));
    } finally {
      await http.close();
    }
  }
  const store = await openStore(storePlaceOf(place, process.cwd()));
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

async function registryReport(registry: VerifiedPlace, { root, policy }: VerifyOptions): Promise<Report> {
  const builders = policy === undefined ? [] : (await readPolicy(policy)).builders;
  const trusted = root === undefined ? undefined : await readRoot(root);
  const found = await verifyRegistry(registry, { trusted, builders, now: new Date() });
  const { origin, serial, generation, files, bytes, breaks, remarks } = found;
  const head = serial === undefined ? "" : ` ${origin}, head ${serial},`;
  return {
    what: `registry${head} generation ${generation}, ${counted(files, "file")}, ${formatSize(bytes)}`,
    ...{ breaks, remarks },
  };
}

/** @throws FarmError FILE_UNREADABLE, NOTE_MALFORMED, METADATA_UNSIGNED */
async function readRoot(file: string): Promise<Trust> {
  return firstTrust(readNote(await readNamedFile(file, ROOT_LIMIT_BYTES), ROOT_LIMIT_BYTES, file), file);
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
