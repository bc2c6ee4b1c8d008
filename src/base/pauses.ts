/** Lets others have the thread now and then, in work that would keep it for long. */
import { setImmediate } from "node:timers/promises";

const PAUSE_EVERY_MS = 10;

/** To be awaited again and again by work whose single steps are short. */
export function pauses(): () => Promise<void> | undefined {
  let last = performance.now();
  return () => {
    if (performance.now() - last < PAUSE_EVERY_MS) return undefined;
    return setImmediate().then(() => {
      last = performance.now();
    });
  };
}
