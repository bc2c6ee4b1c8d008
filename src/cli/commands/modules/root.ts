/** `kmodfarm modules root`: the root that a kernel with these modules would hold. */
import { toDocument } from "../../../base/json.ts";
import { hashModules, setDocument } from "../../../farm/sets/module-tree.ts";
import { rootDefinition, rootText } from "../../../provenance/trees/linux-merkle.ts";
import type { OptionsOf } from "../../command.ts";
import { print, printDocument } from "../../output.ts";
import type { ROOT } from "./command.ts";

export async function root(directory: string, { form, format }: OptionsOf<typeof ROOT>): Promise<number> {
  const set = await hashModules(directory, form);
  if (format === "json")
    await printDocument(toDocument({ schema: "kmodfarm.modules/1", ...setDocument(set) }));
  else await print(format === "c" ? rootDefinition(set.tree.root) : `${rootText(set.tree.root)}\n`);
  return 0;
}
