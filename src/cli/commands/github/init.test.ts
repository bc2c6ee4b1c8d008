import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { inProcess } from "../../../../test/support/in-process.ts";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";

let repository: string;

beforeEach(async () => {
  repository = await temporaryDirectory();
});

async function init(config: object, ...argv: string[]) {
  await writeFile(join(repository, "kmodfarm.yaml"), JSON.stringify(config));
  return inProcess(["github", "init", ...argv], { cwd: repository });
}

const night = () => readFile(join(repository, ".github/workflows/kmodfarm-night.yml"), "utf8");

describe("github init", () => {
  test("writes the workflows that the configuration asks for, over earlier ones", async () => {
    const runners = { x86_64: "small", aarch64: ["self-hosted", "build", "aarch64"] };
    await init({ store: "s3://bucket/farm" });

    const { exitCode, stdout } = await init({
      store: { url: "s3://bucket/farm", region: "eu-west-1" },
      github: { runners, coordinator: "large", schedule: "5 4 * * 1-5", environment: "production" },
      privateHosts: ["mirror.lan"],
    });

    expect(exitCode).toBe(0);
    expect(stdout.match(/^\.github\/\S+$/gm)).toHaveLength(4);
    const text = await night();
    expect(text).toContain("- cron: 5 4 * * 1-5\n");
    expect(text).toContain('{"x86_64":"small","aarch64":["self-hosted","build","aarch64"]}');
    expect(text.match(/runs-on: large/g)).toHaveLength(2);
    expect(text).toContain("environment: production\n");
    expect(text).toContain("aws-region: eu-west-1\n");
    expect(text.match(/--private-host mirror\.lan/g)).toHaveLength(2);
  });

  test("takes a repository elsewhere, and a configuration inside of it", async () => {
    await mkdir(join(repository, "farm"));
    await writeFile(join(repository, "farm", "drivers.yaml"), "store: s3://bucket/farm\n");
    const outside = await temporaryDirectory();

    const { exitCode } = await inProcess(
      ["github", "init", "--config", join(repository, "farm", "drivers.yaml"), "--output", repository],
      { cwd: outside },
    );

    expect(exitCode).toBe(0);
    expect(await night()).toContain("plan --config farm/drivers.yaml ");
    expect(existsSync(join(outside, ".github"))).toBe(false);
  });

  test.each<[string, object, readonly string[], RegExp]>([
    [
      "a store that goes away with its job",
      {},
      [],
      /the store .+ is in the repository.+\n.+\[CONFIG_INVALID\]/s,
    ],
    [
      "builders that no runner is",
      { store: "s3://bucket/farm", builders: { aarch64: "aarch64" }, github: { runners: { x86_64: "x" } } },
      [],
      /`builders` names aarch64 machines, and `github\.runners` has none/,
    ],
    [
      "a runner whose name is a command",
      { store: "s3://bucket/farm", github: { coordinator: "$(id)" } },
      [],
      /github\.coordinator.+\[CONFIG_INVALID\]/s,
    ],
    [
      "a configuration outside of the repository",
      { store: "s3://bucket/farm" },
      ["--output", "elsewhere"],
      /is not a plain path in the repository/,
    ],
  ])("refuses %s, and writes nothing", async (_, config, argv, fact) => {
    const { exitCode, stderr } = await init(config, ...argv);

    expect(exitCode).toBe(2);
    expect(stderr).toMatch(fact);
    expect(existsSync(join(repository, ".github"))).toBe(false);
  });

  test("brings the keys of the repository's directory from secrets, but a root's", async () => {
    await init({
      store: "s3://bucket/farm",
      keys: {
        "head-1": { for: "head", file: "keys/head.pem", passwordEnvironment: "HEAD_PASSWORD" },
        anchor: { for: "root", file: "keys/root.pem" },
        elsewhere: { for: "builder", file: "/etc/kmodfarm/builder.pem" },
      },
    });

    const text = await night();
    expect(text.match(/name: Bring \S+/g)).toEqual(["name: Bring KMODFARM_PRIVATE_KEY_HEAD_1"]);
    expect(text).toMatch(/ KEY: \$\{\{ secrets\.KMODFARM_PRIVATE_KEY_HEAD_1 \}\}\n/);
    expect(text).toContain("sudo tee keys/head.pem");
    expect(text).toMatch(/ HEAD_PASSWORD: \$\{\{ secrets\.HEAD_PASSWORD \}\}\n/);
  });

  test("leaves out what an Enterprise Server does not know", async () => {
    await init({ store: "s3://bucket/farm" }, "--server", "https://github.example.com");

    expect(await night()).not.toContain("queue:");
  });
});

describe("github try", () => {
  test("writes a workflow that tries the driver where it lies", async () => {
    const { exitCode, stdout } = await inProcess(["github", "try", "drivers/gate", "--runner", "large"], {
      cwd: repository,
    });

    expect(exitCode).toBe(0);
    expect(stdout.match(/^\.github\/\S+$/gm)).toHaveLength(2);
    const read = (path: string) => readFile(join(repository, ".github", path), "utf8");
    expect(await read("workflows/kmodfarm-try.yml")).toContain("runs-on: large\n");
    expect(await read("actions/kmodfarm-try/action.yml")).toContain("default: drivers/gate\n");
  });

  test("refuses a directory that is not in the repository, or whose name is a command", async () => {
    for (const path of ["../elsewhere", "a;id", "$(id)"]) {
      const { exitCode, stderr } = await inProcess(["github", "try", path], { cwd: repository });

      expect(exitCode).toBe(2);
      expect(stderr).toMatch(/is not a plain path in the repository/);
    }
    expect(existsSync(join(repository, ".github"))).toBe(false);
  });
});

test("take without a hand-over says what is missing", async () => {
  await writeFile(join(repository, "kmodfarm.yaml"), "{}");

  const { exitCode, stderr } = await inProcess(["take"], { cwd: repository });

  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/no hand-over is named, so there is nothing to take\n.+--catalog.+\[USAGE\]/s);
});
