/**
 * Workflows of GitHub Actions as data, as far as ours go, and their text.
 */
import { Document, isScalar, visit } from "yaml";
import { ACTIONS, pinned } from "./actions.ts";

export interface Step {
  readonly name?: string;
  readonly id?: string;
  readonly if?: string;
  readonly uses?: string;
  readonly with?: Readonly<Record<string, string | number | boolean>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly run?: string;
  /** Of a composite action, where each step must say it. */
  readonly shell?: "bash";
}

type Permissions = Readonly<Partial<Record<"contents" | "id-token", "read" | "write">>>;

export interface Job {
  readonly name?: string;
  readonly needs?: string | readonly string[];
  readonly if?: string;
  readonly "runs-on"?: string | readonly string[];
  readonly environment?: string;
  readonly permissions: Permissions;
  readonly "timeout-minutes"?: number;
  readonly strategy?: { readonly "fail-fast": boolean; readonly matrix: string };
  readonly outputs?: Readonly<Record<string, string>>;
  readonly steps?: readonly Step[];
  /** A workflow that is called, instead of steps. */
  readonly uses?: string;
  readonly with?: Readonly<Record<string, string>>;
  readonly secrets?: "inherit";
}

interface Input {
  readonly description: string;
  readonly type: "string" | "boolean";
  readonly required?: boolean;
  readonly default?: string | boolean;
}
export type Inputs = Readonly<Record<string, Input>>;

export interface Workflow {
  readonly name: string;
  readonly on: Readonly<Record<string, unknown>>;
  readonly permissions: Readonly<Record<string, never>>;
  readonly concurrency?: { readonly group: string; readonly queue?: "max" };
  readonly defaults?: { readonly run: { readonly shell: "bash" } };
  readonly jobs: Readonly<Record<string, Job>>;
}

export interface CompositeAction {
  readonly name: string;
  readonly description: string;
  readonly inputs?: Readonly<Record<string, { readonly description: string; readonly default: string }>>;
  readonly runs: { readonly using: "composite"; readonly steps: readonly Step[] };
}

const VERSIONS = new Map<unknown, string>(
  Object.values(ACTIONS).map((action) => [pinned(action), action.version]),
);

/** The text of a workflow or an action, `head` before it; each action's version is beside its commit. */
export function toYaml(content: Workflow | CompositeAction, head: string): string {
  const document = new Document(content, { aliasDuplicateObjects: false });
  document.commentBefore = head.replaceAll(/^/gm, " ");
  visit(document, {
    Pair(_, { key, value }) {
      const version = isScalar(value) ? VERSIONS.get(value.value) : undefined;
      if (isScalar(key) && key.value === "uses" && isScalar(value) && version !== undefined)
        value.comment = ` ${version}`;
    },
  });
  return document.toString({ lineWidth: 0 });
}

/** What GitHub fills in. */
export function expression(text: string): string {
  return `\${{ ${text} }}`;
}

/** A script of several lines. */
export function lines(...all: readonly string[]): string {
  return `${all.join("\n")}\n`;
}
