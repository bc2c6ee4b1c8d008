/** Holds what commands print to the types that docs/json/ publishes. */
import { isDeepStrictEqual } from "node:util";
import { DOCUMENTS, ErrorDocument } from "../../src/cli/documents.ts";

/** Whatever of an output is a document with a name is as its type has it, with no member beside. */
export function holdToDocuments({
  stdout,
  stderr,
}: {
  readonly stdout: string;
  readonly stderr: string;
}): void {
  const document = parsed(stdout);
  if (document?.schema?.startsWith("kmodfarm.")) {
    const type = DOCUMENTS[document.schema];
    if (type === undefined) throw new Error(`${document.schema} has no type in src/cli/documents.ts`);
    hold(document.schema, type, document);
  }
  const error = parsed(stderr);
  if (error?.error !== undefined) hold("an error", ErrorDocument, error);
}

function hold(name: string, type: (typeof DOCUMENTS)[string], document: unknown): void {
  const read = type.parse(document);
  // What a type does not have, it leaves out.
  if (!isDeepStrictEqual(read, document))
    throw new Error(`${name} has members that its type does not: ${differences(document, read).join(", ")}`);
}

function parsed(text: string): { readonly schema?: string; readonly error?: unknown } | undefined {
  if (!/^\s*\{/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Paths of what the first one has and the second one has not. */
function differences(a: unknown, b: unknown, path = ""): string[] {
  if (typeof a !== "object" || a === null || typeof b !== "object" || b === null)
    return Object.is(a, b) ? [] : [path];
  return Object.entries(a).flatMap(([key, value]) =>
    key in b ? differences(value, (b as Record<string, unknown>)[key], `${path}.${key}`) : [`${path}.${key}`],
  );
}
