/**
 * The farm's keys at work: which there are, and the signer's processes, each started when its role is first needed. The
 * farm asks; it never sees a key.
 */
import { dirname, join } from "node:path";
import { FarmError } from "../base/error.ts";
import { exists } from "../base/scratch.ts";
import type { PublicKey } from "../provenance/public-key.ts";
import { createKey } from "../signing/create.ts";
import { type KeySetting, openSigner } from "../signing/open.ts";
import { ROLES, type Role } from "../signing/roles.ts";
import type { Signer, SigningRequest } from "../signing/signer.ts";
import type { FarmConfig } from "./config/index.ts";

/** Those that a farm cannot do without. Modules are signed only for certificates that somebody enrols. */
const OWN_ROLES = ["root", "head", "builder"] as const satisfies readonly Role[];

/** The keys that are configured; where none of a farm's own are, those that a first run makes, whether or not it has. */
export function farmKeys({ keys, keyDirectory }: Pick<FarmConfig, "keys" | "keyDirectory">): KeySetting[] {
  return hasOwnKeys(keys) ? [...keys] : [...keys, ...OWN_ROLES.map((role) => madeKey(keyDirectory, role))];
}

export function hasOwnKeys(keys: FarmConfig["keys"]): boolean {
  return keys.some(({ role }) => role !== "module");
}

function madeKey(directory: string, role: Role): KeySetting {
  return {
    ...{ name: role, role },
    place: { kind: "file", path: join(directory, `${role}.pem`) },
    password: { kind: "asked" },
  };
}

/** Makes keys where none are configured, and says so. @throws FarmError PLACE_UNUSABLE, TOOL_MISSING */
export async function makeMissingKeys(
  { keys, keyDirectory }: Pick<FarmConfig, "keys" | "keyDirectory">,
  say: (text: string) => void,
): Promise<void> {
  if (hasOwnKeys(keys)) return;
  const made: Role[] = [];
  for (const role of OWN_ROLES) {
    const { place } = madeKey(keyDirectory, role);
    if (place.kind !== "file" || (await exists(place.path))) continue;
    const [kind = "p256"] = ROLES[role].kinds;
    await createKey({ name: role, kind, directory: dirname(place.path), hasCertificate: false }).catch(
      (thrown) => {
        // Another process was faster.
        if (!(thrown instanceof FarmError) || thrown.code !== "KEY_EXISTS") throw thrown;
      },
    );
    made.push(role);
  }
  if (made.length > 0)
    say(
      `keys: none are configured, so this run made some without passwords in ${keyDirectory}: ${made.join(", ")}; docs/trust.md says how to make and keep better ones`,
    );
}

/** The keys of a farm, open as far as they were needed. */
export class FarmSigning implements AsyncDisposable {
  readonly #keys: readonly KeySetting[];
  readonly #signers = new Map<Role, Promise<Signer>>();
  /** Passwords are asked for one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(config: Pick<FarmConfig, "keys" | "keyDirectory">) {
    this.#keys = farmKeys(config);
  }

  /** Public keys of a role, by their names. @throws FarmError KEY_UNREADABLE, KEY_LOCKED */
  async keysFor(role: Role): Promise<ReadonlyMap<string, PublicKey>> {
    return (await this.#signer(role)).keys;
  }

  /** Signs with a role's key: the first of them, or the one of that name. @throws FarmError SIGNING_REFUSED, KEY_UNREADABLE, KEY_LOCKED */
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

  #signer(role: Role): Promise<Signer> {
    const known = this.#signers.get(role);
    if (known !== undefined) return known;
    const opening = this.#last.then(() => openSigner(this.#keys.filter((key) => key.role === role)));
    this.#signers.set(role, opening);
    this.#last = opening.catch(() => {
      // Who asked hears of it; the next one may find the key in order.
      this.#signers.delete(role);
    });
    return opening;
  }
}
