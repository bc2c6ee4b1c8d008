/**
 * Writes the pages that restate code: docs/errors.md, docs/config.md, docs/kmodfarm.schema.json, docs/json/, the manual. A
 * test holds them to it.
 *
 *     npm run docs
 */
import { writeFile } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { z } from "zod";
import { ERRORS } from "../src/base/error-codes.ts";
import { COMMANDS } from "../src/cli/commands/index.ts";
import { DOCUMENTS, ErrorDocument } from "../src/cli/documents.ts";
import { manPage } from "../src/cli/man.ts";
import { wholeProgram } from "../src/cli/program.ts";
import { Config } from "../src/farm/config/index.ts";

export const PAGES: Readonly<Record<string, () => string>> = {
  "docs/errors.md": errorsPage,
  "docs/config.md": configPage,
  ...Object.fromEntries(
    [...Object.entries(DOCUMENTS), ["kmodfarm.error/1", ErrorDocument] as const].map(([name, type]) => [
      `docs/json/${name.slice("kmodfarm.".length).replace(/\/\d+$/, "")}.schema.json`,
      () => `${JSON.stringify(z.toJSONSchema(type, { unrepresentable: "any" }), null, 2)}\n`,
    ]),
  ),
  "docs/man/kmodfarm.1": () => manPage(wholeProgram(COMMANDS)),
  "docs/kmodfarm.schema.json": () => `${JSON.stringify(jsonSchema(), null, 2)}\n`,
};

function errorsPage(): string {
  const entries = Object.entries(ERRORS).map(
    ([code, { summary, blame, exit, hint }]) =>
      `## ${code}\n\n${summary}. Blame: ${blame}. Exit code: ${exit}.\n\n${hint}\n`,
  );
  return `# Errors

Every error that kmodfarm prints ends with one of these codes; with \`--json\` it is \`error.code\`. Codes are never reused.
_Blame_ decides what happens next: \`source\` and \`input\` are not tried again until something changes; \`infra\` and
\`remote\` are tried again; \`unknown\` is tried in three runs at most; \`integrity\` needs a person to look; \`bug\` should be
reported.

\`run\` and \`build\` continue when something fails, and exit with the first of these that applies: 130 if they were
stopped; 4 for a wrong digest or signature; 3 for a bug in kmodfarm, or if the store could not be written to; 1 if
elements failed; 3 if a source needs attention; otherwise 0.

Generated from src/base/error-codes.ts by \`npm run docs\`.

${entries.join("\n")}`;
}

interface Property {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly items?: Property;
  readonly properties?: Readonly<Record<string, Property>>;
  readonly required?: readonly string[];
  readonly anyOf?: readonly Property[];
  /** Alternatives that their `kind` tells apart. */
  readonly oneOf?: readonly Property[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
}

function jsonSchema(): Property {
  return z.toJSONSchema(Config, { io: "input" }) as Property;
}

function configPage(): string {
  return `# Configuration

The configuration is one YAML file: \`kmodfarm.yaml\` in the current directory, or the file that \`--config\` names. Unknown
settings are errors. Relative paths are relative to the file. kmodfarm.schema.json holds the same settings for editors; a
working example is examples/demo.yaml.

Generated from src/farm/config/ by \`npm run docs\`.

${configSections(eachOnce(settings(jsonSchema(), ""))).join("\n\n")}
`;
}

/** First what the file itself has, then a section for each of these that has settings of its own. */
function configSections(all: readonly Setting[]): string[] {
  const sections = Map.groupBy(all, ({ name }) => /^\w+/.exec(name)?.[0] ?? "");
  const large = [...sections].filter(([, { length }]) => length > 1);
  return [
    "## The file",
    itemsOf(all.filter(({ name }) => sections.has(name))),
    ...large.flatMap(([name, own]) => [`## ${name}`, itemsOf(own.filter((one) => one.name !== name))]),
  ];
}

function itemsOf(all: readonly Setting[]): string {
  return all
    .map(({ name, kind, meaning }) =>
      wrapped(`- \`${name}\` (${kind})${meaning === "" ? "" : `: ${meaning}`}`),
    )
    .join("\n");
}

const WIDTH = 120;

/** An item of a list, as wide as prose is. */
function wrapped(item: string): string {
  const lines = [""];
  for (const word of item.split(/\s+/)) {
    const line = lines.at(-1) ?? "";
    if (line === "") lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= WIDTH) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(`  ${word}`);
  }
  return lines.join("\n");
}

interface Setting {
  readonly name: string;
  readonly kind: string;
  readonly meaning: string;
}

/** What several alternatives have, once. */
function eachOnce(all: readonly Setting[]): Setting[] {
  return all.filter(({ name }, index) => all.findIndex((one) => one.name === name) === index);
}

function settings(schema: Property, path: string): Setting[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const here = path === "" ? name : `${path}.${name}`;
    const isRequired = schema.required?.includes(name) === true;
    const objects = [property, ...(property.anyOf ?? [])].filter(
      ({ properties }) => properties !== undefined,
    );
    const inner = objects.length > 0 ? objects : [property.items];
    const own = {
      name: here,
      kind: `${kindOf(property)}${isRequired ? ", required" : ""}`,
      meaning: property.description ?? "",
    };
    return [own, ...inner.flatMap((one) => alternatives(property, one, here))];
  });
}

function alternatives({ items }: Property, inner: Property | undefined, here: string): Setting[] {
  if (inner?.oneOf !== undefined)
    return inner.oneOf.flatMap((one) =>
      settings(one, `${here}[kind: ${kindOf(one.properties?.kind ?? {}).replaceAll("`", "")}]`),
    );
  return inner?.properties === undefined ? [] : settings(inner, items === undefined ? here : `${here}[]`);
}

function kindOf({ type, items, anyOf, oneOf, enum: words, const: only }: Property): string {
  if (only !== undefined) return `\`${JSON.stringify(only).replaceAll('"', "")}\``;
  if (words !== undefined) return words.map((word) => `\`${String(word)}\``).join(" or ");
  if (anyOf !== undefined) return anyOf.map(kindOf).join(" or ");
  if (oneOf !== undefined) return [...new Set(oneOf.map(kindOf))].join(" or ");
  return type === "array" ? `list of ${items === undefined ? "values" : kindOf(items)}` : (type ?? "value");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const root = fileURLToPath(new URL("..", import.meta.url));
  for (const [file, page] of Object.entries(PAGES)) await writeFile(`${root}${file}`, page());
}
