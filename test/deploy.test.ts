/** What deploy/ ships: workflows that a machine can read, whose commands and images exist. */
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseDocument } from "yaml";
import { bubblewrap } from "../src/builder/sandboxes/bubblewrap.ts";
import { PACKAGES } from "../src/ci/install.ts";
import { COMMANDS } from "../src/cli/commands/index.ts";
import { TOOLS } from "../src/farm/doctor.ts";
import { temporaryDirectory } from "./support/temporary.ts";

const ROOT = join(import.meta.dirname, "..");
const WORKFLOWS = globSync("deploy/github/*.yml", { cwd: ROOT });

interface Workflow {
  readonly name: string;
  readonly on: Record<string, unknown>;
  readonly permissions: Record<string, string>;
  readonly jobs: Record<
    string,
    {
      readonly "runs-on": string;
      readonly "timeout-minutes": number;
      readonly strategy?: { readonly matrix: { readonly include?: readonly Record<string, string>[] } };
      readonly steps: readonly { readonly uses?: string; readonly run?: string }[];
    }
  >;
}

test("there are workflows", () => {
  expect(WORKFLOWS.length).toBeGreaterThan(0);
});

describe.each(WORKFLOWS)("%s", (file) => {
  const text = readFileSync(join(ROOT, file), "utf8");
  const document = parseDocument(text);
  const workflow = document.toJS() as Workflow;
  const steps = Object.values(workflow.jobs).flatMap((job) => job.steps);

  test("names every action by its commit, with the version beside it", () => {
    const lines = text.split("\n").filter((line) => /^\s*(?:- )?uses:/.test(line));

    expect(lines).toHaveLength(steps.filter(({ uses }) => uses !== undefined).length);
    for (const line of lines) expect(line).toMatch(/uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  test("is a workflow: each step uses an action or runs commands", () => {
    expect(document.errors).toEqual([]);
    expect(document.warnings).toEqual([]);
    expect(workflow.name).not.toBe("");
    expect(Object.keys(workflow.on).length).toBeGreaterThan(0);
    expect(workflow.permissions).toEqual({ contents: "read" });
    for (const job of Object.values(workflow.jobs)) {
      expect(job["runs-on"]).toMatch(/^ubuntu-\d+\.\d+$/);
      expect(job["timeout-minutes"]).toBeGreaterThan(0);
    }
    for (const { uses, run } of steps)
      expect([uses, run].filter((word) => word !== undefined)).toHaveLength(1);
  });

  test("puts nothing from outside into a shell command", () => {
    for (const { run } of steps) expect(run ?? "").not.toMatch(/\$\{\{(?! matrix\.)/);
  });

  test("names scripts and images that exist", () => {
    for (const { run } of steps) {
      for (const [path] of (run ?? "").matchAll(/(?:\.\/bin|scripts|examples)\/[\w./-]+/g))
        expect(existsSync(join(ROOT, path)), path).toBe(true);
    }
    for (const job of Object.values(workflow.jobs)) {
      for (const { image } of job.strategy?.matrix.include ?? [])
        if (image !== undefined)
          expect(existsSync(join(ROOT, "images", image, "Dockerfile")), image).toBe(true);
    }
  });
});

test("each image has a Dockerfile of its own name and a compiler that it offers", () => {
  const folders = readdirSync(join(ROOT, "images"), { withFileTypes: true }).filter(
    (entry) => entry.isDirectory() && !["container", "kmodfarm"].includes(entry.name),
  );
  for (const { name } of folders) {
    const text = readFileSync(join(ROOT, "images", name, "Dockerfile"), "utf8");
    const [, family, version] = /ARG FAMILY=(\w+)\nARG VERSION=([\d.]+)/.exec(text) ?? [];
    expect(text).toMatch(/^# .*\nARG BASE=\S+:\S+\nFROM \$\{BASE\}\n/);
    expect(text).toContain(`${name}/*.txt`);
    expect(readFileSync(join(ROOT, "images", name, "compilers.txt"), "utf8")).toMatch(
      new RegExp(`^${family} ${version} `, "m"),
    );
    expect(readFileSync(join(ROOT, "docs/images.md"), "utf8")).toMatch(
      new RegExp(name.replace(/\d.*|sid/, "")),
    );
  }
  expect(folders.length).toBeGreaterThan(15);
});

test("the image of kmodfarm has every package that getting-started.md names, but npm and what make is for", () => {
  const text = readFileSync(join(ROOT, "images/kmodfarm/Dockerfile"), "utf8");
  const page = readFileSync(join(ROOT, "docs/getting-started.md"), "utf8");
  const [, line = ""] = /apt-get install --no-install-recommends ([\s\S]*?)\n\n/.exec(page) ?? [];
  const packages = line.split(/[\s\\]+/).filter((word) => !["", "make", "npm"].includes(word));

  const [, own = ""] =
    /FROM \$\{BASE\}\nRUN ([\s\S]*?)\nCOPY/.exec(text.split("npm stays behind.")[1] ?? "") ?? [];
  expect(own.split(/[\s\\]+/)).toEqual(expect.arrayContaining(packages));
  expect(packages).toContain("qemu-system-x86");
});

test("whatever list of packages somebody installs by, it has every program that kmodfarm starts", () => {
  const read = (file: string) => readFileSync(join(ROOT, file), "utf8");
  const [, page = ""] = /--no-install-recommends ([\s\S]*?)\n\n/.exec(read("docs/getting-started.md")) ?? [];
  const lists = {
    page: page.split(/[\s\\]+/),
    runner: PACKAGES,
    setup: [...read("scripts/setup.sh").matchAll(/^[^ :]+:([a-z0-9.+-]+)$/gm)].map(([, one]) => one),
  };
  // Debian calls these essential: they are everywhere.
  const essential = ["apt", "dpkg", "tar", "util-linux"];
  const needed = [...TOOLS.always, ...TOOLS.forDeb, ...bubblewrap.needs, ["git", "git"]]
    .map(([, name]) => name)
    .filter((name) => !essential.includes(name));

  expect(needed).toContain("mount");
  for (const [list, packages] of Object.entries(lists))
    expect(packages, list).toEqual(expect.arrayContaining(needed));
  expect(PACKAGES).toEqual(expect.arrayContaining(TOOLS.forRpm.map(([, name]) => name)));
});

describe.each(globSync("deploy/systemd/*.service", { cwd: ROOT }))("%s", (file) => {
  const lines = readFileSync(join(ROOT, file), "utf8").split("\n");
  const settings = new Map(
    lines.filter((line) => /^\w+=/.test(line)).map((line) => line.split(/=(.*)/s) as [string, string]),
  );

  test("starts a command that there is, with options that it has", () => {
    const [program = "", name, ...options] = settings.get("ExecStart")?.split(" ") ?? [];
    const started = COMMANDS.find((one) => one.name === name);

    expect(existsSync(join(ROOT, program.replace("/opt/kmodfarm/", "")))).toBe(true);
    const known = Object.keys(started?.options ?? {}).map(
      (key) => `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
    );
    expect(known).toEqual(expect.arrayContaining(options.filter((word) => word.startsWith("--"))));
  });

  test("is ended by the signal that publishes what was finished", () => {
    expect(settings.get("KillSignal")).toBe("SIGTERM");
    expect(settings.get("KillMode")).toBe("mixed");
    expect(settings.get("Delegate")).toBe("yes");
  });
});

describe("make install-node", () => {
  test.each([["dash"], ["busybox", "sh"]])(
    "gives a node a client that finds its parts: %s",
    async (...shell) => {
      const image = await temporaryDirectory();
      execFileSync("make", ["--silent", "install-node", `DESTDIR=${image}`], { cwd: ROOT });
      const [program = "", ...words] = shell;

      const help = execFileSync(program, [...words, join(image, "usr/local/bin/kmodfarm-fetch"), "--help"]);

      expect(help.toString()).toMatch(/^usage: kmodfarm-fetch DRIVER/);
      const files = readdirSync(join(image, "usr/local/lib/kmodfarm"));
      expect(files.toSorted()).toEqual(
        readdirSync(join(ROOT, "deploy/node"))
          .filter((name) => /^kmodfarm-(fetch|.*\.(sh|awk))$/.test(name))
          .toSorted(),
      );
    },
  );
});
