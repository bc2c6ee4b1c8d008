/**
 * What a build sees of where it happens. None of it may change a module's bytes: `rebuild` tries.
 */

export interface Surroundings {
  /** What directories of the driver's tree are below; empty: where they usually are. */
  readonly place: string;
  /** Absent: as sandboxes have it. */
  readonly hostname?: string;
  readonly userId?: number;
  readonly umask?: number;
  readonly timeZone: string;
  readonly locale: string;
  readonly jobs: number;
}

export const USUAL: Surroundings = {
  place: "",
  timeZone: "UTC",
  locale: "C",
  // One driver is small: elements run side by side, each on one core.
  jobs: 1,
};

/** As different as a sandbox can make it. The clock is another one by itself. */
export const ELSEWHERE: Surroundings = {
  place: "/srv/another/place",
  hostname: "elsewhere",
  userId: 4321,
  umask: 0o077,
  // By its rule, for roots without zone files.
  timeZone: "XST-13:45",
  locale: "C.UTF-8",
  jobs: 3,
};
