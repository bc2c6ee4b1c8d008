/**
 * What a check is, and what it looks at. A check is pure: what it judges by is gathered before, in one place
 * (farm/gate/judge.ts), so that the same modules never get two verdicts from two callers.
 */
import type { CatalogSource } from "../../catalog/catalog.ts";
import type { KernelModule } from "../../formats/kernel-module.ts";
import type { KernelRecord } from "../../inputs/kernel-record.ts";
import type { PackageSignature } from "../../inputs/package-signature.ts";
import type { KernelPackages } from "../../kernel/distributions/distribution.ts";
import type { Package } from "../../kernel/kernel.ts";
import type { TrustedBuilder } from "../../provenance/builder.ts";
import type { KnownBuild } from "../../provenance/judge.ts";
import type { OpenedFile, OpenedModule } from "../opened-modules.ts";
import type { RebuildRule, RebuiltArtifact } from "../rebuilds.ts";
import type { KernelKeys, Signer } from "../signature.ts";
import type { Subject, Verdict } from "../verdict.ts";

/** Modules, their kernel, and what else is known of them. What is not known is undefined, and is never guessed. */
export interface CheckSubject {
  /** The files as nodes get them, each opened once. */
  readonly files: readonly OpenedFile[];
  /** What the kernel's own packages say of it. */
  readonly kernel: KernelRecord;
  /** What `modinfo -F version` must print, if configured. */
  readonly moduleVersion?: string | undefined;
  /** Modules of other drivers that are in the kernel before these. */
  readonly needed?: readonly KernelModule[];
  /** Whose signatures count. */
  readonly keys?: CountingKeys;
  /** Where the modules come from. */
  readonly origin?: Origin;
  /** What is stated of their build, and whose statements count. */
  readonly stated?: Stated;
  /** What the load test said. */
  readonly loaded?: Verdict;
  /** What others say who built it again. */
  readonly rebuilds?: Rebuilds;
}

/** The kernel's own keys, and whose else's signatures count. */
export interface CountingKeys extends KernelKeys {
  readonly signers: readonly Signer[];
}

export interface Stated {
  /** Each is one statement, signed once. */
  readonly bundles: readonly Uint8Array[];
  readonly builders: readonly TrustedBuilder[];
  /** What they must be about. */
  readonly build: KnownBuild;
  /** Digests of the modules as a check sees them: without compression, with their signatures. */
  readonly of: readonly Subject[];
}

export type Origin =
  | {
      readonly kind: "built";
      /** What it was made of and tried with. Where these packages are said to come from is not asked. */
      readonly used: readonly Pick<Package, "name" | "sha256">[];
      /** What the catalog lists for its kernel, if it lists that; and which sources are configured. */
      readonly listed: KernelPackages | undefined;
      readonly sources: readonly CatalogSource[];
      /** Fingerprints of the keys that sign packages of its release; none where none is known. */
      readonly signers?: readonly string[];
      /** What their own signatures are worth, by SHA-256, of those that no source vouches for. */
      readonly signatures?: ReadonlyMap<string, PackageSignature>;
    }
  | { readonly kind: "imported"; readonly by: string; readonly why: string };

export interface Rebuilds {
  /** Each is one statement, signed once. */
  readonly bundles: readonly Uint8Array[];
  /** What they must be about. */
  readonly artifact: RebuiltArtifact;
  readonly rule: RebuildRule;
  /** As for `Stated`. */
  readonly of: readonly Subject[];
}

export interface Check {
  readonly name: string;
  /** What it asks, in the words of a person who asks support. */
  readonly question: string;
  /** What can be done to find out; told where there is no verdict. */
  readonly howToKnow?: string;
  /** The codes that its reasons have, beside those that all checks share. */
  readonly codes: readonly string[];
  /** Whether it is required where a policy says nothing else. */
  readonly isDefault: boolean;
  /** Whether its verdict is about the subject's files as they are; the others say themselves what they saw. */
  readonly isOfFiles: boolean;
  /** Whether the keys that a policy names decide it. Its verdict is then computed again whenever an artifact is judged. */
  readonly isKeyed: boolean;
  /** Undefined where the subject has nothing for it to look at. Never throws, whatever the modules hold. */
  judge(subject: CheckSubject): Verdict | undefined;
}

/** The modules of a subject; undefined where some file is none, or there is no file: of these nothing can be said. */
export function modulesOf({ files }: Pick<CheckSubject, "files">): readonly OpenedModule[] | undefined {
  const modules = files.flatMap(({ opened }) => (opened === undefined ? [] : [opened]));
  return files.length > 0 && modules.length === files.length ? modules : undefined;
}
