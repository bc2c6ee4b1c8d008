/**
 * The ledger of a run: what is published, what this run adds to it, and what it learned about kernels. The
 * only writer of generations.
 */
import type { InstalledPackage } from "../build/recipe.ts";
import type { Catalog, CatalogKernel } from "../catalog/catalog.ts";
import { type Compiler, type KernelId, kernelName } from "../kernel/kernel.ts";
import { changeReasons } from "../matrix/diff.ts";
import { type Element, elementKey } from "../matrix/element.ts";
import type { AttemptNote, Published } from "../registry/documents.ts";
import { writePublished } from "../registry/generations.ts";
import { nextState, type Outcome, saysTheSame } from "../registry/publish.ts";
import type { Store } from "../registry/stores/store.ts";
import { refreshView } from "../registry/view.ts";
import type { Lesson } from "./element.ts";

/** Publishing costs a generation: what finishes in between goes into the next. */
const PUBLISH_INTERVAL_MS = 15_000;

export class Ledger {
  readonly #store: Store;
  readonly #now: () => Date;
  #published: Published;
  #settled: ReadonlyMap<string, Element>;
  #notes: ReadonlyMap<string, AttemptNote>;
  readonly #kernels = new Map<string, CatalogKernel>();
  #catalog: Omit<Catalog, "kernels">;
  #pending: Outcome[] = [];
  readonly #roots = new Map<string, readonly InstalledPackage[]>();
  #publishing: Promise<void> = Promise.resolve();
  #lastPublished = performance.now();

  constructor(store: Store, published: Published, now: () => Date) {
    this.#store = store;
    this.#now = now;
    this.#published = published;
    this.#settled = settledOf(published);
    this.#notes = notesOf(published);
    this.#catalog = published.catalog;
    this.catalog = published.catalog;
  }

  get published(): Published {
    return this.#published;
  }

  get catalog(): Catalog {
    return { ...this.#catalog, kernels: [...this.#kernels.values()] };
  }

  set catalog(catalog: Catalog) {
    this.#catalog = catalog;
    this.#kernels.clear();
    for (const kernel of catalog.kernels) this.#kernels.set(kernelName(kernel), kernel);
  }

  kernelOf(id: KernelId): CatalogKernel | undefined {
    return this.#kernels.get(kernelName(id));
  }

  /** What became of an element when it was last tried. */
  noteOf(key: string): AttemptNote | undefined {
    return this.#notes.get(key);
  }

  /** Published, or failed by its own fault, with this very recipe. */
  isSettled(planned: Element): boolean {
    const before = this.#settled.get(elementKey(planned));
    return before !== undefined && changeReasons(before, planned).length === 0;
  }

  /** Known not to be on the mirror, and not built before: there is nothing to try. */
  isOutOfReach(element: Element): boolean {
    return this.kernelOf(element)?.notFetchableSince !== undefined && !this.#settled.has(elementKey(element));
  }

  record(outcome: Outcome): void {
    this.#pending.push(outcome);
  }

  learn(element: Element, lesson: Lesson): void {
    const kernel = this.kernelOf(element);
    if (kernel === undefined) return;
    const fact = lesson === "notFetchable" ? "notFetchableSince" : "notLoadableSince";
    this.#kernels.set(kernelName(kernel), { ...kernel, [fact]: kernel[fact] ?? this.#now().toISOString() });
  }

  learnCompiler(element: Element, compiler: Compiler): void {
    const kernel = this.kernelOf(element);
    if (kernel !== undefined) this.#kernels.set(kernelName(kernel), { ...kernel, compiler });
  }

  /** What is installed in a toolchain root of that name, wherever it was made. */
  rootOf(name: string): readonly InstalledPackage[] | undefined {
    return this.#roots.get(name) ?? this.#published.roots[name];
  }

  learnRoot(name: string, packages: readonly InstalledPackage[]): void {
    this.#roots.set(name, packages);
  }

  /** Forgets what failed fetches taught, so that all is asked for again. */
  forgetLessons(): void {
    for (const [name, { notFetchableSince: _a, notLoadableSince: _b, ...kernel }] of this.#kernels) {
      this.#kernels.set(name, kernel);
    }
  }

  async publishSometimes(): Promise<void> {
    if (performance.now() - this.#lastPublished > PUBLISH_INTERVAL_MS) await this.publish();
  }

  /** One publication after the other, and only if there is something to say. */
  async publish(): Promise<void> {
    this.#publishing = this.#publishing.then(() => this.#publishPending());
    await this.#publishing;
  }

  async #publishPending(): Promise<void> {
    const roots = Object.fromEntries([...this.#roots].map(([name, packages]) => [name, [...packages]]));
    const next = nextState(this.#published, this.catalog, this.#pending, roots);
    this.#pending = [];
    this.#lastPublished = performance.now();
    if (saysTheSame(this.#published, next)) return;
    this.#published = await writePublished(this.#store, next, this.#now());
    this.#settled = settledOf(this.#published);
    this.#notes = notesOf(this.#published);
    await refreshView(this.#store, this.#published);
  }
}

function settledOf({ matrix }: Published): ReadonlyMap<string, Element> {
  return new Map(matrix.map((element) => [elementKey(element), element]));
}

function notesOf({ attempts }: Published): ReadonlyMap<string, AttemptNote> {
  return new Map(attempts.map((note) => [note.element, note]));
}
