/** What every sandbox must do. The root it is given needs busybox and its applets in /bin, nothing more. */
import { randomInt } from "node:crypto";
import { mkdir, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { entriesOf } from "../../src/base/scratch.ts";
import type { Sandbox, SandboxSpec } from "../../src/build/sandboxes/sandbox.ts";
import { startServer } from "../support/server.ts";
import { temporaryDirectory } from "../support/temporary.ts";

/** Directories that the root must have, as toolchain roots do. */
export const ROOT_DIRECTORIES = ["bin", "dev", "etc", "proc", "run", "tmp", "usr/lib"] as const;

export function sandboxContract(sandbox: Sandbox, root: string): void {
  /** Runs a shell script with one input (`/input/file`) and one output (`/output`). */
  async function runScript(script: string, changes: Partial<SandboxSpec> = {}, signal?: AbortSignal) {
    const place = await temporaryDirectory();
    for (const name of ["input", "output"]) await mkdir(join(place, name));
    await writeFile(join(place, "input", "file"), "from outside");
    const spec: SandboxSpec = {
      root,
      inputs: [[join(place, "input"), "/input"]],
      outputs: [[join(place, "output"), "/output"]],
      links: [],
      emptyDirectories: [],
      env: { PATH: "/bin" },
      argv: ["/bin/sh", "-c", script],
      timeoutMs: 60_000,
      memoryBytes: 1 << 30,
      processLimit: 200,
      writableBytes: 64 << 20,
      outputLimitBytes: 1 << 20,
      logFile: join(place, "log"),
      ...changes,
    };
    const result = await sandbox.run(spec, signal);
    return { ...result, output: result.output.trim(), place, log: await readFile(spec.logFile, "utf8") };
  }

  describe(`${sandbox.name} as a sandbox`, () => {
    test.each([0, 1, 3, 127, 255])("keeps the exit code %i", async (exitCode) => {
      const result = await runScript(`exit ${exitCode}`);

      expect([result.exitCode, result.stopped]).toEqual([exitCode, undefined]);
    });

    test("says what the program says, on both streams, and in the log", async () => {
      const { output, log } = await runScript("echo out; echo err >&2");

      expect(output.split(/\n+/).toSorted()).toEqual(["err", "out"]);
      expect(log.split("\n").toSorted()).toEqual(["", "err", "out"]);
    });

    test("lets the program read its inputs and write its outputs, which is where it starts", async () => {
      const { place, exitCode } = await runScript("pwd >where; cat /input/file >/output/copy; mkdir -p a/b");

      expect(exitCode).toBe(0);
      expect(await readFile(join(place, "output", "where"), "utf8")).toBe("/output\n");
      expect(await readFile(join(place, "output", "copy"), "utf8")).toBe("from outside");
      expect(await readdir(join(place, "output", "a"))).toEqual(["b"]);
    });

    test.each([
      "/bin/x",
      "/etc/x",
      "/x",
      "/usr/lib/x",
      "/input/x",
      "/input/file",
      "/proc/sys/kernel/domainname",
    ])("lets nobody write to %s", async (path) => {
      const before = await tree(root);

      const { output, exitCode, place } = await runScript(`echo bad >${path}`);

      expect(exitCode).not.toBe(0);
      expect(output).toMatch(/read-only|denied|nonexistent|No such file/i);
      expect(await tree(root)).toEqual(before);
      expect(await readFile(join(place, "input", "file"), "utf8")).toBe("from outside");
    });

    test("has no network, not even this machine's own", async () => {
      const { url, requests } = await startServer((_, response) => response.end("reached"));
      const { hostname, port } = new URL(url);

      const { output } = await runScript(
        `readlink /proc/self/ns/net; tail -n +3 /proc/net/dev | cut -d: -f1; tail -n +2 /proc/net/route; echo 'GET /' | nc -w 3 ${hostname} ${port}`,
      );

      const [network, ...rest] = output.split(/\s+/);
      expect(network).toMatch(/^net:\[\d+\]$/);
      expect(network).not.toBe(await readlink("/proc/self/ns/net"));
      expect(rest[0]).toBe("lo");
      expect(rest.join(" ")).not.toContain("reached");
      expect(requests).toEqual([]);
    });

    test("is nobody in particular, without any right", async () => {
      const { output } = await runScript("id -u; id -g; grep ^Cap /proc/self/status | cut -f2 | sort -u");

      const [uid, gid, ...capabilities] = output.split("\n");
      expect([Number(uid), Number(gid)].every((id) => id > 0)).toBe(true);
      expect(capabilities).toEqual(["0000000000000000"]);
    });

    test("cannot change a setting of this machine's kernel, though root may have started it", async () => {
      const { output } = await runScript(
        "find /proc/sys -type f | while read -r file; do : 2>/dev/null >>$file && echo $file; done",
      );

      expect(output).toBe("");
    });

    test("is given its environment, and nothing of ours", async () => {
      const { output } = await runScript("", { argv: ["/bin/env"], env: { A: "b c", PATH: "/bin" } });

      const given = output.split("\n").filter((line) => !line.startsWith("PWD="));
      expect(given.toSorted()).toEqual(["A=b c", "PATH=/bin"]);
    });

    test("is the same host everywhere, and sees no process but its own", async () => {
      const { output } = await runScript("hostname; ls /proc | grep -c '^[0-9]'");

      const [host, processes] = output.split("\n");
      expect(host).toBe("kmodfarm");
      expect(Number(processes)).toBeLessThan(8);
    });

    test("has empty places to write to, which are gone afterwards", async () => {
      const script = "ls -A /work /tmp; for d in /work /tmp /run; do echo x >$d/x || exit 9; done";

      const first = await runScript(script, { emptyDirectories: ["/work"] });
      const second = await runScript(script, { emptyDirectories: ["/work"] });

      expect([first.exitCode, second.exitCode]).toEqual([0, 0]);
      expect(second.output.split("\n").filter((line) => line.endsWith("x"))).toEqual([]);
      expect(await entriesOf(join(root, "tmp"))).toEqual([]);
    });

    test("finds links where they were asked for, and inputs below empty directories", async () => {
      const { output } = await runScript("cat /work/link/file", {
        emptyDirectories: ["/work"],
        links: [["/input", "/work/link"]],
      });

      expect(output).toBe("from outside");
    });

    test("ends everything when its time is over", async () => {
      const mark = `${randomInt(1e6, 1e7)}`;

      const { stopped, exitCode, output } = await runScript(
        `trap '' TERM INT; sleep ${mark} & (sleep ${mark} &) ; echo started; sleep ${mark}`,
        { timeoutMs: 2000 },
      );

      expect({ stopped, exitCode, output }).toEqual({
        stopped: "timeLimit",
        exitCode: 137,
        output: "started",
      });
      await expect.poll(() => processesWith(mark)).toEqual([]);
    });

    test("ends everything when the program ends", async () => {
      const mark = `${randomInt(1e6, 1e7)}`;

      const { exitCode } = await runScript(`sleep ${mark} >/dev/null 2>&1 &`);

      expect(exitCode).toBe(0);
      await expect.poll(() => processesWith(mark)).toEqual([]);
    });

    test("ends everything when it is told to stop", async () => {
      const mark = `${randomInt(1e6, 1e7)}`;
      const stop = new AbortController();

      const running = runScript(`sleep ${mark}`, {}, stop.signal);
      const refused = expect(running).rejects.toThrow(expect.objectContaining({ code: "INTERRUPTED" }));
      await expect.poll(() => processesWith(mark)).not.toEqual([]);
      stop.abort();

      await refused;
      await expect.poll(() => processesWith(mark)).toEqual([]);
    });

    test("ends what says more than it may, and keeps what it said until then", async () => {
      const { stopped, output, log } = await runScript("yes", { outputLimitBytes: 1000 });

      expect(stopped).toBe("outputLimit");

      expect(output.length).toBeLessThanOrEqual(1000);
      expect(log.length).toBeLessThan(1100);
      expect(log).toContain("the rest was dropped");
    });

    test("gives no more memory than it may", async () => {
      const take = "dd if=/dev/zero of=/dev/null bs=300M count=1 2>&1";

      const [enough, tooLittle] = await Promise.all([
        runScript(take, { memoryBytes: 1 << 30 }),
        runScript(take, { memoryBytes: 1 << 28 }),
      ]);

      expect(enough.exitCode).toBe(0);
      expect(tooLittle.exitCode).not.toBe(0);
      expect(tooLittle.output).toMatch(/memory/);
    });
  });
}

async function tree(directory: string): Promise<string[]> {
  return (await readdir(directory, { recursive: true })).toSorted();
}

/** Processes of this machine that have a word in their command line. */
async function processesWith(word: string): Promise<string[]> {
  const lines = await Promise.all(
    (await readdir("/proc"))
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  // The shell that runs the script has it too, as part of a longer word.
  return lines.filter((line) => line.split("\0").includes(word));
}
