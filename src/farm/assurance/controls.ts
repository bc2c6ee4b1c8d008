/**
 * What of a registry is the evidence for controls that others ask about, or what is missing for it. Only what a command can
 * show is claimed; which controls there are, and what each rests on, stands in control-catalogue.ts.
 */
import { FarmError } from "../../base/error.ts";
import { type Digest, sha256 } from "../../base/json.ts";
import { readBundle } from "../../provenance/bundle.ts";
import { HEAD_PATH } from "../../provenance/head.ts";
import { CHECKPOINT_PATH, readCheckpointAt } from "../../provenance/shown-log.ts";
import { PREDICATE_TYPE } from "../../provenance/slsa.ts";
import { readStatement } from "../../provenance/statement.ts";
import { rootPath } from "../../provenance/trust.ts";
import { blobPath, readBlob } from "../../registry/blobs.ts";
import type { Part, Published } from "../../registry/documents.ts";
import { generationPath, readPublished } from "../../registry/generations.ts";
import { readHeadAt, readTrusts } from "../../registry/metadata.ts";
import { type Listed, listAll } from "../../registry/standing.ts";
import type { Store } from "../../registry/stores/store.ts";
import { viewPath } from "../../registry/view-path.ts";
import { CONTROLS, type Control, type EvidenceName } from "./control-catalogue.ts";

/** Something in the registry that a person can open. */
interface Evidence {
  readonly fact: string;
  /** Below the registry. */
  readonly file?: string;
  readonly digest?: Digest;
  /** What shows it. */
  readonly command: string;
}

type Found =
  | { readonly kind: "there"; readonly evidence: Evidence }
  | { readonly kind: "missing"; readonly what: string };

export interface ControlReport extends Omit<Control, "rests"> {
  readonly evidence: readonly Evidence[];
  readonly missing: readonly string[];
}

/** Every control, with what this registry has for it today. @throws FarmError STORE_CORRUPT, STORE_MISSING */
export async function reportControls(store: Store, now = new Date()): Promise<readonly ControlReport[]> {
  const state = await readPublished(store);
  if (state.head === null)
    throw new FarmError("STORE_MISSING", { detail: `${store.place} has no generation` });
  const looked = new Map<EvidenceName, Promise<Found>>();
  const look = (name: EvidenceName): Promise<Found> => {
    const known = looked.get(name) ?? LOOKS[name]({ store, state, now, artifacts: listAll(state.indices) });
    looked.set(name, known);
    return known;
  };
  const reports: ControlReport[] = [];
  for (const { rests, ...control } of CONTROLS) {
    const found = await Promise.all(rests.map(look));
    reports.push({
      ...control,
      evidence: found.flatMap((one) => (one.kind === "there" ? [one.evidence] : [])),
      missing: found.flatMap((one) => (one.kind === "missing" ? [one.what] : [])),
    });
  }
  return reports;
}

interface Place {
  readonly store: Store;
  readonly state: Published;
  readonly now: Date;
  readonly artifacts: readonly Listed[];
}

const there = (evidence: Evidence): Found => ({ kind: "there", evidence });
const missing = (what: string): Found => ({ kind: "missing", what });

async function fileAt(store: Store, path: string): Promise<Pick<Evidence, "file" | "digest"> | undefined> {
  const bytes = await store.read(path);
  return bytes === undefined ? undefined : { file: path, digest: sha256(bytes) };
}

/** A share of all artifacts that have something, with one of them to open. */
function share(
  { artifacts }: Place,
  what: string,
  partOf: (listed: Listed) => { readonly digest: Digest } | undefined,
  hint: string,
  command: (artifact: string) => string = checkOf,
): Found {
  const having = artifacts.filter((one) => partOf(one) !== undefined);
  const [first] = having;
  const digest = first === undefined ? undefined : partOf(first)?.digest;
  if (first === undefined || digest === undefined) return missing(`no artifact has ${what}: ${hint}`);
  const fact = `${having.length} of ${artifacts.length} artifacts have ${what} (${viewPath(first.entry)})`;
  return there({ fact, file: blobPath(digest), digest, command: command(nameOf(first)) });
}

const checkOf = (artifact: string) => `kmodfarm check ${artifact}`;

/** As commands take it. */
function nameOf({ entry, channel }: Listed): string {
  return `${channel}/${viewPath(entry).replace(/^view\//, "")}`;
}

function indicesOf({ parts }: Published): Part | undefined {
  return Object.entries(parts).find(([name]) => name.startsWith("indices/"))?.[1];
}

function decided({ state }: Place, actions: readonly string[], fact: string, hint: string): Found {
  const count = state.decisions.filter(({ action }) => actions.includes(action)).length;
  const [name, part] = Object.entries(state.parts).findLast(([key]) => key.startsWith("decisions/")) ?? [];
  if (count === 0 || name === undefined || part === undefined) return missing(hint);
  return there({
    fact: `${count} ${fact} (${name})`,
    file: blobPath(part.digest),
    digest: part.digest,
    command: "kmodfarm generations",
  });
}

/** Statements of rebuilds that came to other bytes are kept too: they are no evidence of this. */
async function saysEqual(store: Store, { digest }: Part): Promise<boolean> {
  const { payload } = readBundle(await readBlob(store, digest), digest);
  return readStatement(payload, digest).predicateType === PREDICATE_TYPE;
}

const LOOKS: Readonly<Record<EvidenceName, (place: Place) => Promise<Found>>> = {
  async root({ store }) {
    const trust = (await readTrusts(store)).at(-1);
    const file = trust === undefined ? undefined : await fileAt(store, rootPath(trust.version));
    if (trust === undefined || file === undefined)
      return missing("the registry has no signed root: `kmodfarm root publish`");
    const { threshold, keys } = trust.roles.root;
    const fact = `root ${trust.version} of ${trust.origin}: ${threshold} of ${keys.length} keys sign the next one, until ${trust.expires.slice(0, 10)}`;
    return there({ fact, ...file, command: `kmodfarm verify ${store.place}` });
  },
  async rootThreshold({ store }) {
    const trust = (await readTrusts(store)).at(-1);
    if (trust === undefined || trust.roles.root.threshold < 2)
      return missing(
        "one person alone can change the root: sign it with several keys and a threshold (docs/trust.md)",
      );
    const file = await fileAt(store, rootPath(trust.version));
    const fact = `${trust.roles.root.threshold} root keys must sign together`;
    return there({ fact, ...file, command: `kmodfarm verify ${store.place}` });
  },
  async keyRoles({ store }) {
    const trust = (await readTrusts(store)).at(-1);
    if (trust === undefined) return missing("the registry has no signed root, so no key has a role");
    const roles = Object.entries(trust.roles).flatMap(([role, one]) =>
      one === undefined ? [] : [{ role, keys: one.keys }],
    );
    const shared = [...trust.keys.keys()].find(
      (key) => roles.filter(({ keys }) => keys.includes(key)).length > 1,
    );
    if (shared !== undefined)
      return missing(`the key ${shared} has two roles: give each role a key of its own`);
    const file = await fileAt(store, rootPath(trust.version));
    const fact = `no key of the root has two of its roles: ${roles.map(({ role }) => role).join(", ")}`;
    return there({ fact, ...file, command: `kmodfarm verify ${store.place}` });
  },
  async keyExpiry({ store, now }) {
    const trust = (await readTrusts(store)).at(-1);
    if (trust === undefined) return missing("the registry has no signed root, so nothing expires");
    const day = trust.expires.slice(0, 10);
    if (Date.parse(trust.expires) <= now.getTime())
      return missing(`root ${trust.version} expired on ${day}: \`kmodfarm root new --after\``);
    const file = await fileAt(store, rootPath(trust.version));
    const fact = `the root, and with it every key, expires on ${day}`;
    return there({ fact, ...file, command: `kmodfarm verify ${store.place}` });
  },
  async rotation({ store }) {
    const trusts = await readTrusts(store);
    const last = trusts.at(-1);
    const gone = new Set(
      trusts.flatMap(({ keys }) => [...keys.keys()]).filter((key) => last?.keys.has(key) === false),
    );
    if (last === undefined || gone.size === 0)
      return missing("no key was ever replaced: `kmodfarm root new --after` is how");
    const file = await fileAt(store, rootPath(last.version));
    return there({
      fact: `${gone.size} keys of earlier roots count no more, by ${trusts.length} roots, each signed by the one before`,
      ...file,
      command: `kmodfarm verify ${store.place}`,
    });
  },
  async head({ store, now }) {
    const trusts = await readTrusts(store);
    const found = trusts.length === 0 ? undefined : await readHeadAt(store, trusts);
    const file = await fileAt(store, HEAD_PATH);
    if (found === undefined || file === undefined)
      return missing("the registry has no signed head, so nodes cannot tell what is published");
    const { serial, expires } = found.head;
    if (Date.parse(expires) <= now.getTime())
      return missing(`head ${serial} expired on ${expires.slice(0, 10)}: any run signs a new one`);
    return there({
      fact: `head ${serial} is signed by keys of the root, and expires on ${expires.slice(0, 10)}`,
      ...file,
      command: `kmodfarm verify ${store.place}`,
    });
  },
  async generation({ store, state: { head } }) {
    const path = generationPath(head?.number ?? 0);
    const file = await fileAt(store, path);
    if (file === undefined) return missing(`${path} is missing: \`kmodfarm fsck\``);
    const fact = `generation ${head?.number}: one complete state, by its digest; nothing in it changes later`;
    return there({ fact, ...file, command: "kmodfarm generations" });
  },
  async index({ state, artifacts }) {
    const part = indicesOf(state);
    if (part === undefined) return missing("nothing is published");
    const fact = `${artifacts.length} artifacts, each with driver, version, kernel and digests`;
    return there({ fact, file: blobPath(part.digest), digest: part.digest, command: "kmodfarm matrix show" });
  },
  async manifest(place) {
    const [first] = place.artifacts;
    if (first === undefined) return missing("nothing is published");
    const { manifest } = first.entry;
    const fact = `a manifest for each of ${place.artifacts.length} artifacts, with all verdicts of its checks (${viewPath(first.entry)})`;
    return there({ fact, file: blobPath(manifest), digest: manifest, command: checkOf(nameOf(first)) });
  },
  async provenance(place) {
    const partOf = ({ entry }: Listed) => entry.provenance?.[0];
    const hint = "a run with a key for builder makes them";
    return share(place, "a signed statement of how they were built", partOf, hint);
  },
  async inputs(place) {
    const hint = "`archive: headers` or `all` keeps it, for what is built from then on";
    return share(
      place,
      "a list of all their inputs by digest",
      ({ entry }) => entry.inputs,
      hint,
      () => "kmodfarm fsck",
    );
  },
  async sbom(place) {
    const hint = "an artifact has one as soon as its inputs are kept";
    return share(place, "a bill of materials", ({ entry }) => entry.sbom, hint);
  },
  async rebuilds(place) {
    const equal = new Map<Listed, Part>();
    for (const listed of place.artifacts)
      for (const part of listed.entry.rebuilds ?? [])
        if (await saysEqual(place.store, part)) equal.set(listed, part);
    const hint = "`kmodfarm rebuild --registry … --sign` and `kmodfarm statement add`";
    return share(
      place,
      "a statement of somebody who built the same bytes again",
      (one) => equal.get(one),
      hint,
    );
  },
  async moduleSignatures(place) {
    const partOf = ({ entry, channel }: Listed) =>
      channel === "stable" ? entry.modules.flatMap(({ signatures = [] }) => signatures)[0] : undefined;
    const hint = "`signatures` in the configuration names certificates that nodes enrol";
    return share(
      place,
      "signatures that kernels verify",
      partOf,
      hint,
      () => `kmodfarm verify ${place.store.place}`,
    );
  },
  async policy({ state, artifacts }) {
    const judged = artifacts.filter(({ entry }) => entry.judged !== undefined);
    const policies = new Set(judged.map(({ entry }) => entry.judged?.policy));
    const part = indicesOf(state);
    const [first] = judged;
    if (part === undefined || first === undefined)
      return missing("no artifact says by which policy it was judged: `kmodfarm run` notes it");
    const fact = `${judged.length} of ${artifacts.length} artifacts were judged by the policy ${[...policies].join(", ")}`;
    return there({
      fact,
      file: blobPath(part.digest),
      digest: part.digest,
      command: checkOf(nameOf(first)),
    });
  },
  async decisions(place) {
    const hint = "nothing was decided yet";
    return decided(
      place,
      ["promote", "refuse", "withdraw", "rollback", "import"],
      "decisions, with who and why",
      hint,
    );
  },
  async withdrawals(place) {
    const hint = "nothing was ever withdrawn: `kmodfarm withdraw --deny` does that, and nodes hear of it";
    return decided(place, ["withdraw", "rollback"], "withdrawals, with who and why", hint);
  },
  async floors(place) {
    const hint = "no driver has a least version: `kmodfarm floor`";
    return decided(place, ["floor"], "least versions of drivers", hint);
  },
  async loadTests(place) {
    const passed = place.artifacts.filter(({ entry }) => entry.verdicts?.load === "pass");
    const [first] = passed;
    if (first === undefined)
      return missing("no artifact passed a load test in its kernel: `kmodfarm run` makes them");
    const { manifest } = first.entry;
    const fact = `${passed.length} of ${place.artifacts.length} artifacts were loaded and unloaded in their kernel`;
    return there({ fact, file: blobPath(manifest), digest: manifest, command: checkOf(nameOf(first)) });
  },
  async log({ store }) {
    const trust = (await readTrusts(store)).at(-1);
    const found = trust?.roles.log === undefined ? undefined : await readCheckpointAt(store, trust);
    const file = await fileAt(store, CHECKPOINT_PATH);
    if (found === undefined || file === undefined)
      return missing("the registry keeps no append-only log of what was decided");
    return there({
      fact: `an append-only log with ${found.checkpoint.size} entries, signed by a key of the root`,
      ...file,
      command: `kmodfarm verify ${store.place}`,
    });
  },
  async isolation() {
    // A statement by this farm is of a build in its sandbox, without a network; it cannot show that of others.
    return missing(
      "that builds ran isolated is the builder's own word, in its statements; docs/isolation.md and `kmodfarm doctor` show what this machine does",
    );
  },
  async secrets() {
    return missing(
      "that no secret leaks cannot be seen in a registry; `kmodfarm doctor` names keys that are badly kept",
    );
  },
  async humanUse() {
    return missing(
      "who used a key is not recorded; that a signer's process signs only what its role may is shown by its tests",
    );
  },
};
