/** What gets a processor first: a root, which many wait for, then what is nearly done, then what begins. */
export const BUILDS = 0;
export const LOADS = 1;
export const ROOTS = 2;
/** A higher rank goes before all of these. */
export const RANKS = 4;
