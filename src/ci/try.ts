/**
 * `kmodfarm try` on pull requests, for a driver's own repository: an action, and the workflow that calls it. Neither has a
 * secret or a grant beyond the checkout, so a fork's pull request is tried like anybody's.
 */
import { ACTIONS, pinned } from "./actions.ts";
import { installSteps } from "./install.ts";
import { type CompositeAction, expression, lines, type Step, toYaml, type Workflow } from "./workflow.ts";

export interface TrySettings {
  /** The driver's directory, relative to the repository. */
  readonly path: string;
  /** What npm installs. */
  readonly package: string;
  readonly runner: string;
}

/** Path → text of every file. */
export function tryFiles(settings: TrySettings): ReadonlyMap<string, string> {
  return new Map([
    [".github/workflows/kmodfarm-try.yml", toYaml(tryWorkflow(settings), HEAD)],
    [`${ACTION}/action.yml`, toYaml(tryAction(settings), HEAD)],
  ]);
}

const ACTION = ".github/actions/kmodfarm-try";
const HEAD = "Written by `kmodfarm github try`; write it again instead of editing it.";
const TIMEOUT_MINUTES = 120;

function tryWorkflow({ runner }: TrySettings): Workflow {
  return {
    name: "kmodfarm try",
    // What the default branch keeps in its cache is there for every pull request.
    on: { pull_request: {}, push: { branches: ["main", "master"] }, workflow_dispatch: {} },
    permissions: {},
    jobs: {
      try: {
        "runs-on": runner,
        permissions: { contents: "read" },
        "timeout-minutes": TIMEOUT_MINUTES,
        steps: [
          // The token would stay in the checkout, where a build could look for it.
          { uses: pinned(ACTIONS.checkout), with: { "persist-credentials": false } },
          { uses: `./${ACTION}` },
        ],
      },
    },
  };
}

function tryAction(settings: TrySettings): CompositeAction {
  return {
    name: "kmodfarm try",
    description: "Builds a driver for kernels of many distributions, and loads it in each of them",
    inputs: {
      path: { description: "The driver's directory", default: settings.path },
      kernels: { description: "How many kernels, spread over series and architectures", default: "8" },
    },
    runs: { using: "composite", steps: [...installSteps(settings.package), ...trySteps()] },
  };
}

/**
 * The cache is one archive, made by root, because roots of toolchains have owners and modes that a runner's own user cannot
 * keep. Its key is a digest of what it holds: toolchains and packages, which are named by their digests.
 */
function trySteps(): Step[] {
  const archive = `${expression("runner.temp")}/kmodfarm.tar.zst`;
  const prefix = `kmodfarm-try-${expression("runner.arch")}-`;
  return [
    {
      name: "Restore toolchains and packages",
      id: "restored",
      uses: pinned(ACTIONS.restoreCache),
      with: { path: archive, key: prefix, "restore-keys": prefix },
    },
    {
      name: "Try the driver",
      shell: "bash",
      env: { DRIVER: expression("inputs.path"), KERNELS: expression("inputs.kernels") },
      run: lines(
        'cache="$RUNNER_TEMP/kmodfarm"',
        'mkdir -p "$cache"',
        '[ ! -e "$cache.tar.zst" ] || sudo tar --extract --zstd --directory "$cache" --file "$cache.tar.zst"',
        'sudo GITHUB_ACTIONS=true kmodfarm try "$DRIVER" --kernels "$KERNELS" --cache "$cache" \\',
        '  --summary "$GITHUB_STEP_SUMMARY"',
      ),
    },
    {
      name: "Pack toolchains and packages",
      id: "packed",
      // Also if the driver is at fault.
      if: "always()",
      shell: "bash",
      env: { PREFIX: prefix, RESTORED: expression("steps.restored.outputs.cache-matched-key") },
      run: lines(
        'cache="$RUNNER_TEMP/kmodfarm"',
        'cd "$cache"',
        "rooms=$(sudo sh -c 'ls -d roots inputs indices' 2>/dev/null || true)",
        '[ -n "$rooms" ] || exit 0',
        "names=$(sudo sh -c 'ls roots inputs' 2>/dev/null || true)",
        'key="$PREFIX$(printf %s "$names" | sha256sum | cut -c 1-32)"',
        '[ "$key" != "$RESTORED" ] || exit 0',
        'sudo tar --create --zstd --file "$cache.tar.zst" $rooms',
        'sudo chown "$(id -u)" "$cache.tar.zst"',
        'echo "key=$key" >>"$GITHUB_OUTPUT"',
      ),
    },
    {
      name: "Save toolchains and packages",
      if: "always() && steps.packed.outputs.key != ''",
      uses: pinned(ACTIONS.saveCache),
      with: { path: archive, key: expression("steps.packed.outputs.key") },
    },
  ];
}
