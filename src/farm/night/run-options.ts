/** What is asked of a run, beside what the configuration says. */
import type { Progress } from "../../base/progress.ts";
import type { InstalledPackage } from "../../builder/records.ts";
import type { Catalog, CatalogKernel, GuestTools } from "../../catalog/catalog.ts";
import type { KnownFacts } from "../../kernel/facts.ts";
import type { Element } from "../../matrix/element.ts";
import type { Selection } from "../../matrix/select.ts";
import type { AttemptNote, Published } from "../../registry/documents.ts";
import type { Executor } from "../executors/executor.ts";
import type { LocalContext } from "../executors/local.ts";
import type { GapOrder } from "../gap/order.ts";
import type { FarmBuild } from "../open.ts";
import type { Narrowed } from "./wanted.ts";

export interface RunOptions {
  readonly progress: Progress;
  readonly signal: AbortSignal;
  readonly now: () => Date;
  /** Try again what failed by its own fault or could not be fetched. */
  readonly retry?: boolean;
  /** Build this matrix instead of what the configuration selects from the catalog. */
  readonly matrix?: readonly Element[];
  /** Of which kernels of the catalog the selections take some; default: all that users have. */
  readonly kernels?: (catalog: Catalog, facts: KnownFacts) => readonly CatalogKernel[];
  /** In place of the configuration's selections. */
  readonly select?: readonly Selection[];
  /** What of it the command line asks for; default: all. */
  readonly narrowed?: Narrowed | undefined;
  /** Steps of the night to leave out: what is built is then a candidate at most. */
  readonly without?: readonly ("catalog" | "load")[];
  /** What goes ahead: the higher, the sooner. Default: all have 0. */
  readonly rank?: (element: Element) => number;
  /** Takes some of what is wanted; default: all. */
  readonly choose?: (elements: readonly Element[]) => readonly Element[];
  /** Recipe keys for which the cache has something new, whatever is already known of them. */
  readonly fresh?: ReadonlySet<string>;
  /** Keys of elements that there is something new about: no other one is planned. Default: all that are wanted. */
  readonly only?: ReadonlySet<string>;
  /** Where elements are built and booted; default: on this machine. */
  readonly executor?: (parts: ExecutorParts) => Executor;
  /** Plans only: nothing is written to the store, and no toolchain root is made. */
  readonly dry?: DryEars;
  /** Sees what is published when the run begins. */
  readonly opened?: (published: Published) => void;
  /** What toolchain roots of other machines contain, by their names. */
  readonly roots?: Readonly<Record<string, readonly InstalledPackage[]>>;
  /** What makes the generations that come of it, for `kmodfarm generations`. Default: run. */
  readonly what?: string;
}

/** Hears what a run would do beside what it gives to its executor. */
interface DryEars {
  /** An element that is to be built, and whose toolchain is not known here: more of it cannot be planned. */
  readonly withoutRoot: (element: Element) => void;
  readonly inOrder: (order: GapOrder) => void;
}

/** What executors are made of. */
interface ExecutorParts extends LocalContext {
  readonly build: FarmBuild;
  /** Where each source of packages is: catalog source id → URL. */
  readonly mirrors: Readonly<Record<string, string>>;
  /** What is known of earlier attempts, by `elementKey`. */
  readonly noteOf: (key: string) => AttemptNote | undefined;
  readonly guests: readonly GuestTools[];
}
