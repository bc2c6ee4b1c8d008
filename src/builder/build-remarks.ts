/**
 * What a build said of modules that it gave all the same, and that checks cannot see in them: objtool's warnings, and why
 * there is no type information.
 */
import type { BuildRemarks } from "./records.ts";

/** A vendor's object file can give thousands. */
const MOST_QUOTED = 5;
const QUOTED_CHARACTERS = 300;

/** Undefined for a build that said nothing of the kind. */
export function remarksOf(log: string): BuildRemarks | undefined {
  const first: string[] = [];
  let warnings = 0;
  for (const { 0: line } of log.matchAll(/^.*\b(?:warning|error): objtool: .*$/gm)) {
    if (warnings++ < MOST_QUOTED) first.push(quoted(line));
  }
  const btf = new Set<string>();
  for (const { 0: line } of log.matchAll(
    /^.*(?:Skipping BTF generation for|Failed to generate BTF for).*$/gm,
  )) {
    if (btf.size < MOST_QUOTED) btf.add(quoted(line));
  }
  if (warnings === 0 && btf.size === 0) return undefined;
  return {
    ...(warnings === 0 ? {} : { objtool: { warnings, first } }),
    ...(btf.size === 0 ? {} : { btf: [...btf] }),
  };
}

function quoted(line: string): string {
  return line.trim().slice(0, QUOTED_CHARACTERS).toWellFormed();
}
