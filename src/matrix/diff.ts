/**
 * What changed between two matrices in a way that changes a module: never where a mirror lies.
 */
import type { Package } from "../kernel/kernel.ts";
import { type Element, elementKey } from "./element.ts";

export interface MatrixDiff {
  readonly added: readonly Element[];
  readonly changed: readonly ChangedElement[];
  readonly removed: readonly Element[];
  readonly unchanged: number;
}

interface ChangedElement {
  readonly element: Element;
  /** Each names the part and both its values: `compiler: gcc 12 → gcc 14`. */
  readonly reasons: readonly string[];
}

/** Order, duplicates and locations in either matrix are of no consequence; the last of equal keys counts. */
export function diffMatrix(previous: readonly Element[], current: readonly Element[]): MatrixDiff {
  const before = new Map(previous.map((element) => [elementKey(element), element]));
  const after = new Map(current.map((element) => [elementKey(element), element]));
  const added: Element[] = [];
  const changed: ChangedElement[] = [];
  let unchanged = 0;
  for (const [key, element] of after) {
    const old = before.get(key);
    if (old === undefined) {
      added.push(element);
      continue;
    }
    const reasons = changeReasons(old, element);
    if (reasons.length > 0) changed.push({ element, reasons });
    else unchanged++;
  }
  const removed = [...before].filter(([key]) => !after.has(key)).map(([, element]) => element);
  return { added, changed, removed, unchanged };
}

/** The elements to build: the added ones, then the changed ones, each in the order of the current matrix. */
export function elementsToBuild(diff: MatrixDiff): Element[] {
  return [...diff.added, ...diff.changed.map(({ element }) => element)];
}

/** Why `b` has to be built again although `a` was; empty when nothing that matters differs. */
export function changeReasons(a: Element, b: Element): string[] {
  if (a.recipe !== undefined && a.recipe === b.recipe) return [];
  const parts = [
    compare("driver version", a.driverversion, b.driverversion),
    compare("header packages", contentOf(a.packages.headers), contentOf(b.packages.headers)),
    compare("compiler", compilerText(a), compilerText(b)),
    compare("flavour", a.flavour, b.flavour),
  ].filter((reason) => reason !== undefined);
  if (a.recipe === undefined || b.recipe === undefined || parts.length > 0) return parts;
  // Both recipes are known and differ in something that the element itself does not show.
  return [`recipe (driver source, toolchain or flags): ${a.recipe} → ${b.recipe}`];
}

/** The parts whose change changes a module, as text: driver version, header packages, compiler, flavour. */
export function changeParts(element: Element): readonly [string, string, string, string] {
  return [element.driverversion, contentOf(element.packages.headers), compilerText(element), element.flavour];
}

function compare(part: string, a: string, b: string): string | undefined {
  return a === b ? undefined : `${part}: ${a} → ${b}`;
}

/** What packages are, wherever they lie; lists without digests are compared by file names. */
function contentOf(packages: readonly Package[]): string {
  const contents = packages.map(
    ({ name, version, architecture, sha256 }) =>
      `${name}=${version}:${architecture}@${sha256?.slice(0, 12) ?? "unverified"}`,
  );
  return [...new Set(contents)].sort().join(" ");
}

function compilerText({ compiler }: Element): string {
  return compiler === undefined ? "unknown" : `${compiler.family} ${compiler.version}`;
}
