/** Builders that sign with no key of their own: who they are, and the file of roots that shows it. */
import { FarmError } from "../../base/error.ts";
import { readAtMost } from "../../base/read-at-most.ts";
import type { CertifiedBuilder, Identity } from "../../provenance/builder.ts";
import { certifiedBuilder } from "../../provenance/certified.ts";

const ROOTS_LIMIT_BYTES = 1024 * 1024;

/** @throws FarmError FILE_UNREADABLE, CONFIG_INVALID */
export async function certifiedByFile(
  id: string,
  { roots, ...identity }: Identity & { readonly roots: string },
): Promise<CertifiedBuilder> {
  const bytes = await readAtMost(roots, ROOTS_LIMIT_BYTES).catch((cause: NodeJS.ErrnoException) => {
    throw new FarmError("FILE_UNREADABLE", { detail: `${roots} cannot be read (${cause.code})`, cause });
  });
  return certifiedBuilder(id, identity, bytes, roots);
}
