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
  const parts = visibleChanges(a, b);
  if (a.recipe === undefined || b.recipe === undefined || parts.length > 0) return parts;
  // Both recipes are known and differ in something that the element itself does not show.
  return [`recipe (driver source, toolchain or flags): ${a.recipe} → ${b.recipe}`];
}

/** Of what changes a module, what the elements themselves show. */
export function visibleChanges(a: Element, b: Element): string[] {
  return [
    compare("driver version", a.driverversion, b.driverversion),
    headerReason(a.packages.headers, b.packages.headers),
    compare("compiler", compilerText(a), compilerText(b)),
    compare("flavour", a.flavour, b.flavour),
  ].filter((reason) => reason !== undefined);
}

/**
 * The parts whose change changes a module, as text: driver version, header packages, compiler, flavour, and the
 * header packages' digests, which count only where both sides have them.
 */
export function changeParts({
  driverversion,
  packages,
  flavour,
  ...element
}: Element): readonly [string, string, string, string, string | undefined] {
  const { headers } = packages;
  const digests = isVerified(headers) ? contentOf(headers, true) : undefined;
  return [driverversion, contentOf(headers, false), compilerText(element), flavour, digests];
}

/** A list that changed how it says things: no news about the kernels, though their elements look other. */
export interface FormatChange {
  readonly distribution: string;
  readonly elements: number;
  readonly detail: string;
}

/** What of a difference is only how the matrices' lists speak: by distribution release, most elements first. */
export function formatChangesOf(diff: MatrixDiff): FormatChange[] {
  const renamed = renamedElements(diff).map(({ distribution }) => ({ distribution, detail: RENAMED }));
  const named = diff.changed.flatMap(({ element: { distribution }, reasons }) =>
    reasons.flatMap((detail) =>
      detail === NAMED_NOW || detail === NAMED_NO_MORE ? [{ distribution, detail }] : [],
    ),
  );
  const groups = Map.groupBy(
    [...named, ...renamed],
    ({ distribution, detail }) => `${distribution}: ${detail}`,
  );
  return [...groups.values()]
    .map((group) => ({ ...(group[0] as (typeof group)[0]), elements: group.length }))
    .toSorted((a, b) => b.elements - a.elements || (a.distribution < b.distribution ? -1 : 1));
}

const NAMED_NOW = "format change: header packages are named only now";
const NAMED_NO_MORE = "format change: header packages are no longer named";
const RENAMED = "format change: the same header packages under a different name";

/** Added elements whose very header packages a removed element had: the list calls the kernel otherwise. */
function renamedElements({ added, removed }: MatrixDiff): Element[] {
  const keyOf = ({ driver, architecture, packages }: Element) =>
    `${driver} ${architecture} ${contentOf(packages.headers, false)}`;
  const before = new Set(removed.filter(({ packages }) => packages.headers.length > 0).map(keyOf));
  return added.filter((element) => before.has(keyOf(element)));
}

function headerReason(a: readonly Package[], b: readonly Package[]): string | undefined {
  if (a.length === 0 && b.length > 0) return NAMED_NOW;
  if (a.length > 0 && b.length === 0) return NAMED_NO_MORE;
  const withDigests = isVerified(a) && isVerified(b);
  return compare("header packages", contentOf(a, withDigests), contentOf(b, withDigests));
}

/** Lists give no digests; what only one side vouches for cannot be told to differ by them. */
function isVerified(packages: readonly Package[]): boolean {
  return packages.every(({ sha256 }) => sha256 !== undefined);
}

function compare(part: string, a: string, b: string): string | undefined {
  return a === b ? undefined : `${part}: ${a} → ${b}`;
}

/** What packages are, wherever they lie; without digests, by what their file names say. */
function contentOf(packages: readonly Package[], withDigests: boolean): string {
  const contents = packages.map(
    ({ name, version, architecture, sha256 }) =>
      `${name}=${version}:${architecture}${withDigests ? `@${sha256?.slice(0, 12)}` : ""}`,
  );
  return [...new Set(contents)].sort().join(" ");
}

function compilerText({ compiler }: Pick<Element, "compiler">): string {
  return compiler === undefined ? "unknown" : `${compiler.family} ${compiler.version}`;
}
