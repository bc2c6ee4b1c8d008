/** A run that was written down, on a live board: what a test shows to a real terminal. Ends when its standard input does. */
import { setTimeout as sleep } from "node:timers/promises";
import { NOTHING_CHANGED, type Stage } from "../../src/base/progress.ts";
import { openBoard } from "../../src/cli/board.ts";

const board = await openBoard({ format: "text", stream: process.stderr });
const named = (index: number) => {
  const name = `doorbell 1.0.0 debian12/x86_64/6.1.0-${index}-amd64`;
  return { key: name, name };
};

// On an empty screen: a terminal may take what is redrawn there for a screen that is cleared, and keep it.
board.task?.("asking the mirrors which kernels there are", "");
await sleep(600);
board.say("catalog: 249 kernels from 17 suites");
board.expect?.({
  atOnce: 20,
  of: () => ({ building: 60, booting: 120, isDone: false }),
  fetchedBytes: () => 48_200_000,
});
board.task?.("asking the mirrors which kernels there are", "5 of 17 answered, 1.2 MiB");
for (let index = 0; index < 40; index++) board.element(named(index), "waiting");
for (let index = 0; index < 6; index++) board.element(named(index), "published", NOTHING_CHANGED);
for (let index = 6; index < 10; index++) board.element(named(index), "published");
board.element(named(10), "failed", "the kernel's v4l2_fh_add() takes other arguments: doorbell.c:12");
const stages: Stage[] = ["building", "booting", "fetching"];
for (let index = 11; index < 35; index++)
  board.element(named(index), stages[index % 3] as Stage, index % 3 === 2 ? "headers" : undefined);
process.stdin.resume();
// The board draws by itself; this only waits for the one who watches.
while (!process.stdin.readableEnded) await sleep(50);
board.close();
