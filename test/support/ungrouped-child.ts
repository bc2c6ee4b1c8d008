/** The other side of ungrouped.ts: runs what it is given a line for, several at a time. */
import { createInterface } from "node:readline";
import { toFarmError } from "../../src/base/error.ts";
import { groupPlaces } from "../../src/builder/sandboxes/cgroup.ts";
import { SANDBOXES } from "../../src/builder/sandboxes/index.ts";
import type { SandboxSpec } from "../../src/builder/sandboxes/sandbox.ts";
import type { Answer } from "./ungrouped.ts";

const sandbox = SANDBOXES.find(({ name }) => name === process.argv[2]);
if (sandbox === undefined || (await groupPlaces()).length > 0)
  throw new Error("there are control groups, or no such sandbox");

const stops = new Map<number, AbortController>();
for await (const line of createInterface({ input: process.stdin })) {
  const order: { id: number; spec?: SandboxSpec; isStopped?: boolean } = JSON.parse(line);
  if (order.isStopped) stops.get(order.id)?.abort();
  else if (order.spec !== undefined) void answer(order.id, order.spec);
}

async function answer(id: number, spec: SandboxSpec): Promise<void> {
  const stop = new AbortController();
  stops.set(id, stop);
  const said = await sandbox?.run(spec, stop.signal).then(
    (result): Answer => ({ id, result }),
    (thrown): Answer => {
      const { code, message } = toFarmError(thrown);
      return { id, failure: { code, message } };
    },
  );
  console.log(JSON.stringify(said));
}
