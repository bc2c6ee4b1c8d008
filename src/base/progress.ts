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
  // What a try comes to, which publishes nothing.
  | "built"
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
  /** Work beside elements, such as asking servers: `detail` is how far it is, and undefined its end. */
  task?(name: string, detail: string | undefined): void;
  /** What is known of what is still to come. */
  expect?(outlook: Outlook): void;
}

/** What elements cost, as far as earlier runs show. */
export interface Outlook {
  /** How many elements are worked on at once. */
  readonly atOnce: number;
  /** Seconds that an element's stages take; absent where nothing like it was ever done. */
  readonly of: (key: string) => {
    readonly building?: number;
    readonly booting?: number;
    readonly isDone: boolean;
  };
  readonly fetchedBytes: () => number;
}

/** Reports work beside elements for as long as it takes; it may say how far it is. */
export async function during<T>(
  progress: Pick<Progress, "task">,
  name: string,
  work: (note: (detail: string) => void) => Promise<T>,
): Promise<T> {
  progress.task?.(name, "");
  try {
    return await work((detail) => progress.task?.(name, detail));
  } finally {
    progress.task?.(name, undefined);
  }
}

/** The detail of an element that was found done: counted, but not worth a line. */
export const NOTHING_CHANGED = "nothing changed";

/** The detail of one that was built again, or found built, and is byte for byte what is published. */
export const SAME_BYTES = "the same bytes as published";
