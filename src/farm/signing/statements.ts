/**
 * Statements of how artifacts were built: the farm makes one of each that it built itself, and believes its own.
 */
import { FarmError } from "../../base/error.ts";
import { hexOf } from "../../base/json.ts";
import { provenanceOf, type WatchedBuild } from "../../provenance/build.ts";
import { writeBundle } from "../../provenance/bundle.ts";
import type { TrustedBuilder } from "../../provenance/judge.ts";
import type { PublicKey } from "../../provenance/public-key.ts";
import {
  type StatedModule,
  type Statement,
  statementOf,
  writeStatement,
} from "../../provenance/statement.ts";
import type { FarmSigning } from "./keys.ts";

/** What of a farm speaks for it. */
export interface Speaker {
  readonly signing: Pick<FarmSigning, "keysFor" | "sign">;
  readonly config: { readonly builderId?: string | undefined };
}

/** Who states how this farm's artifacts were built. */
export interface Attestor {
  /** Whose statements they are, and the key that they can be verified with. */
  readonly builder: TrustedBuilder;
  /** Signs a statement's text as DSSE's payload. */
  readonly sign: (payload: string) => Promise<Uint8Array>;
}

/** Undefined for a farm without a key for statements. @throws FarmError KEY_UNREADABLE, KEY_LOCKED */
export async function openAttestor({ signing, config }: Speaker): Promise<Attestor | undefined> {
  const [first] = await signing.keysFor("builder");
  if (first === undefined) return undefined;
  const [name, key] = first;
  return {
    builder: ownBuilder(config, key),
    sign: (payload) => signing.sign("builder", { kind: "statement", payload }, name),
  };
}

/**
 * Whose statements count where no policy says whose: this farm's own. Where its keys cannot be had nobody's do, and the
 * check says so.
 */
export async function ownBuilders({ signing, config }: Speaker): Promise<readonly TrustedBuilder[]> {
  try {
    const keys = await signing.keysFor("builder");
    return [...keys.values()].map((key) => ownBuilder(config, key));
  } catch (thrown) {
    if (thrown instanceof FarmError && UNAVAILABLE.has(thrown.code)) return [];
    throw thrown;
  }
}

const UNAVAILABLE: ReadonlySet<string> = new Set(["KEY_UNREADABLE", "KEY_LOCKED"]);

function ownBuilder({ builderId }: Speaker["config"], key: PublicKey): TrustedBuilder {
  return { id: builderId ?? builderIdOf(key), key };
}

/** The name of a builder that nobody named. */
export function builderIdOf({ fingerprint }: PublicKey): string {
  return `urn:kmodfarm:builder:${hexOf(fingerprint)}`;
}

/** A statement in its bundle. @throws FarmError SIGNING_REFUSED */
export async function signStatement({ builder, sign }: Attestor, statement: Statement): Promise<Buffer> {
  const payload = writeStatement(statement);
  return Buffer.from(writeBundle(payload, await sign(payload), builder.key));
}

/** States a build that this farm planned and watched. @throws FarmError SIGNING_REFUSED */
export async function attest(
  attestor: Attestor,
  build: WatchedBuild,
  modules: readonly StatedModule[],
): Promise<Buffer> {
  return signStatement(attestor, statementOf(modules, provenanceOf(attestor.builder.id, build)));
}
