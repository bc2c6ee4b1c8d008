/**
 * The night as workflows of GitHub Actions: plan → build shards → check shards → publish. Orders and hand-overs are
 * artifacts, so the jobs that run strangers' code need no grant at all.
 */
import { ACTIONS, pinned } from "./actions.ts";
import { installSteps } from "./install.ts";
import {
  type CompositeAction,
  expression,
  type Inputs,
  type Job,
  lines,
  type Step,
  toYaml,
  type Workflow,
} from "./workflow.ts";

type RunsOn = string | readonly string[];

/** How the two jobs that know the store come to it. */
export type StoreAccess =
  /** A bucket of AWS: roles that GitHub's own tokens are exchanged for. */
  | { readonly kind: "roles"; readonly region: string | undefined }
  /** A bucket elsewhere: keys that are secrets of the repository and of the environment. */
  | { readonly kind: "keys" }
  /** A directory that the coordinator's machine has. */
  | { readonly kind: "directory" };

export interface GithubKey {
  /** The secret of the environment that holds it. */
  readonly secret: string;
  /** Where it is put, relative to the repository. */
  readonly file: string;
  /** The environment variable, and the secret, that holds its password. */
  readonly password: string | undefined;
}

export interface GithubSettings {
  /** By the architecture of the machine. */
  readonly runners: Readonly<Record<string, RunsOn>>;
  readonly coordinator: RunsOn;
  readonly schedule: string;
  readonly environment: string;
  readonly store: StoreAccess;
  /** Private keys that lie in files of the repository's directory, where only the job that publishes has them. */
  readonly keys: readonly GithubKey[];
  /** Whether the job that publishes signs statements as the workflow that it is, with no key. */
  readonly isKeyless: boolean;
  /** The configuration, relative to the repository. */
  readonly config: string;
  /** Hosts without public addresses that workers may ask, as `kmodfarm work` takes them. */
  readonly privateHosts: readonly string[];
  /** What npm installs. */
  readonly package: string;
  /** Whether it is for github.com: an Enterprise Server does not know everything. */
  readonly isPublic: boolean;
}

/** Path → text of every file. */
export function githubFiles(settings: GithubSettings): ReadonlyMap<string, string> {
  return new Map([
    [`${WORKFLOWS}/kmodfarm-night.yml`, toYaml(nightWorkflow(settings), HEAD)],
    [`${WORKFLOWS}/kmodfarm-driver-release.yml`, toYaml(driverReleaseWorkflow(settings), HEAD)],
    [`${WORKFLOWS}/kmodfarm-on-demand.yml`, toYaml(onDemandWorkflow(settings), HEAD)],
    [`${ACTION}/action.yml`, toYaml(installAction(settings), HEAD)],
  ]);
}

const WORKFLOWS = ".github/workflows";
const ACTION = ".github/actions/kmodfarm";
const HEAD =
  "Written by `kmodfarm github init`; change kmodfarm.yaml and write it again instead of editing it.";
/** Minutes; a shard is planned for ten. */
const TIMEOUTS = { plan: 120, shard: 180, publish: 180 };
/** What an artifact of a run is for is over when the run is published, or repeated. */
const RETENTION_DAYS = 3;

const INPUTS = {
  kernel: { description: "Only these kernel releases (uname -r)", type: "string", default: "" },
  distribution: { description: "Only these releases or distributions", type: "string", default: "" },
  architecture: { description: "Only these architectures", type: "string", default: "" },
  retry: {
    description: "Also retry what failed by its own fault",
    type: "boolean",
    default: false,
  },
} as const satisfies Inputs;

const READ_ONLY = { contents: "read" } as const;
/** The store's roles, and certificates for statements, are had for a token that says which job asks. */
const WITH_TOKEN = { contents: "read", "id-token": "write" } as const;

function nightWorkflow(settings: GithubSettings): Workflow {
  const { schedule, isPublic } = settings;
  return {
    name: "kmodfarm night",
    on: {
      schedule: [{ cron: schedule }],
      workflow_dispatch: { inputs: INPUTS },
      workflow_call: { inputs: INPUTS },
    },
    permissions: {},
    // Without `queue` a waiting night would be cancelled by the next one. Nothing breaks where two run at once.
    concurrency: { group: "kmodfarm", ...(isPublic ? { queue: "max" } : {}) },
    defaults: { run: { shell: "bash" } },
    jobs: {
      plan: planJob(settings),
      build: shardJob(settings, BUILD),
      check: shardJob(settings, CHECK),
      publish: publishJob(settings),
    },
  };
}

const HAS_SHARDS = `needs.plan.outputs.matrix != '{"include":[]}'`;

function planJob(settings: GithubSettings): Job {
  const { coordinator, config } = settings;
  return {
    "runs-on": coordinator,
    permissions: permissionsOf(settings),
    "timeout-minutes": TIMEOUTS.plan,
    outputs: {
      matrix: expression("steps.plan.outputs.matrix"),
      "orders-id": expression("steps.orders.outputs.artifact-id"),
      plan: expression("steps.plan.outputs.plan"),
    },
    steps: [
      ...begin(),
      ...accessSteps(settings, "vars.KMODFARM_PLAN_ROLE"),
      {
        name: "Plan",
        id: "plan",
        env: {
          ...accessEnvironment(settings),
          KERNEL: expression("inputs.kernel"),
          DISTRIBUTION: expression("inputs.distribution"),
          ARCHITECTURE: expression("inputs.architecture"),
          RETRY: expression("inputs.retry"),
        },
        run: lines(
          "options=()",
          `[ -z "$KERNEL" ] || options+=(--kernel "$KERNEL")`,
          `[ -z "$DISTRIBUTION" ] || options+=(--distro "$DISTRIBUTION")`,
          `[ -z "$ARCHITECTURE" ] || options+=(--arch "$ARCHITECTURE")`,
          `[ "$RETRY" != true ] || options+=(--retry)`,
          "# What is wrong with a source or an element is reported by the job that publishes.",
          `${kmodfarm(settings)} plan --config ${config} --read-only --out orders "\${options[@]}" ||`,
          "  test -s orders/matrix.json",
          owned("orders"),
          `echo "matrix=$(cat orders/matrix.json)" >>"$GITHUB_OUTPUT"`,
          `echo "plan=$(cat orders/plan.digest)" >>"$GITHUB_OUTPUT"`,
        ),
      },
      upload("orders", "orders", "orders", "!orders/blobs"),
      {
        ...upload("blobs", "order-blobs", "orders/blobs"),
        if: `steps.plan.outputs.matrix != '{"include":[]}'`,
      },
    ],
  };
}

interface Round {
  readonly name: "build" | "check";
  readonly needs: string | readonly string[];
  readonly if: string;
  readonly before: readonly Step[];
  readonly title: string;
  readonly options: string;
  readonly out: string;
}

const BUILD: Round = {
  name: "build",
  needs: "plan",
  if: HAS_SHARDS,
  before: [],
  title: "Build",
  options: "",
  out: "built",
};

const CHECK: Round = {
  name: "check",
  needs: ["plan", "build"],
  // Shards that were built are checked, whatever became of the others.
  if: expression(`!cancelled() && needs.plan.result == 'success' && ${HAS_SHARDS}`),
  before: [download({ name: `built-${expression("matrix.shard")}`, path: "built" })],
  title: "Load-test",
  options: " --after built",
  out: "checked",
};

function shardJob(settings: GithubSettings, round: Round): Job {
  const runners = JSON.stringify(settings.runners);
  const hosts = settings.privateHosts.map((host) => ` --private-host ${host}`).join("");
  const { name, needs, before, title, options, out } = round;
  return {
    name: `${name} ${expression("matrix.shard")}`,
    needs,
    if: round.if,
    "runs-on": expression(`fromJSON('${runners}')[matrix.machine]`),
    permissions: READ_ONLY,
    "timeout-minutes": TIMEOUTS.shard,
    strategy: { "fail-fast": false, matrix: expression("fromJSON(needs.plan.outputs.matrix)") },
    steps: [
      ...begin(),
      download({ "artifact-ids": expression("needs.plan.outputs.orders-id"), path: "orders" }),
      download({ name: "order-blobs", path: "orders/blobs" }),
      ...before,
      {
        name: title,
        env: { SHARD: expression("matrix.shard") },
        run: `sudo kmodfarm work orders --shard "$SHARD"${options} --out ${out}${hosts}`,
      },
      // What was finished before a fault is handed over too.
      { name: "Own what was made", if: expression("always()"), run: `mkdir -p ${out}; ${owned(out)}` },
      {
        ...upload(out, `${out}-${expression("matrix.shard")}`, `${out}/*.tar`),
        if: expression("always()"),
      },
    ],
  };
}

function publishJob(settings: GithubSettings): Job {
  const { coordinator, environment, config } = settings;
  return {
    needs: ["plan", "build", "check"],
    if: expression("!cancelled() && needs.plan.result == 'success'"),
    "runs-on": coordinator,
    environment,
    permissions: settings.isKeyless ? WITH_TOKEN : permissionsOf(settings),
    "timeout-minutes": TIMEOUTS.publish,
    steps: [
      ...begin(),
      // By its id: an artifact of that name may have taken its place.
      download({ "artifact-ids": expression("needs.plan.outputs.orders-id"), path: "orders" }),
      // Apart, and each in its own directory: none can take the place of another's files.
      download({ pattern: "built-*", path: "handovers/built" }),
      download({ pattern: "checked-*", path: "handovers/checked" }),
      ...accessSteps(settings, "vars.KMODFARM_PUBLISH_ROLE"),
      ...settings.keys.map(keyStep),
      {
        name: "Publish",
        env: {
          ...accessEnvironment(settings),
          ...passwordEnvironment(settings),
          PLAN: expression("needs.plan.outputs.plan"),
        },
        run: lines(
          "# A single artifact is put right into handovers/built, and of several each has a directory there.",
          "mkdir -p handovers",
          `mapfile -t -d '' places < <(find -P handovers -maxdepth 3 -type f -name '*.tar' -printf '%h\\0' | sort -zu)`,
          `${kmodfarm(settings, signingNames(settings))} take --config ${config} --orders orders --plan "$PLAN" --catalog --no-load \\`,
          `  --summary "$GITHUB_STEP_SUMMARY" -- "\${places[@]}"`,
        ),
      },
    ],
  };
}

/** Keys are of the farm's user, and nobody else's. */
function keyStep({ secret, file }: GithubKey): Step {
  return {
    name: `Bring ${secret}`,
    env: { KEY: expression(`secrets.${secret}`) },
    run: lines(
      `if [ -z "$KEY" ]; then echo "::error::the environment has no secret ${secret}"; exit 1; fi`,
      `sudo install -D -m 600 /dev/null ${file}`,
      `printf '%s\\n' "$KEY" | sudo tee ${file} >/dev/null`,
    ),
  };
}

function passwordEnvironment({ keys }: GithubSettings): Record<string, string> {
  const names = keys.flatMap(({ password }) => password ?? []);
  return Object.fromEntries(names.map((name) => [name, expression(`secrets.${name}`)]));
}

/** What the program that signs finds in its environment. */
function signingNames(settings: GithubSettings): string[] {
  return [...Object.keys(passwordEnvironment(settings)), ...(settings.isKeyless ? TOKEN_NAMES : [])];
}

/** Where GitHub gives a job's token. */
const TOKEN_NAMES = ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"];

/** A driver's new version is a change of the configuration, or of what it names; another repository says so by an event. */
function driverReleaseWorkflow(settings: GithubSettings): Workflow {
  return {
    name: "kmodfarm driver release",
    on: {
      push: { paths: [settings.config] },
      repository_dispatch: { types: ["kmodfarm-driver-release"] },
      workflow_dispatch: {},
    },
    permissions: {},
    jobs: {
      night: {
        // Only what was merged is built and published.
        if: "github.event_name != 'push' || github.ref == format('refs/heads/{0}', github.event.repository.default_branch)",
        ...callNight(settings),
      },
    },
  };
}

function onDemandWorkflow(settings: GithubSettings): Workflow {
  const { kernel, distribution, architecture } = INPUTS;
  return {
    name: "kmodfarm on demand",
    on: {
      workflow_dispatch: {
        inputs: {
          kernel: { ...withoutDefault(kernel), required: true },
          distribution,
          architecture,
        },
      },
    },
    permissions: {},
    jobs: {
      night: {
        ...callNight(settings),
        with: {
          kernel: expression("inputs.kernel"),
          distribution: expression("inputs.distribution"),
          architecture: expression("inputs.architecture"),
        },
      },
    },
  };
}

/** What is called can have no more than its caller, which has no step that could use it. */
function callNight(settings: GithubSettings): Job {
  return {
    permissions: settings.isKeyless ? WITH_TOKEN : permissionsOf(settings),
    uses: `./${WORKFLOWS}/kmodfarm-night.yml`,
    ...(settings.store.kind === "keys" || settings.keys.length > 0 ? { secrets: "inherit" } : {}),
  };
}

function installAction(settings: GithubSettings): CompositeAction {
  return {
    name: "kmodfarm",
    description: "Installs kmodfarm and what it needs on a runner of Debian or Ubuntu",
    runs: { using: "composite", steps: installSteps(settings.package) },
  };
}

function begin(): Step[] {
  return [
    // The token would stay in the checkout, where a build could look for it.
    { uses: pinned(ACTIONS.checkout), with: { "persist-credentials": false } },
    { uses: `./${ACTION}` },
  ];
}

function accessSteps({ store }: GithubSettings, role: string): Step[] {
  if (store.kind !== "roles") return [];
  return [
    {
      uses: pinned(ACTIONS.awsCredentials),
      with: {
        "role-to-assume": expression(role),
        "aws-region": store.region ?? expression("vars.KMODFARM_REGION"),
      },
    },
  ];
}

function accessEnvironment({ store }: GithubSettings): Record<string, string> {
  if (store.kind !== "keys") return {};
  return {
    AWS_ACCESS_KEY_ID: expression("secrets.KMODFARM_KEY_ID"),
    AWS_SECRET_ACCESS_KEY: expression("secrets.KMODFARM_SECRET_KEY"),
  };
}

function permissionsOf({ store }: GithubSettings): typeof READ_ONLY | typeof WITH_TOKEN {
  return store.kind === "roles" ? WITH_TOKEN : READ_ONLY;
}

const AWS_NAMES = [
  ...["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
  ...["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"],
];

/** Toolchain roots and sandboxes want root; nothing but credentials of the store and what signing needs goes there. */
function kmodfarm({ store }: GithubSettings, more: readonly string[] = []): string {
  const names = [...(store.kind === "directory" ? [] : AWS_NAMES), ...more];
  return names.length === 0 ? "sudo kmodfarm" : `sudo --preserve-env=${names.join(",")} kmodfarm`;
}

/** What root made is the runner's, which reads it for an artifact. */
function owned(directory: string): string {
  return `sudo chown --recursive "$(id -u)" ${directory}`;
}

function upload(id: string, name: string, ...paths: string[]): Step {
  return {
    id,
    uses: pinned(ACTIONS.upload),
    with: {
      name,
      path: paths.join("\n"),
      "if-no-files-found": "ignore",
      "retention-days": RETENTION_DAYS,
      // Jobs can be run again, and names are given once.
      overwrite: true,
    },
  };
}

function download(inputs: Record<string, string>): Step {
  return { uses: pinned(ACTIONS.download), with: inputs };
}

function withoutDefault<T extends { readonly default: unknown }>({ default: _, ...input }: T) {
  return input;
}
