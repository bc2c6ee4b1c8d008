/** Whether an artifact's folder, or a single module, is what a registry says that it published. */

import { FarmError } from "../base/error.ts";
import { type Digest, sha256 } from "../base/json.ts";
import { PACKINGS } from "../builder/outputs.ts";
import { plainBytes } from "../check/opened-modules.ts";
import { splitSignature } from "../formats/module-signature.ts";
import type { Published } from "./documents.ts";
import { Manifest } from "./documents.ts";
import { type Listed, listAll, standingOf, standingWords } from "./standing.ts";
import { parseStored } from "./stored.ts";
import type { Store } from "./stores/store.ts";
import type { Break } from "./verify.ts";
import { viewPath } from "./view-path.ts";

export interface FoundArtifact {
  readonly breaks: readonly Break[];
  readonly remarks: readonly string[];
}

const MANIFEST = "manifest.json";
/** Longer ones are of no artifact. */
const MANIFEST_LIMIT_BYTES = 16 << 20;

/** An artifact as the view has it: every file that its manifest names, and no other. */
export async function verifyArtifact(folder: Store, state: Published | undefined): Promise<FoundArtifact> {
  const bytes = await folder.read(MANIFEST, MANIFEST_LIMIT_BYTES);
  if (bytes === undefined)
    throw new FarmError("FILE_UNREADABLE", { detail: `${folder.place} has no ${MANIFEST}` });
  const breaks: Break[] = [];
  const broken = (link: Break["link"], fact: string) => breaks.push({ link, code: "STORE_CORRUPT", fact });
  const files = filesOf(parseStored(folder, MANIFEST, bytes, Manifest));
  const promised = new Map(files.flatMap(({ paths, digest }) => paths.map((path) => [path, digest])));
  const there = new Set<string>();
  for await (const { path } of folder.walk("")) {
    if (path === MANIFEST || SIDECAR.test(path)) continue;
    there.add(path);
    const digest = promised.get(path);
    if (digest === undefined) broken("other files", `${folder.place}/${path} is not in the manifest`);
    else if (sha256((await folder.read(path)) ?? "") !== digest)
      broken("files", `${folder.place}/${path} is not what the manifest promises`);
  }
  for (const { paths } of files)
    if (!paths.some((path) => there.has(path))) broken("files", `${folder.place}/${paths[0]} is missing`);
  const found = state === undefined ? [] : byDigest(state, [sha256(bytes)]);
  if (state !== undefined && found.length === 0)
    broken("artifacts", `no artifact of the registry has the manifest ${folder.place}/${MANIFEST}`);
  return {
    breaks: [...breaks, ...found.flatMap((one) => notGiven(state, one))],
    remarks: remarksOn(state, found),
  };
}

/** A module's file, with or without a signature, compressed or not, by whomever. */
export async function verifyModule(bytes: Buffer, what: string, state: Published): Promise<FoundArtifact> {
  const plain = (await plainBytes({ name: what, bytes })) ?? bytes;
  const found = byDigest(state, [sha256(bytes), sha256(plain), ...unsigned(plain, what)]);
  const breaks =
    found.length === 0
      ? [
          {
            link: "artifacts",
            code: "STORE_CORRUPT",
            fact: `no artifact of the registry has the bytes of ${what}`,
          } as const,
        ]
      : found.flatMap((one) => notGiven(state, one));
  return { breaks, remarks: remarksOn(state, found) };
}

/** Sidecars are added and taken away without a new manifest. */
const SIDECAR = /\.(p7s|merkle|sigstore\.json|tlog-proof)$/;

/** Which file has which bytes; how a module is packed its manifest does not say. */
function filesOf({
  modules,
  files = [],
  sbom,
  log,
}: Manifest): readonly { readonly paths: string[]; readonly digest: Digest }[] {
  return [
    ...modules.flatMap(({ name, digests: { unsigned: built, stripped, compressed } }) => [
      { paths: [`${name}.ko`], digest: stripped ?? built },
      ...(compressed === undefined
        ? []
        : [{ paths: Object.values(PACKINGS).map((packing) => `${name}.ko.${packing}`), digest: compressed }]),
    ]),
    ...files.map(({ path, digest }) => ({ paths: [`files/${path}`], digest })),
    ...(sbom === undefined ? [] : [{ paths: ["sbom.cdx.json"], digest: sbom.digest }]),
    { paths: ["build.log"], digest: log.digest },
  ];
}

/** What a signature was added to. */
function unsigned(bytes: Buffer, what: string): Digest[] {
  try {
    const { content, signature } = splitSignature(bytes, what);
    return signature === undefined ? [] : [sha256(content)];
  } catch {
    // Not a module, or one whose signature is none: its own bytes decide.
    return [];
  }
}

function byDigest({ indices }: Published, digests: readonly Digest[]): Listed[] {
  const isIts = (digest: string | undefined) => digests.some((one) => one === digest);
  return listAll(indices).filter(
    ({ entry: { manifest, modules } }) =>
      isIts(manifest) ||
      modules.some(({ digest, stripped, compressed }) => [digest, stripped, compressed?.digest].some(isIts)),
  );
}

function notGiven(state: Published | undefined, listed: Listed): Break[] {
  const standing = standingOf(state?.decisions ?? [], listed);
  if (standing.word !== "withdrawn") return [];
  return [
    {
      link: "artifacts",
      code: "STORE_CORRUPT",
      fact: `${viewPath(listed.entry)} is ${standingWords(standing)}`,
    },
  ];
}

function remarksOn(state: Published | undefined, found: readonly Listed[]): string[] {
  if (state === undefined) return ["no registry was named (--store), so only the manifest was compared"];
  return found.map((one) => `${viewPath(one.entry)}: ${standingWords(standingOf(state.decisions, one))}`);
}
