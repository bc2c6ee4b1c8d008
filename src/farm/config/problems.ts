/**
 * What a schema finds wrong with a configuration, in words that help a person to fix it.
 */
import { z } from "zod";
import { closest } from "../../base/closest.ts";
import { innermostIssues, placeOfIssue } from "../../base/json.ts";

/** How many problems one message tells of. */
const MOST_TOLD = 3;

/**
 * The problems of a configuration on one line, the ones that explain others first.
 * @param type what was asked for: its settings are those that a misspelt one may mean
 * @param value what was given
 */
export function describeProblems(error: z.ZodError, type: z.ZodType, value: unknown): string {
  const asked: Asked = { root: z.toJSONSchema(type, { io: "input", unrepresentable: "any" }), value };
  const issues = error.issues.flatMap(tellable).toSorted(unknownFirst);
  const told = issues.slice(0, MOST_TOLD).map((issue) => placeOf(issue) + sentenceOf(issue, asked));
  const more = issues.length > MOST_TOLD ? [`and ${issues.length - MOST_TOLD} more`] : [];
  return [...told, ...more].join("; ");
}

interface Asked {
  readonly root: Node;
  readonly value: unknown;
}

/** Each unknown key by itself, each union as its likeliest member. */
function tellable(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  return innermostIssues(issue).flatMap((one): z.core.$ZodIssue[] =>
    one.code === "unrecognized_keys" ? one.keys.map((key) => ({ ...one, keys: [key] })) : [one],
  );
}

/** A misspelt word is also a missing one: the word is what to tell of. */
function unknownFirst(a: z.core.$ZodIssue, b: z.core.$ZodIssue): number {
  return Number(b.code === "unrecognized_keys") - Number(a.code === "unrecognized_keys");
}

function placeOf(issue: z.core.$ZodIssue): string {
  const place = placeOfIssue(issue);
  return place === "" ? "" : `${place}: `;
}

function sentenceOf(issue: z.core.$ZodIssue, asked: Asked): string {
  if (issue.code === "unrecognized_keys")
    return `there is no setting "${issue.keys[0]}"${suggestion(issue.keys[0] ?? "", asked, issue.path)}`;
  if (issue.code === "invalid_value")
    return `must be ${issue.values.map((value) => JSON.stringify(value)).join(" or ")}`;
  if (issue.code === "too_small")
    return boundSentence(issue.inclusive === false ? "more than" : "at least", issue.minimum, issue.origin);
  if (issue.code === "too_big")
    return boundSentence(issue.inclusive === false ? "less than" : "at most", issue.maximum, issue.origin);
  const choices: unknown = "options" in issue ? issue.options : undefined;
  if (issue.code === "invalid_union" && Array.isArray(choices))
    return `must be ${choices.map((value) => JSON.stringify(value)).join(" or ")}`;
  if (issue.code !== "invalid_type") return issue.message;
  if (/received undefined$/.test(issue.message)) return "is missing";
  if (issue.expected === "int") return "must be a whole number";
  const isUnquoted = issue.expected === "string" && /received number$/.test(issue.message);
  return `must be ${withArticle(issue.expected)}${isUnquoted ? ": put it in quotes" : ""}`;
}

function boundSentence(words: string, bound: number | bigint, origin: string): string {
  if (origin === "array" || origin === "string")
    return bound === 1 ? "must not be empty" : `must have ${words} ${bound} ${COUNTED[origin]}`;
  return `must be ${words} ${bound}`;
}

const COUNTED = { array: "entries", string: "characters" } as const;

function withArticle(type: string): string {
  if (type === "array") return "a list";
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`;
}

/** What a JSON schema says of the settings in it. */
interface Node {
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly additionalProperties?: unknown;
  readonly items?: unknown;
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
  readonly const?: unknown;
}

/** Words of the place itself come first; one that only other places have is right, and stands in the wrong one. */
function suggestion(key: string, { root, value }: Asked, path: readonly PropertyKey[]): string {
  const words = settingsAt(root, value, path);
  const [near] = closest(key, words);
  const [any] = closest(key, [...words, ...settingsOf(root)]);
  const meant = near !== undefined && near.distance <= 1 ? near : any;
  if (meant === undefined || meant.distance > 3) return "";
  return meant.distance === 0 ? " here" : ` (did you mean '${meant.word}'?)`;
}

function settingsAt(node: Node, value: unknown, [part, ...path]: readonly PropertyKey[]): string[] {
  const fitting = alternatives(node).filter((one) => fits(one, value));
  if (part === undefined) return fitting.flatMap(({ properties = {} }) => Object.keys(properties));
  const inside = isObject(value) ? value[part] : undefined;
  return fitting
    .map(({ properties, additionalProperties, items }) =>
      typeof part === "number" ? items : (properties?.[String(part)] ?? additionalProperties),
    )
    .filter(isObject)
    .flatMap((below) => settingsAt(below, inside, path));
}

/** Every setting there is. */
function settingsOf(node: Node): string[] {
  return alternatives(node).flatMap(({ properties = {}, additionalProperties, items }) => [
    ...Object.keys(properties),
    ...[...Object.values(properties), additionalProperties, items].filter(isObject).flatMap(settingsOf),
  ]);
}

function alternatives(node: Node): Node[] {
  return [node, ...[...(node.anyOf ?? []), ...(node.oneOf ?? [])].flatMap(alternatives)];
}

/** Whether a value is not of another kind. */
function fits({ properties = {} }: Node, value: unknown): boolean {
  return Object.entries(properties).every(
    ([name, one]) => !isObject(one) || !("const" in one) || (isObject(value) && value[name] === one.const),
  );
}

function isObject(value: unknown): value is Readonly<Record<PropertyKey, unknown>> {
  return typeof value === "object" && value !== null;
}
