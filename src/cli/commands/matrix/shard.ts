/**
 * `kmodfarm matrix shard`: the matrix in pieces that a CI system takes.
 */

import { FarmError } from "../../../base/error.ts";
import { expectedSeconds } from "../../../farm/night/expected-time.ts";
import { githubMatrix, type Shard, shardMatrix } from "../../../matrix/shard.ts";
import { readPublished } from "../../../registry/generations.ts";
import { openStore } from "../../../registry/stores/index.ts";
import type { OptionsOf } from "../../command.ts";
import { roughly } from "../../eta.ts";
import { printMatrix, readMatrix } from "../../matrix-io.ts";
import { gapOrdered } from "../../matrix-order.ts";
import { configOf, requireStore } from "../../options.ts";
import { print, printDocument, printJson, table } from "../../output.ts";
import type { SHARD } from "./command.ts";

type ShardOptions = OptionsOf<typeof SHARD>;

export async function shard(file: string | undefined, options: ShardOptions): Promise<number> {
  const shards = await shardsOf(file, options);
  if (options.id !== undefined) await printMatrix(findShard(shards, options.id).elements);
  else if (options.github) await printDocument(`${githubMatrix(shards)}\n`);
  else if (options.json) await printJson({ schema: "kmodfarm.shards/1", shards });
  else {
    const rows = shards.map(({ id, elements, expectedSeconds }) => [
      id,
      String(elements.length),
      roughly(expectedSeconds),
    ]);
    await print(table(["SHARD", "ELEMENTS", "EXPECTED"], rows));
  }
  return 0;
}

async function shardsOf(file: string | undefined, options: ShardOptions): Promise<Shard[]> {
  const config = await configOf(options);
  // A file needs no store: it only says how long its elements took.
  if (file === undefined) await requireStore(config, options);
  const state = await readPublished(await openStore(config.store));
  const elements = file === undefined ? state.matrix : await readMatrix(file);
  const notes = new Map(state.attempts.map((note) => [note.element, note]));
  const shards = shardMatrix(elements, {
    expectedSeconds: expectedSeconds(elements, (key) => notes.get(key)),
    ...(options.maxShards === undefined ? {} : { maxShards: options.maxShards }),
    ...(options.targetMinutes === undefined ? {} : { targetSeconds: options.targetMinutes * 60 }),
  });
  if ((options.order ?? config.order) !== "gap") return shards;
  // Which shard an element is in depends on its name alone, so that few move; each shard begins with what matters most.
  const ordered = await gapOrdered(config);
  return shards.map((one) => ({ ...one, elements: ordered(one.elements) }));
}

function findShard(shards: readonly Shard[], id: string): Shard {
  const found = shards.find((candidate) => candidate.id === id);
  if (found !== undefined) return found;
  throw new FarmError("USAGE", {
    detail: `this matrix has no shard '${id}'`,
    hint: "The shard came from another matrix or other limits: give both commands the same matrix and limits.",
  });
}
