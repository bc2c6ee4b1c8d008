/** A build of a made-up driver, what is said of it, and keys to say it with. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { sha256 } from "../../src/base/json.ts";
import { attest, openAttestor, type Speaker } from "../../src/farm/signing/statements.ts";
import { provenanceOf, testedBuild, type WatchedBuild } from "../../src/provenance/build.ts";
import { writeBundle } from "../../src/provenance/bundle.ts";
import { preAuthEncoding, STATEMENT_PAYLOAD } from "../../src/provenance/dsse.ts";
import { type PublicKey, publicKeyOf } from "../../src/provenance/public-key.ts";
import type { BuiltIdentity } from "../../src/provenance/slsa.ts";
import {
  type BuildStatement,
  failureOf,
  type StatedModule,
  type Statement,
  statementOf,
  writeStatement,
} from "../../src/provenance/statement.ts";
import type { Manifest } from "../../src/registry/documents.ts";
import { statedModule } from "../../src/registry/stated.ts";

export const BUILDER = "urn:kmodfarm:builder:test";

export const IDENTITY: BuiltIdentity = {
  driver: { name: "doorbell", version: "0.1.0", source: sha256("source") },
  distribution: { id: "debian", release: "debian13" },
  architecture: "x86_64",
  kernel: { release: "6.12.107+deb13-amd64", packageVersion: "6.12.107-1", flavour: "generic" },
};

export function makeBuild(changes: Partial<WatchedBuild> = {}): WatchedBuild {
  return {
    identity: IDENTITY,
    recipe: {
      driver: {
        ...{ name: "doorbell", version: "0.1.0", source: IDENTITY.driver.source, modules: ["doorbell"] },
        needs: [
          {
            ...{ name: "bus", version: "2", source: sha256("bus") },
            modules: [{ name: "bus", sha256: sha256("bus.ko") }],
          },
        ],
      },
      headers: [
        { name: "linux-headers-6.12.107+deb13-amd64", version: "6.12.107-1", sha256: "b".repeat(64) },
        { name: "linux-kbuild-6.12.107+deb13", version: "6.12.107-1", sha256: "d".repeat(64) },
      ],
      toolchain: [
        { name: "binutils", version: "2.44-3" },
        { name: "gcc-14", version: "14.2.0-19" },
      ],
    },
    recipeKey: sha256("recipe"),
    toolchain: "debian13",
    log: sha256("log"),
    ...changes,
  };
}

export const MODULES: readonly StatedModule[] = [
  { name: "doorbell", digest: sha256("module built"), stripped: sha256("module stripped") },
  { name: "tally", digest: sha256("tally") },
];

export function makeStatement(
  modules: readonly StatedModule[] = MODULES,
  build: WatchedBuild = makeBuild(),
  builder = BUILDER,
): BuildStatement {
  return statementOf(modules, provenanceOf(builder, build));
}

/** Where a second build was. */
export const ELSEWHERE = { place: "/srv/another/place", jobs: 3 };

/** What somebody states who built it again, with the same bytes. */
export function makeRebuild(
  builder: string,
  modules: readonly StatedModule[] = MODULES,
  build: WatchedBuild = makeBuild({ log: sha256("another log") }),
): Statement {
  return statementOf(modules, provenanceOf(builder, build, ELSEWHERE));
}

/** The same with others. */
export function makeFailure(
  modules: readonly StatedModule[] = MODULES,
  build: WatchedBuild = makeBuild(),
): Statement {
  const difference = { section: ".text", kind: "bytes" as const, sizes: [64, 64] as const, firstAt: 3 };
  return failureOf(modules, {
    result: "FAILED",
    configuration: testedBuild(build),
    failedTests: ["tally.ko"],
    kmodfarm_rebuild: {
      result: "different",
      modules: [
        {
          ...{ name: "tally", isEqual: false, isCodeEqual: false, causes: ["a date or a time"] },
          differences: [{ ...difference, differingBytes: 2, strings: { first: [], second: ["2026"] } }],
        },
      ],
      files: [],
    },
  });
}

/** A key with the bundles that it signs. */
export interface TestSigner {
  readonly key: PublicKey;
  readonly privateKey: KeyObject;
  /** Any text as the payload, whether it is a statement or not. */
  sign(payload: string | Statement, type?: string): string;
}

const DIGESTS: Readonly<Record<string, string | null>> = { p256: "sha256", p384: "sha384", rsa: "sha256" };

export function makeSigner(kind: "p256" | "ed25519" = "p256"): TestSigner {
  const pair =
    kind === "p256"
      ? generateKeyPairSync("ec", { namedCurve: "prime256v1" })
      : generateKeyPairSync("ed25519");
  const key = publicKeyOf(pair.publicKey, "test");
  return {
    key,
    privateKey: pair.privateKey,
    sign(statement, type = STATEMENT_PAYLOAD) {
      const payload = typeof statement === "string" ? statement : writeStatement(statement);
      const signed = preAuthEncoding(type, payload);
      const bundle = writeBundle(payload, sign(DIGESTS[key.kind] ?? null, signed, pair.privateKey), key);
      return type === STATEMENT_PAYLOAD ? bundle : bundle.replace(STATEMENT_PAYLOAD, type);
    },
  };
}

/** The keys of a farm that has this one only, without a process of their own. */
export function keysOf({ key, privateKey }: TestSigner): Speaker["signing"] {
  return {
    keyless: [],
    keysFor: async () => new Map([["test", key]]),
    async sign(_, request) {
      if (request.kind !== "statement") throw new Error(`a builder signs no ${request.kind}`);
      const signed = preAuthEncoding(STATEMENT_PAYLOAD, request.payload);
      return sign(DIGESTS[key.kind] ?? null, signed, privateKey);
    },
  };
}

/** A statement of what a manifest says, as the farm of that signer would make it. */
export async function bundleFor(signer: TestSigner, { identity, recipe, recipeKey, log, modules }: Manifest) {
  const attestor = await openAttestor({ signing: keysOf(signer), config: {} });
  if (attestor === undefined || recipe.schema === "kmodfarm.import/1") throw new Error("nothing to state");
  const toolchain = identity.distribution.release;
  return attest(
    attestor,
    { identity, recipe, recipeKey, log: log.digest, toolchain },
    modules.map(({ name, digests: { unsigned: digest, stripped } }) =>
      statedModule({ name, digest, stripped }),
    ),
  );
}
