/** Ends what fills a directory with more than it may take of the disk. */
import { setTimeout as sleep } from "node:timers/promises";
import { measureTrees } from "./strange-tree.ts";

const LOOK_EVERY_MS = 500;

export interface Watched<T> {
  readonly result: T;
  /** Whether the directory was over the limit, meanwhile or at the end. */
  readonly isOver: boolean;
}

/** Does some work while the directory is measured; `until` fires as soon as it takes more of the disk than that. */
export async function watchSize<T>(
  directory: string,
  limitBytes: number,
  work: (until: AbortSignal) => Promise<T>,
): Promise<Watched<T>> {
  const [over, done] = [new AbortController(), new AbortController()];
  const look = async () => {
    if ((await measureTrees([directory], limitBytes)) >= limitBytes) over.abort();
  };
  const pause = () => sleep(LOOK_EVERY_MS, true, { signal: done.signal }).catch(() => false);
  const watching = (async () => {
    while (!over.signal.aborted && (await pause())) await look();
  })();
  // If the size cannot be measured, it must not count as small.
  watching.catch(() => over.abort());
  try {
    const result = await work(over.signal);
    await look();
    return { result, isOver: over.signal.aborted };
  } finally {
    done.abort();
    await watching;
  }
}
