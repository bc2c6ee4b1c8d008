/**
 * Statements of how artifacts were built: the farm makes one of each that it built itself, and believes its own.
 */
import { FarmError } from "../../base/error.ts";
import { digestOf, hexOf } from "../../base/json.ts";
import { provenanceOf, type WatchedBuild } from "../../provenance/build.ts";
import type { CertifiedBuilder, KeyedBuilder, TrustedBuilder } from "../../provenance/builder.ts";
import { writeBundle } from "../../provenance/bundle.ts";
import type { PublicKey } from "../../provenance/public-key.ts";
import {
  type StatedModule,
  type Statement,
  statementOf,
  writeStatement,
} from "../../provenance/statement.ts";
import { requireToken, signCertified } from "../../signing/certificates.ts";
import type { KeylessPlace } from "../../signing/keys/keyless.ts";
import type { SigningRequest } from "../../signing/signer.ts";
import { certifiedByFile } from "./identity.ts";
import type { FarmSigning, KeylessKey } from "./keys.ts";

/** What of a farm speaks for it. */
export interface Speaker {
  readonly signing: Pick<FarmSigning, "keysFor" | "sign" | "keyless">;
  readonly config: { readonly builderId?: string | undefined };
}

/** Who states how this farm's artifacts were built. */
export interface Attestor {
  /** Whose statements they are. */
  readonly builder: TrustedBuilder;
  /** A statement's text, signed, in its bundle. */
  readonly sign: (payload: string) => Promise<string>;
}

/**
 * Undefined for a farm without a key for statements. Where it may sign without a key it does.
 * @throws FarmError KEY_UNREADABLE, KEY_LOCKED, CONFIG_INVALID
 */
export async function openAttestor(speaker: Speaker): Promise<Attestor | undefined> {
  const [keyless] = speaker.signing.keyless;
  return keyless === undefined ? openKeyedAttestor(speaker) : openCertifiedAttestor(speaker, keyless);
}

/** The same with a key that stays: who builds again is told by it from others. */
export async function openKeyedAttestor({ signing, config }: Speaker): Promise<Attestor | undefined> {
  const [first] = await signing.keysFor("builder");
  if (first === undefined) return undefined;
  const [name, key] = first;
  return keyedAttestor(keyedBuilder(config, key), (request) => signing.sign("builder", request, name));
}

/** What a key of this process signs. */
export function keyedAttestor(
  builder: KeyedBuilder,
  sign: (request: SigningRequest) => Promise<Uint8Array>,
): Attestor {
  return {
    builder,
    sign: async (payload) => writeBundle(payload, await sign({ kind: "statement", payload }), builder.key),
  };
}

async function openCertifiedAttestor(
  { config }: Speaker,
  { name, place, open }: KeylessKey,
): Promise<Attestor> {
  const builder = await certifiedBy(config, place);
  // Before anything is built: a token that is missing should not cost a night.
  await requireToken(place);
  const { identity } = builder;
  return {
    builder,
    async sign(payload) {
      const bundle = await signCertified(payload, place, await open());
      const fault = builder.faultIn(Buffer.from(bundle));
      if (fault === undefined) return bundle;
      throw new FarmError("SIGNING_REFUSED", {
        detail: `${place.roots} does not show that ${identity.subject} of ${identity.issuer} signed what the key ${name} signed just now: ${fault}`,
        hint: "Compare `issuer` and `subject` with what the token says, and `roots` with the servers that were asked.",
      });
    },
  };
}

/**
 * Whose statements count where no policy says whose: this farm's own. Where its keys cannot be had nobody's do, and the
 * check says so.
 */
export async function ownBuilders({ signing, config }: Speaker): Promise<readonly TrustedBuilder[]> {
  const certified = await Promise.all(signing.keyless.map(({ place }) => certifiedBy(config, place)));
  try {
    const keys = await signing.keysFor("builder");
    return [...certified, ...[...keys.values()].map((key) => keyedBuilder(config, key))];
  } catch (thrown) {
    if (thrown instanceof FarmError && UNAVAILABLE.has(thrown.code)) return certified;
    throw thrown;
  }
}

const UNAVAILABLE: ReadonlySet<string> = new Set(["KEY_UNREADABLE", "KEY_LOCKED"]);

function keyedBuilder({ builderId }: Speaker["config"], key: PublicKey): KeyedBuilder {
  return { id: builderId ?? builderIdOf(key), key };
}

/** The name of a builder that nobody named. */
export function builderIdOf({ fingerprint }: PublicKey): string {
  return `urn:kmodfarm:builder:${hexOf(fingerprint)}`;
}

/** Called by its own name, where that is a URI: a workflow's is. @throws FarmError FILE_UNREADABLE, CONFIG_INVALID */
async function certifiedBy({ builderId }: Speaker["config"], place: KeylessPlace): Promise<CertifiedBuilder> {
  const { issuer, subject, roots } = place;
  const own = URL.canParse(subject) ? subject : `urn:kmodfarm:builder:${hexOf(digestOf([issuer, subject]))}`;
  return certifiedByFile(builderId ?? own, { issuer, subject, roots });
}

/** @throws FarmError SIGNING_REFUSED, and what signing without a key may meet */
export async function signStatement({ sign }: Attestor, statement: Statement): Promise<Buffer> {
  return Buffer.from(await sign(writeStatement(statement)));
}

/** States a build that this farm planned and watched. @throws FarmError SIGNING_REFUSED */
export async function attest(
  attestor: Attestor,
  build: WatchedBuild,
  modules: readonly StatedModule[],
): Promise<Buffer> {
  return signStatement(attestor, statementOf(modules, provenanceOf(attestor.builder.id, build)));
}
