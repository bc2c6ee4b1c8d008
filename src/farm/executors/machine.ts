/** What a machine can build: by its own programs, and by those that it emulates. */
import type { Recipe } from "../../builder/records.ts";
import type { ArchitectureName } from "../../kernel/architecture.ts";

export interface Machine {
  readonly architecture: ArchitectureName;
  /** Architectures whose programs it runs beside its own. */
  readonly emulated: ReadonlySet<ArchitectureName>;
}

/** Why a recipe is for other machines; undefined if this one can carry it out. */
export function unfitFor(
  { builder, emulation }: Pick<Recipe, "builder" | "emulation">,
  { architecture, emulated }: Machine,
): string | undefined {
  if (emulation === undefined)
    return builder === architecture
      ? undefined
      : `it is planned for ${builder} machines, but this one is ${architecture}`;
  return builder !== architecture && emulated.has(builder)
    ? undefined
    : `it is planned for machines that emulate ${builder}, but this one (${architecture}) does not`;
}
