/** What only one of several processes may make at a time. */
import { mkdir, open, readFile, readlink, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A lock between processes; one whose owner died is taken over. */
export async function withLock(file: string, work: () => Promise<void>): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  for (;;) {
    try {
      const lock = await open(file, "wx");
      await lock.writeFile(String(process.pid));
      await lock.close();
      break;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== "EEXIST") throw thrown;
    }
    const owner = await readFile(file, "utf8").catch(() => "");
    const isDead =
      owner !== "" && (await readlink(`/proc/${owner}/exe`).catch(() => undefined)) === undefined;
    if (isDead) await rm(file, { force: true });
    else await sleep(200);
  }
  try {
    await work();
  } finally {
    await rm(file, { force: true });
  }
}
