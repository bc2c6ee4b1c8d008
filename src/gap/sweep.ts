/**
 * What upstream's history says of every CVE in many releases at once. For one series each culprit comes in at one patch
 * number and is closed from another on, so that one walk over these numbers answers for every release of the series. Equal
 * to `upstreamVerdict` cell by cell, which a test compares.
 */
import type { UpstreamVersion } from "../kernel/upstream-version.ts";
import type { Cve } from "./records.ts";
import { culpritsOf } from "./upstream.ts";

/** One bit for each CVE, in the order of the list. */
export interface Planes {
  readonly affected: Uint32Array;
  readonly fixed: Uint32Array;
  /** Those of `affected` that no release of the series closes. */
  readonly unfixed: Uint32Array;
}

const NEVER = 0x7fffffff;
/** Everything that mainline had before the series, release candidates of it included. */
const BEFORE = -1;

export class Sweep {
  readonly #size: number;
  /** Culprit i is of CVE `#cve[i]`, and its stretches are those from `#first[i]` up to `#first[i + 1]`. */
  readonly #cve: Int32Array;
  readonly #first: Int32Array;
  readonly #introduced: { readonly series: Int32Array; readonly patch: Int32Array };
  readonly #fixed: { readonly series: Int32Array; readonly patch: Int32Array };

  constructor(cves: readonly Pick<Cve, "pairs">[]) {
    this.#size = cves.length;
    const [owner, first]: [number[], number[]] = [[], []];
    const stretches: (readonly [UpstreamVersion, UpstreamVersion | undefined])[] = [];
    for (const [index, { pairs }] of cves.entries())
      for (const culprit of culpritsOf(pairs)) {
        owner.push(index);
        first.push(stretches.length);
        for (const { introduced, fixed } of culprit.stretches) stretches.push([introduced, fixed]);
      }
    this.#cve = Int32Array.from(owner);
    this.#first = Int32Array.from([...first, stretches.length]);
    this.#introduced = {
      series: Int32Array.from(stretches, ([introduced]) => introduced.series),
      patch: Int32Array.from(stretches, ([introduced]) => introduced.patch),
    };
    this.#fixed = {
      series: Int32Array.from(stretches, ([, fixed]) => fixed?.series ?? NEVER),
      patch: Int32Array.from(stretches, ([, fixed]) => fixed?.patch ?? NEVER),
    };
  }

  /** The planes of releases, by `keyOfRelease`. A release candidate is judged by what its series began with. */
  planes(releases: Iterable<UpstreamVersion>): ReadonlyMap<string, Planes> {
    const bySeries = Map.groupBy(releases, ({ series }) => series);
    return new Map(
      [...bySeries].flatMap(([series, members]) => [...this.#walk(series, new Set(members.map(patchOf)))]),
    );
  }

  *#walk(series: number, patches: ReadonlySet<number>): Generator<[string, Planes]> {
    const state = new State(this.#size);
    const events = this.#events(series, state);
    let next = 0;
    for (const patch of [...patches].sort((a, b) => a - b)) {
      for (let event = events[next]; event !== undefined && event.patch <= patch; event = events[++next])
        if (event.closes) state.close(event.cve);
        else state.hit(event.cve, event.isForEver);
      yield [`${series}/${patch}`, state.planes()];
    }
  }

  /** What happens at the patches of a series, in their order; what happened before it is in the state already. */
  #events(series: number, state: State): Event[] {
    const events: Event[] = [];
    for (let culprit = 0; culprit < this.#cve.length; culprit++) {
      let [hit, closed] = [NEVER, NEVER];
      const end = this.#first[culprit + 1] as number;
      for (let at = this.#first[culprit] as number; at < end; at++) {
        const from = reachedAt(
          this.#introduced.series[at] as number,
          this.#introduced.patch[at] as number,
          series,
        );
        if (from === NEVER) continue;
        hit = Math.min(hit, from);
        const to = reachedAt(this.#fixed.series[at] as number, this.#fixed.patch[at] as number, series);
        closed = Math.min(closed, Math.max(from, to));
      }
      if (hit === NEVER) continue;
      const cve = this.#cve[culprit] as number;
      if (hit === BEFORE) state.hit(cve, closed === NEVER);
      else events.push({ patch: hit, cve, closes: false, isForEver: closed === NEVER });
      if (closed === BEFORE) state.close(cve);
      else if (closed !== NEVER) events.push({ patch: closed, cve, closes: true, isForEver: false });
    }
    return events.sort((a, b) => a.patch - b.patch);
  }
}

interface Event {
  readonly patch: number;
  readonly cve: number;
  readonly closes: boolean;
  readonly isForEver: boolean;
}

/** The patch of a series from which on it contains what first appeared in that release. */
function reachedAt(firstSeries: number, firstPatch: number, series: number): number {
  if (firstSeries === series) return firstPatch;
  return firstPatch === 0 && firstSeries < series ? BEFORE : NEVER;
}

/** How many culprits of each CVE are there and open, and the planes of that. */
class State {
  readonly #hit: Uint16Array;
  readonly #open: Uint16Array;
  readonly #unfixed: Uint16Array;
  readonly #planes: Planes;

  constructor(size: number) {
    [this.#hit, this.#open, this.#unfixed] = [
      new Uint16Array(size),
      new Uint16Array(size),
      new Uint16Array(size),
    ];
    const words = Math.ceil(size / 32);
    this.#planes = {
      affected: new Uint32Array(words),
      fixed: new Uint32Array(words),
      unfixed: new Uint32Array(words),
    };
  }

  hit(cve: number, isForEver: boolean): void {
    this.#hit[cve]! += 1;
    this.#open[cve]! += 1;
    if (isForEver) this.#unfixed[cve]! += 1;
    this.#show(cve);
  }

  close(cve: number): void {
    this.#open[cve]! -= 1;
    this.#show(cve);
  }

  #show(cve: number): void {
    const [word, bit] = [cve >>> 5, 1 << (cve & 31)];
    const put = (plane: Uint32Array, isSet: boolean) => {
      if (isSet) plane[word]! |= bit;
      else plane[word]! &= ~bit;
    };
    const isOpen = (this.#open[cve] as number) > 0;
    put(this.#planes.affected, isOpen);
    put(this.#planes.fixed, !isOpen && (this.#hit[cve] as number) > 0);
    put(this.#planes.unfixed, (this.#unfixed[cve] as number) > 0);
  }

  planes(): Planes {
    const { affected, fixed, unfixed } = this.#planes;
    return { affected: affected.slice(), fixed: fixed.slice(), unfixed: unfixed.slice() };
  }
}

function patchOf({ patch, prerelease }: UpstreamVersion): number {
  return prerelease === undefined ? patch : BEFORE;
}

/** What releases with the same verdicts have in common. */
export function keyOfRelease(release: UpstreamVersion): string {
  return `${release.series}/${patchOf(release)}`;
}

export function hasBit(plane: Uint32Array, index: number): boolean {
  return (((plane[index >>> 5] ?? 0) >>> (index & 31)) & 1) === 1;
}

/** How many bits are set. */
export function countBits(plane: Uint32Array): number {
  let count = 0;
  for (let word of plane) {
    word -= (word >>> 1) & 0x55555555;
    word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
    count += Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
  }
  return count;
}
