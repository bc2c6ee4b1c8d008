/** `kmodfarm statement add`: statements of rebuilds, whoever brings them. */
import { oneLine } from "../../../base/visible.ts";
import { thisPerson } from "../../../farm/gate/moves.ts";
import { addStatements, type Brought, type StatementFile } from "../../../farm/rebuild/statements.ts";
import type { OptionsOf } from "../../command.ts";
import { readNamedFile } from "../../named-file.ts";
import { withStoredFarm } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import type { ADD_STATEMENT } from "./command.ts";

/** As large as a bundle may be. */
const LIMIT_BYTES = 1 << 20;

export async function add(
  files: readonly string[],
  options: OptionsOf<typeof ADD_STATEMENT>,
): Promise<number> {
  const read: StatementFile[] = [];
  for (const file of files) read.push({ name: file, bytes: await readNamedFile(file, LIMIT_BYTES) });
  const person = { by: options.by ?? thisPerson(), why: "statement" };
  const brought = await withStoredFarm(options, (farm) =>
    addStatements(farm, read, person, () => new Date()),
  );
  if (options.json) await printJson({ schema: "kmodfarm.statements/1", statements: brought });
  else await print(brought.map(lineOf).join(""));
  return brought.some(({ result }) => result === "refused") ? 1 : 0;
}

function lineOf({ name, result, places, fact }: Brought): string {
  const about = places.length === 0 ? "" : ` ${places.join(", ")}:`;
  const word = result === "known" ? "known already" : result;
  return `${word}: ${oneLine(name)}:${about} ${oneLine(fact)}\n`;
}
