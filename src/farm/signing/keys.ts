/**
 * The farm's keys at work: which there are, and the signer's processes, each started when its role is first needed. The
 * farm asks; it never sees a key.
 */
import { lstat, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FarmError, isErrno } from "../../base/error.ts";
import { exists } from "../../base/scratch.ts";
import { type PublicKey, publicKeyFromPem } from "../../provenance/public-key.ts";
import type { KeyOfTheRun } from "../../signing/certificates.ts";
import { createKey } from "../../signing/create.ts";
import type { KeylessPlace } from "../../signing/keys/keyless.ts";
import { type KeySetting, openSigner } from "../../signing/open.ts";
import { ROLES, type Role } from "../../signing/roles.ts";
import type { Signer, SigningRequest } from "../../signing/signer.ts";
import type { FarmConfig } from "../config/index.ts";

/** Where a farm keeps what is its own, unless the configuration says otherwise. */
const OWN_DIRECTORY = ".kmodfarm";

/** Those that a farm cannot do without. Modules are signed only for certificates that somebody enrols. */
export const OWN_ROLES = ["root", "head", "builder", "log"] as const satisfies readonly Role[];

/** The keys that are configured; where none of a farm's own are, those that a first run makes, whether or not it has. */
export function farmKeys({ keys, keyDirectory }: Pick<FarmConfig, "keys" | "keyDirectory">): KeySetting[] {
  return hasOwnKeys(keys) ? [...keys] : [...keys, ...OWN_ROLES.map((role) => madeKey(keyDirectory, role))];
}

export function hasOwnKeys(keys: FarmConfig["keys"]): boolean {
  return keys.some(({ role, place }) => role !== "module" && place.kind !== "keyless");
}

/** Whether an earlier run made keys, for this store or another one beside it. */
export async function hasMadeKeys({
  keys,
  keyDirectory,
}: Pick<FarmConfig, "keys" | "keyDirectory">): Promise<boolean> {
  const { place } = madeKey(keyDirectory, "head");
  return !hasOwnKeys(keys) && place.kind === "file" && exists(place.path);
}

function madeKey(directory: string, role: Role): KeySetting {
  return {
    ...{ name: role, role },
    place: { kind: "file", path: join(directory, `${role}.pem`) },
    password: { kind: "asked" },
    publicKey: join(directory, `${role}.pub`),
  };
}

/**
 * Makes keys where none are configured, and says so. Returns the roles for which it made one.
 * @throws FarmError PLACE_UNUSABLE, TOOL_MISSING
 */
export async function makeMissingKeys(
  { keys, keyDirectory, base }: Pick<FarmConfig, "keys" | "keyDirectory" | "base">,
  say: (text: string) => void,
): Promise<readonly Role[]> {
  if (hasOwnKeys(keys)) return [];
  const made: Role[] = [];
  for (const role of OWN_ROLES) {
    const { place } = madeKey(keyDirectory, role);
    if (place.kind !== "file") continue;
    if (await exists(place.path)) {
      await requireMade(place.path);
      continue;
    }
    const [kind = "p256"] = ROLES[role].kinds;
    const directory = dirname(place.path);
    try {
      await createKey({ name: role, kind, directory, hasCertificate: false, trusts: [base] });
      made.push(role);
    } catch (thrown) {
      // Another process was faster.
      if (!(thrown instanceof FarmError) || thrown.code !== "KEY_EXISTS") throw thrown;
    }
  }
  if (made.length > 0) {
    await ignoreInGit(dirname(keyDirectory));
    say(
      `keys: none are configured, so this run made some without passwords in ${keyDirectory}: ${made.join(", ")}; docs/trust.md says how to make and keep better ones`,
    );
  }
  return made;
}

/** What a farm keeps beside its configuration is often in a driver's repository, and keys must not be committed there. */
async function ignoreInGit(place: string): Promise<void> {
  if (basename(place) !== OWN_DIRECTORY) return;
  await writeFile(join(place, ".gitignore"), "*\n", { flag: "wx" }).catch((thrown) => {
    if (!isErrno(thrown) || thrown.code !== "EEXIST") throw thrown;
  });
}

/**
 * Keys without passwords that a run made are its user's alone. What others may read came from somewhere else, with a
 * driver's tree perhaps: git keeps no such modes. @throws FarmError KEY_UNREADABLE
 */
async function requireMade(path: string): Promise<void> {
  const found = await lstat(path);
  if (found.isFile() && (found.mode & 0o077) === 0) return;
  throw new FarmError("KEY_UNREADABLE", {
    detail: `no run of this farm made the key ${path}: ${found.isFile() ? "others may read it" : "it is no file"}`,
    hint: "Remove the directory of keys if it came with a driver. If the key is yours, run `chmod 600` on it, or name it in `keys` of the configuration.",
  });
}

export interface NamedKey {
  readonly name: string;
  readonly role: Role;
  readonly key: PublicKey;
}

/** An identity that signs with a new key in each run. */
export interface KeylessKey {
  readonly name: string;
  readonly place: KeylessPlace;
  /** @throws FarmError KEY_UNREADABLE */
  readonly open: () => Promise<KeyOfTheRun>;
}

/** The keys of a farm, open as far as they were needed. */
export class FarmSigning implements AsyncDisposable {
  readonly #keys: readonly KeySetting[];
  /** By a first run. */
  readonly #areMade: boolean;
  readonly #signers = new Map<string, Promise<Signer>>();
  /** Passwords are asked for one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(config: Pick<FarmConfig, "keys" | "keyDirectory">) {
    this.#keys = farmKeys(config);
    this.#areMade = !hasOwnKeys(config.keys);
  }

  /** Identities that sign for this farm. */
  get keyless(): readonly KeylessKey[] {
    return this.#keys.flatMap((setting) => {
      const { name, place } = setting;
      return place.kind === "keyless" ? [{ name, place, open: () => this.#keyOfTheRun(setting) }] : [];
    });
  }

  /** All that stay, in their order, without those that are yet to be made. */
  async publicKeys(role?: Role): Promise<readonly NamedKey[]> {
    const found = [];
    for (const setting of this.#lasting(role)) {
      const key = await this.#publicKeyOf(setting);
      if (key !== undefined) found.push({ name: setting.name, role: setting.role, key });
    }
    return found;
  }

  /**
   * Public keys of a role by their names, the one that signs first; without those that a first run is yet to make.
   * @throws FarmError KEY_UNREADABLE, KEY_LOCKED
   */
  async keysFor(role: Role): Promise<ReadonlyMap<string, PublicKey>> {
    const keys = await this.publicKeys(role);
    return new Map(keys.map(({ name, key }) => [name, key]));
  }

  /**
   * Signs with a role's key: the first of them, or the one of that name.
   * @throws FarmError SIGNING_REFUSED, KEY_UNREADABLE, KEY_LOCKED
   */
  async sign(role: Role, request: SigningRequest, name?: string): Promise<Uint8Array> {
    const signer = await this.#signer(role);
    const [first] = signer.keys.keys();
    const key = name ?? first;
    if (key !== undefined) return signer.sign(key, request);
    throw new FarmError("SIGNING_REFUSED", {
      detail: `no key for ${role} is configured`,
      hint: `\`kmodfarm keys create NAME --for ${role}\` makes one; name it in \`keys\` of the configuration.`,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#last;
    for (const signer of this.#signers.values()) await (await signer)[Symbol.asyncDispose]();
    this.#signers.clear();
  }

  async #keyOfTheRun(setting: KeySetting): Promise<KeyOfTheRun> {
    const { name } = setting;
    const signer = await this.#opened(`keyless ${name}`, [setting]);
    const publicKey = signer.keys.get(name);
    if (publicKey === undefined) throw new FarmError("BUG", { detail: `the signer has no key ${name}` });
    return { publicKey, sign: (request) => signer.sign(name, request) };
  }

  /** All keys but those that end with a run. */
  #lasting(role?: Role): readonly KeySetting[] {
    return this.#keys.filter(
      (key) => key.place.kind !== "keyless" && (role === undefined || key.role === role),
    );
  }

  /** From the file beside the key, if there is one: for that the key need not be opened, nor its password asked for. */
  async #publicKeyOf({ name, role, place, publicKey }: KeySetting): Promise<PublicKey | undefined> {
    const pem = publicKey === undefined ? undefined : await readFile(publicKey, "utf8").catch(missing);
    if (pem !== undefined) return publicKeyFromPem(pem, publicKey ?? name);
    const isToBeMade = this.#areMade && place.kind === "file" && !(await exists(place.path));
    return isToBeMade ? undefined : (await this.#signer(role)).keys.get(name);
  }

  #signer(role: Role): Promise<Signer> {
    return this.#opened(role, this.#lasting(role));
  }

  #opened(name: string, settings: readonly KeySetting[]): Promise<Signer> {
    const known = this.#signers.get(name);
    if (known !== undefined) return known;
    const opening = this.#last.then(() => openMatching(settings));
    this.#signers.set(name, opening);
    this.#last = opening.catch(() => {
      // Who asked hears of it; the next one may find the key in order.
      this.#signers.delete(name);
    });
    return opening;
  }
}

/** @throws FarmError KEY_UNREADABLE where the public key beside a key is another one's: what it signs would be refused */
async function openMatching(settings: readonly KeySetting[]): Promise<Signer> {
  const signer = await openSigner(settings);
  for (const { name, publicKey } of settings) {
    const pem = publicKey === undefined ? undefined : await readFile(publicKey, "utf8").catch(missing);
    const said = pem === undefined ? undefined : publicKeyFromPem(pem, publicKey ?? name);
    if (said === undefined || said.fingerprint === signer.keys.get(name)?.fingerprint) continue;
    await signer[Symbol.asyncDispose]();
    throw new FarmError("KEY_UNREADABLE", {
      detail: `${publicKey} is not the public key of ${name}`,
      hint: "Write it again with `kmodfarm keys show`, or remove it.",
    });
  }
  return signer;
}

function missing(thrown: unknown): undefined {
  if (!isErrno(thrown) || thrown.code !== "ENOENT") throw thrown;
  return undefined;
}
