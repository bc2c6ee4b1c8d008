/** What real tools answered: an answer that took minutes is kept under its question, and not asked for again. */
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CHECKOUT, TEST_CACHE } from "./e2e-mirror.ts";

/** The question holds all that the answer depends on; `tools` are the files here that ask it. */
export async function keptAnswer<Answer>(
  question: object,
  tools: readonly string[],
  ask: () => Promise<Answer>,
): Promise<Answer> {
  const hash = createHash("sha256").update(JSON.stringify(question));
  for (const tool of tools) hash.update(await readFile(join(CHECKOUT, tool)));
  const file = join(TEST_CACHE, "answers", `${hash.digest("hex")}.json`);
  const kept = await readFile(file, "utf8").catch(() => undefined);
  if (kept !== undefined) return JSON.parse(kept) as Answer;
  const answer = await ask();
  await mkdir(join(TEST_CACHE, "answers"), { recursive: true });
  await writeFile(`${file}.part`, JSON.stringify(answer));
  await rename(`${file}.part`, file);
  return answer;
}
