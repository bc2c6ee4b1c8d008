/**
 * Releases of kernel.org as numbers that compare: `6.1.170` is patch 170 of series 6.1, `6.1` its patch 0, the mainline
 * release. Up to 2.6 every third number is a series of its own: `2.6.32.27` is patch 27 of series 2.6.32.
 */

export interface UpstreamVersion {
  /** 6.1 is 6_001_000, 2.6.32 is 2_006_032. */
  readonly series: number;
  /** 0 is the mainline release. */
  readonly patch: number;
  /** 7 of `7.3-rc7`: what comes before the mainline release, so that `patch` is 0. */
  readonly prerelease?: number;
}

const TEXT = /^(\d{1,3})\.(\d{1,3})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?(?:[-~]rc(\d{1,3}))?$/;
/** Series that have three numbers. */
const LAST_OF_THREE = 2;

/** Undefined for what is no such release; whatever a distribution puts behind it must be gone. */
export function parseUpstreamVersion(text: string): UpstreamVersion | undefined {
  const match = TEXT.exec(text);
  if (match === null) return undefined;
  const [major, minor, third, fourth, prerelease] = match.slice(1).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const hasThree = major <= LAST_OF_THREE;
  if (hasThree ? third > 999 : match[4] !== undefined) return undefined;
  const series = major * 1_000_000 + minor * 1000 + (hasThree ? third : 0);
  const patch = hasThree ? fourth : third;
  if (match[5] === undefined) return { series, patch };
  return patch === 0 ? { series, patch, prerelease } : undefined;
}

export function showUpstreamVersion({ series, patch, prerelease }: UpstreamVersion): string {
  const candidate = prerelease === undefined ? "" : `-rc${prerelease}`;
  return `${showSeries(series)}${patch === 0 ? "" : `.${patch}`}${candidate}`;
}

/** `6.1` */
function showSeries(series: number): string {
  const [major, minor, third] = [
    Math.floor(series / 1_000_000),
    Math.floor(series / 1000) % 1000,
    series % 1000,
  ];
  return `${major}.${minor}${major <= LAST_OF_THREE ? `.${third}` : ""}`;
}

/** Negative, zero or positive as `a` is older than, equal to or newer than `b`. */
export function compareUpstreamVersions(a: UpstreamVersion, b: UpstreamVersion): number {
  return (
    a.series - b.series ||
    a.patch - b.patch ||
    (a.prerelease ?? Number.POSITIVE_INFINITY) - (b.prerelease ?? Number.POSITIVE_INFINITY) ||
    0
  );
}
