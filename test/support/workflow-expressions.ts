/** Expressions of GitHub Actions, by GitHub's own library, which Node imports only when it is bundled. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type * as Expressions from "@actions/expressions";
import type * as WorkflowParser from "@actions/workflow-parser";
import { build } from "rolldown";
import { TEST_CACHE } from "./e2e-mirror.ts";

export type Status = "success" | "failure" | "skipped";
export type Context = Readonly<Record<string, unknown>>;

/** A package of GitHub's whose modules import JSON in a way that Node refuses. */
async function bundled<T>(name: string): Promise<T> {
  const directory = join(TEST_CACHE, "bundles");
  mkdirSync(directory, { recursive: true });
  const file = join(directory, `${name.replaceAll(/\W/g, "-")}.${process.pid}.mjs`);
  await build({
    input: name,
    platform: "node",
    logLevel: "silent",
    output: { file, format: "esm", codeSplitting: false },
  });
  return (await import(pathToFileURL(file).href)) as T;
}

export const workflowParser = () => bundled<typeof WorkflowParser>("@actions/workflow-parser");
const { data, Evaluator, Lexer, Parser } = await bundled<typeof Expressions>("@actions/expressions");

const STATUS_FUNCTIONS = ["success", "failure", "always", "cancelled"];

/** What an expression comes to; `status` is of everything before. */
export function evaluate(expression: string, context: Context, status: Status = "success"): unknown {
  const is: Readonly<Record<string, boolean>> = {
    success: status === "success",
    failure: status === "failure",
    always: true,
    cancelled: false,
  };
  const functions = STATUS_FUNCTIONS.map((name) => ({
    ...{ name, minArgs: 0, maxArgs: 0 },
    call: () => new data.BooleanData(is[name] ?? false),
  }));
  const { tokens } = new Lexer(expression).lex();
  const parsed = new Parser(tokens, Object.keys(context), functions).parse();
  const known = JSON.parse(JSON.stringify(context), data.reviver) as Expressions.data.Dictionary;
  const byName = new Map(functions.map((one) => [one.name, one]));
  const result = new Evaluator(parsed, known, byName).evaluate();
  return JSON.parse(JSON.stringify(result, data.replacer));
}

/** Whether a condition holds. One that asks for no status holds only where all went well. */
export function isTrue(condition: string, context: Context, status: Status): boolean {
  const [, inner] = /^\s*\$\{\{(.*)\}\}\s*$/s.exec(condition) ?? [];
  const expression = inner ?? condition;
  const asks = STATUS_FUNCTIONS.some((name) => expression.includes(`${name}(`));
  return Boolean(evaluate(asks ? expression : `success() && (${expression})`, context, status));
}

/** A text with its expressions replaced. */
export function template(text: string, context: Context): string {
  return text.replaceAll(/\$\{\{(.*?)\}\}/gs, (_, expression: string) => {
    const value = evaluate(expression, context);
    if (typeof value === "object" && value !== null) throw new Error(`${expression} is no text`);
    return value === null || value === undefined ? "" : String(value as string | number | boolean);
  });
}
