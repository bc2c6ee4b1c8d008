/**
 * What work reports while it goes on; showing it is the concern of other modules.
 */

export type Stage =
  | "waiting"
  | "toolchain"
  | "fetching"
  | "building"
  | "ordered"
  | "booting"
  | "published"
  | "candidate"
  | "excluded"
  | "failed"
  | "unfetchable";

/** What an event is about: a key for programs, a name for people. */
export interface Named {
  readonly key: string;
  readonly name: string;
}

/** The one stream of events: boards, logs and everything that waits for an element listen to it. */
export interface Progress {
  /** One line about the whole: `catalog: 249 kernels from 17 sources`. */
  say(text: string): void;
  /** Where one element is now; `detail` is one line. */
  element(element: Named, stage: Stage, detail?: string): void;
}

/** The detail of an element that was found done: counted, but not worth a line. */
export const NOTHING_CHANGED = "nothing changed";
