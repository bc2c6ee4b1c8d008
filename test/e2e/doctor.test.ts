/** What the doctor says of this machine, and of a configuration that nothing can be done with. */
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { cli } from "../support/e2e-farm.ts";
import { temporaryDirectory } from "../support/temporary.ts";

interface Finding {
  readonly subject: string;
  readonly state: "good" | "note" | "problem";
  readonly fact: string;
  readonly next?: string;
}

it("finds nothing wrong with a machine that is set up, and leaves nothing on it", async () => {
  const cwd = await temporaryDirectory();

  const { stdout, stderr, exitCode } = await cli(["doctor"], { cwd });

  expect(exitCode, stdout + stderr).toBe(0);
  expect(stdout).toMatch(
    /^ok +sandbox bwrap \(chosen\) +tested: it enforces network, read-only root, memory, processes, disk, descriptors, keys, namespaces, host sockets, kernel facts, shared counters, its end$/m,
  );
  expect(stdout).toMatch(/^ok +apt-get +installed \(apt\)$/m);
  expect(stdout).toMatch(/^ok +store +\S+ \(will be created\), [\d.]+ GiB free$/m);
  expect(stdout).toContain("No problems.");
  expect(await readdir(cwd)).toEqual([]);
});

it("names each problem of a configuration with its next step, and exits 3", async () => {
  const cwd = await temporaryDirectory();
  await writeFile(join(cwd, "file"), "");
  await mkdir(join(cwd, "cache"));
  const config = {
    store: "file/store",
    cache: "cache",
    sandbox: "docker",
    sources: [{ kind: "apt", releases: ["debian12"], keyring: "nobodys.gpg" }],
    select: { architectures: ["x86_64"] },
  };
  await writeFile(join(cwd, "kmodfarm.yaml"), JSON.stringify(config));

  const { stdout, exitCode } = await cli(["doctor", "--json"], { cwd });

  expect(exitCode).toBe(3);
  const { schema, findings } = JSON.parse(stdout) as { schema: string; findings: readonly Finding[] };
  expect(schema).toBe("kmodfarm.doctor/1");
  const problems = findings.filter(({ state }) => state === "problem");
  expect(problems.map(({ subject }) => subject)).toEqual(expect.arrayContaining(["store", "keyring"]));
  for (const { next } of problems) expect(next).toMatch(/\w/);
  expect(findings.find(({ subject }) => subject === "cache")).toMatchObject({ state: "good" });
  expect(findings.filter(({ subject }) => subject.startsWith("load tests"))).toHaveLength(1);
});
