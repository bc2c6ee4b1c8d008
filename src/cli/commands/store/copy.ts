/** `kmodfarm store copy`: a whole registry from one place to another. */

import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import { openScratch } from "../../../base/scratch.ts";
import { formatSize } from "../../../base/size.ts";
import { loadConfig } from "../../../farm/config/index.ts";
import { copyStore } from "../../../registry/copy.ts";
import { hasFiles, openStore } from "../../../registry/stores/index.ts";
import { withTask } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { print, printJson } from "../../output.ts";
import type { COPY } from "./command.ts";

export async function copy(from: string, to: string, options: OptionsOf<typeof COPY>): Promise<number> {
  const placeOf = async (store: string) => (await loadConfig({ config: options.config, store })).store;
  const [source, target] = [await openStore(await placeOf(from)), await openStore(await placeOf(to))];
  const scratch = await openScratch(await mkdtemp(join(tmpdir(), "kmodfarm-copy-")));
  try {
    if (!(await hasFiles(source)))
      throw new FarmError("STORE_MISSING", {
        detail: `there is no store at ${source.place}`,
        hint: "Name the place to copy from first, and then the one to copy to.",
      });
    const copied = await withTask(options, `copying to ${target.place}`, () =>
      copyStore(source, target, scratch),
    );
    if (options.json)
      await printJson({ schema: "kmodfarm.store-copy/1", from: source.place, to: target.place, ...copied });
    else
      await print(
        `${counted(copied.files, "file")} (${formatSize(copied.bytes)}) copied to ${target.place}, ${copied.kept} were there${copied.removed > 0 ? `, ${copied.removed} removed that ${source.place} does not show any more` : ""}.\n`,
      );
    return 0;
  } finally {
    await scratch.close();
    await source.close();
    await target.close();
  }
}
