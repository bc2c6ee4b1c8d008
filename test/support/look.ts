/** A whole look at sources: asked, and laid over a catalog. */
import { askSources, type Source } from "../../src/catalog/ask.ts";
import type { Catalog } from "../../src/catalog/catalog.ts";
import { askLists, type ListSource, updateFromLists } from "../../src/catalog/list-source.ts";
import type { SourceContext } from "../../src/catalog/source.ts";
import { type Update, type UpdateOptions, updateCatalog } from "../../src/catalog/update.ts";

export async function lookAtSources(
  previous: Catalog,
  sources: readonly Source[],
  context: SourceContext,
  options: UpdateOptions,
): Promise<Update> {
  return updateCatalog(previous, await askSources(sources, previous, context), options);
}

export async function lookAtLists(
  previous: Catalog,
  lists: readonly ListSource[],
  context: SourceContext,
  options: UpdateOptions,
): Promise<Update> {
  return updateFromLists(previous, await askLists(lists, context), options);
}
