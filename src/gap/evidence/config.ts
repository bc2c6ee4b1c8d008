/** What a kernel's configuration leaves out: code that is not built cannot be run. */
import type { Cve } from "../records.ts";
import type { Target } from "../target.ts";
import type { Evidence } from "../verdict.ts";

/** Headers are built into whatever includes them, so that only these decide. */
const COMPILED = /\.[cS]$/;

/** A CVE that touches only files that the kernel does not build; a file of which nobody knows counts as built. */
export function configEvidence({ files }: Pick<Cve, "files">, { builds }: Target): Evidence[] {
  const compiled = files.filter((file) => COMPILED.test(file));
  if (builds === undefined || compiled.length === 0 || compiled.some((file) => builds(file) !== false))
    return [];
  return [{ id: "config", says: "not_built", ref: compiled.join(", "), feed: "configuration" }];
}
