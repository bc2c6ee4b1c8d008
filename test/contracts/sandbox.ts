/** What every sandbox must do. The root it is given is `makeBusyboxRoot`'s. */
import { randomInt } from "node:crypto";
import { statSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { entriesOf } from "../../src/base/scratch.ts";
import { measureTrees } from "../../src/base/strange-tree.ts";
import { hiddenOfProc } from "../../src/builder/sandboxes/layout.ts";
import type { Sandbox } from "../../src/builder/sandboxes/sandbox.ts";
import { killNow, processesWith, startChild } from "../support/children.ts";
import { runnerIn, SOON } from "../support/in-sandbox.ts";
import { startServer } from "../support/server.ts";
import { temporaryDirectory } from "../support/temporary.ts";

/** @param options what is true of it where the suite runs */
export function sandboxContract(sandbox: Sandbox, root: string, options = { hasGroups: true }): void {
  const { specOf, runScript } = runnerIn(sandbox, () => ({ root, inputs: [] }));

  describe(`${sandbox.name} as a sandbox`, () => {
    describe("runs a program", () => {
      test.each([0, 1, 3, 125, 127, 137, 255])("and keeps its exit code %i", async (exitCode) => {
        const { place: _, log: __, ...result } = await runScript(`exit ${exitCode}`);

        expect(result).toEqual({ exitCode, stopped: undefined, output: "" });
      });

      test("that a signal ends, and says so", async () => {
        const { exitCode, stopped } = await runScript("sh -c 'kill -9 $$'; exit $?");

        expect([exitCode, stopped]).toEqual([137, undefined]);
      });

      test("and says what it says, on both streams in their order, and in the log", async () => {
        const numbers = Array.from({ length: 400 }, (_, index) => String(index));
        const { output, log } = await runScript(
          "i=0; while [ $i -lt 400 ]; do echo $i; echo $((i + 1)) >&2; i=$((i + 2)); done",
        );

        expect(output.split("\n")).toEqual(numbers);
        expect(log.split("\n")).toEqual([...numbers, ""]);
      });

      test("that reads its inputs and writes its outputs, which is where it starts", async () => {
        const { place, exitCode } = await runScript(
          "pwd >where; cat /input/file >/output/copy; mkdir -p a/b",
        );

        expect(exitCode).toBe(0);
        expect(await readFile(join(place, "output", "where"), "utf8")).toBe("/output\n");
        expect(await readFile(join(place, "output", "copy"), "utf8")).toBe("from outside");
        expect(await readdir(join(place, "output", "a"))).toEqual(["b"]);
      });

      test("in its environment, and nothing of ours", async () => {
        const { output } = await runScript("", { argv: ["/bin/env"], env: { A: "b c", PATH: "/bin" } });

        const given = output.split("\n").filter((line) => !line.startsWith("PWD="));
        expect(given.toSorted()).toEqual(["A=b c", "PATH=/bin"]);
      });

      test("on the same host everywhere, where it sees no process but its own", async () => {
        const { output } = await runScript("hostname; id -u; umask; ls /proc | grep -c '^[0-9]'");

        const [host, user, umask, processes] = output.split("\n");
        expect([host, user, umask]).toEqual(["kmodfarm", "1000", "0022"]);
        expect(Number(processes)).toBeLessThan(8);
      });

      test("as somebody else elsewhere when it is asked to", async () => {
        const { output, exitCode } = await runScript("hostname; id -u; id -g; umask; echo x >/output/x", {
          hostname: "elsewhere",
          userId: 4321,
          umask: 0o077,
        });

        expect([exitCode, output]).toEqual([0, "elsewhere\n4321\n4321\n0077"]);
      });

      test("with empty places to write to, which are gone afterwards", async () => {
        const script =
          "ls -A /work /tmp /dev/shm; for d in /work /tmp /run /dev/shm; do echo x >$d/x || exit 9; done";

        const first = await runScript(script, { emptyDirectories: ["/work"] });
        const second = await runScript(script, { emptyDirectories: ["/work"] });

        expect([first.exitCode, second.exitCode]).toEqual([0, 0]);
        expect(second.output.split("\n").filter((line) => line.endsWith("x"))).toEqual([]);
        expect(await entriesOf(join(root, "tmp"))).toEqual([]);
      });

      test("with links where they were asked for, and inputs below empty directories", async () => {
        const place = await temporaryDirectory();
        await chmod(place, 0o755);
        await writeFile(join(place, "file"), "file below");

        const { output } = await runScript("cat /work/link/file /work/deep/tree/file /run/deep/file", {
          emptyDirectories: ["/work"],
          inputs: [
            [place, "/work/deep/tree"],
            [join(place, "file"), "/run/deep/file"],
          ],
          links: [["/work/deep/tree", "/work/link"]],
        });

        expect(output).toBe("file belowfile belowfile below");
      });
    });

    test("takes no blame away from a root that lacks the program", async () => {
      const running = runScript("", { argv: ["/bin/no-such-program"] });

      await expect(running).rejects.toThrow(expect.objectContaining({ code: "TOOL_FAILED" }));
    });

    test("takes places with any name", async () => {
      const place = join(await temporaryDirectory(), 'a b,c:d=e"f#g\\h\ti');
      for (const name of ["in", "out", "scratch"]) await mkdir(join(place, name), { recursive: true });
      await writeFile(join(place, "in", "file"), "read");

      const { output, exitCode } = await runScript("cat /in/file | tee /out/file /tmp/file", {
        inputs: [[join(place, "in"), "/in"]],
        outputs: [[join(place, "out"), "/out"]],
        scratch: join(place, "scratch"),
        env: { PATH: "/bin", A: "$(id) 'b' \"c\"\n--d" },
      });

      expect([exitCode, output]).toEqual([0, "read"]);
      expect(await readFile(join(place, "out", "file"), "utf8")).toBe("read");
    });

    test.each(["A", "PATH"])("starts nothing where a word would end early, in %s", async (name) => {
      const secret = await temporaryDirectory();
      await writeFile(join(secret, "file"), "of this machine");
      const env = { PATH: "/bin", [name]: `/bin\0--bind\0${secret}\0/tmp` };

      const running = runScript("cat /tmp/file", { env });

      await expect(running).rejects.toThrow();
    });

    describe("shuts in", () => {
      test.each([
        "/bin/x",
        "/etc/x",
        "/x",
        "/usr/lib/x",
        "/dev/x",
        "/input/x",
        "/input/file",
        "/proc/sys/kernel/domainname",
      ])("what would write to %s", async (path) => {
        const before = await tree(root);

        const { output, exitCode, place } = await runScript(`echo bad >${path}`);

        expect(exitCode).not.toBe(0);
        expect(output).toMatch(/read-only|denied|nonexistent|No such file/i);
        expect(await tree(root)).toEqual(before);
        expect(await readFile(join(place, "input", "file"), "utf8")).toBe("from outside");
      });

      test("what would use the network, even this machine's own", async () => {
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

      test("somebody who is nobody in particular, without any right or a way to one", async () => {
        const { output } = await runScript(
          "id -u; id -g; busybox-suid id -u; busybox-suid grep -h ^Cap /proc/self/status | cut -f2 | sort -u; grep NoNewPrivs /proc/self/status | cut -f2",
        );

        expect(output.split("\n")).toEqual(["1000", "1000", "1000", "0000000000000000", "1"]);
      });

      test("what would change a setting of this machine's kernel, though root may have started it", async () => {
        const { output } = await runScript(
          // A redirection that is refused ends a shell: each has its own. The last file shows that they are tried.
          "find /proc /sys /output -type f ! -path '/proc/[0-9]*' 2>/dev/null >/tmp/list; echo /output/own >>/tmp/list; while read -r file; do (: >>$file) 2>/dev/null && echo $file; done </tmp/list",
        );

        expect(output).toBe("/output/own");
      });

      test("what looks for anything but the root and what it was given", async () => {
        const skip = ["/proc", "/tmp", "/run", "/dev/shm", "/dev/pts", "/sys", "/input", "/output"];
        const prune = skip.map((path) => `-path ${path} -prune`).join(" -o ");
        const script = `cut -d' ' -f5 /proc/self/mountinfo; echo; find / ${prune} -o -print`;

        const { output } = await runScript(script);

        const [mounts = "", files = ""] = output.split("\n\n");
        expect(mounts.split("\n").filter((path) => ![...skip, "/"].includes(path) && !isUsual(path))).toEqual(
          [],
        );
        const found = files.split("\n").filter((path) => !path.startsWith("/dev"));
        expect(found.toSorted()).toEqual(
          ["/", ...(await tree(root)).map((path) => `/${path}`)]
            .filter((path) => !skip.includes(path) && !path.startsWith("/dev"))
            .toSorted(),
        );
        expect(files.split("\n").filter((path) => path.startsWith("/dev/") && !isUsual(path))).toEqual([]);
      });

      test("what would take a device from everybody", async () => {
        const { output } = await runScript(
          "for d in null zero full random urandom tty; do chmod 600 /dev/$d 2>/dev/null || echo kept; done; echo x >/dev/null && head -c 3 /dev/zero | wc -c",
        );

        const modes = ["null", "zero", "full", "random", "urandom", "tty"].map(
          (name) => statSync(`/dev/${name}`).mode & 0o777,
        );
        expect(new Set(modes)).toEqual(new Set([0o666]));
        expect(output.split(/\s+/)).toEqual([...modes.map(() => "kept"), "3"]);
      });
    });

    describe("ends a program with everything it started", () => {
      /** Processes that hide from a process group and a session, and from their parents. */
      const hide = (mark: string) =>
        `trap '' TERM INT; sleep ${mark} & (sleep ${mark} &); setsid sleep ${mark} & (setsid sh -c '(sleep ${mark} &)' &)`;
      const mark = () => `${randomInt(1e6, 1e7)}`;

      test("when its time is over", async () => {
        const word = mark();

        const { stopped, exitCode, output } = await runScript(`${hide(word)}; echo started; sleep ${word}`, {
          timeoutMs: 4000,
        });

        expect({ stopped, exitCode, output }).toEqual({
          stopped: "timeLimit",
          exitCode: 137,
          output: "started",
        });
        expect(await processesWith(word)).toEqual([]);
      });

      test("when it ends itself", async () => {
        const word = mark();

        const { exitCode } = await runScript(`{ ${hide(word)}; } >/dev/null 2>&1`);

        expect(exitCode).toBe(0);
        expect(await processesWith(word)).toEqual([]);
      });

      test("when it is told to stop", async () => {
        const word = mark();
        const stop = new AbortController();

        const running = runScript(`${hide(word)}; sleep ${word}`, {}, stop.signal);
        const refused = expect(running).rejects.toThrow(expect.objectContaining({ code: "INTERRUPTED" }));
        await expect.poll(() => processesWith(word), SOON).toHaveLength(5);
        stop.abort();

        await refused;
        expect(await processesWith(word)).toEqual([]);
      });

      test("when we are killed, whose leftovers the next one removes", async () => {
        const word = mark();
        const { spec } = await specOf(`${hide(word)}; sleep ${word}`);
        const module = pathToFileURL(join(import.meta.dirname, "../../src/builder/sandboxes/index.ts")).href;
        const { child } = await startChild(
          `import { SANDBOXES } from ${JSON.stringify(module)};
           console.log("up");
           const sandbox = SANDBOXES.find(({ name }) => name === ${JSON.stringify(sandbox.name)});
           await sandbox.run(${JSON.stringify(spec)});`,
        );
        await expect.poll(() => processesWith(word), SOON).toHaveLength(5);

        await killNow(child);

        await expect.poll(() => processesWith(word)).toEqual([]);
        const next = await startChild(
          `import { SANDBOXES } from ${JSON.stringify(module)};
           const sandbox = SANDBOXES.find(({ name }) => name === ${JSON.stringify(sandbox.name)});
           const spec = ${JSON.stringify((await specOf("echo next")).spec)};
           console.log((await sandbox.run(spec)).output.trim());`,
        );
        expect(next.said).toBe("next");
        await expect.poll(() => groupsOf(child.pid as number)).toEqual([]);
      });
    });

    describe("gives no more than it may", () => {
      test("output: what was said until then is kept", async () => {
        const { stopped, output, log } = await runScript("yes | head -c 1000000000", {
          outputLimitBytes: 1000,
        });

        expect(stopped).toBe("outputLimit");
        expect(output.length).toBeLessThanOrEqual(1000);
        expect(log.length).toBeLessThan(1100);
        expect(log).toContain("the rest was dropped");
      });

      test.each([
        ["one process", "dd if=/dev/zero of=/dev/null bs=400M count=1"],
        ["many", "for i in 1 2 3 4 5 6 7 8; do dd if=/dev/zero bs=50M 2>/dev/null | sleep 9 & done; wait"],
        ["one of whose end nobody takes notice", "dd if=/dev/zero of=/dev/null bs=400M count=1; exit 0"],
      ])("memory, to %s", async (_, script) => {
        const { stopped, output } = await runScript(script);

        // Where no group counts it, a single process is refused what it asks for.
        if (options.hasGroups) expect(stopped).toBe("memoryLimit");
        else expect(stopped ?? output).toMatch(/memoryLimit|out of memory|exhausted/);
      });

      test("memory, and that much it does give", async () => {
        const { stopped, exitCode } = await runScript("dd if=/dev/zero of=/dev/null bs=180M count=1");

        expect([exitCode, stopped]).toEqual([0, undefined]);
      });

      test("processes", async () => {
        const started = performance.now();

        const { stopped } = await runScript(
          "i=0; while [ $i -lt 10000 ]; do sleep 60 & i=$((i+1)); done; wait",
        );

        expect(stopped).toBe("processLimit");
        expect(performance.now() - started).toBeLessThan(10_000);
      });

      test("processes, and that many it does give", async () => {
        const { stopped, exitCode } = await runScript(
          "i=0; while [ $i -lt 80 ]; do sleep 1 & i=$((i+1)); done; wait",
        );

        expect([exitCode, stopped]).toEqual([0, undefined]);
      });

      test.each(["/output", "/tmp", "/run", "/dev/shm", "/work"])("disk, in %s", async (directory) => {
        const { stopped, place } = await runScript(
          `i=0; while :; do dd if=/dev/zero of=${directory}/$i bs=1M count=8 2>/dev/null; i=$((i+1)); sleep 0.01; done`,
          { emptyDirectories: ["/work"] },
        );

        expect(stopped).toBe("writeLimit");
        expect(await measureTrees([place], 1e12)).toBeLessThan(1e9);
      });

      test.each([
        ["one file", "dd if=/dev/zero of=/output/x bs=1M; exit 3"],
        ["a file that is removed afterwards", "dd if=/dev/zero of=/output/x bs=1M; rm /output/x; exit 3"],
        [
          "files without a name",
          'for i in 3 4 5 6 7; do eval "exec $i>/output/x"; rm /output/x; dd if=/dev/zero bs=1M count=8 >&$i; done; sleep 20',
        ],
        ["very many empty files", "i=0; while [ $i -lt 8200 ]; do : >/output/$i; i=$((i+1)); done"],
        ["a bit of everything", "for d in output tmp run; do dd if=/dev/zero of=/$d/x bs=1M count=12; done"],
      ])("disk, to %s", async (_, script) => {
        expect((await runScript(script)).stopped).toBe("writeLimit");
      });

      test("disk, and that much it does give", async () => {
        const { stopped, exitCode } = await runScript("dd if=/dev/zero of=/output/x bs=1M count=24");

        expect([exitCode, stopped]).toEqual([0, undefined]);
      });
    });

    test("leaves nothing behind", async () => {
      const runs = await Promise.all([runScript("sleep 1"), runScript("sleep 60", { timeoutMs: 2000 })]);

      const mounts = await readFile("/proc/self/mountinfo", "utf8");
      for (const { place } of runs) expect(mounts).not.toContain(place);
      expect(await groupsOf(process.pid)).toEqual([]);
    });
  });
}

/** Mounts and devices that every sandbox has of its own, or that an engine brings. */
function isUsual(path: string): boolean {
  const devices = /^\/dev(\/(null|zero|full|u?random|tty|ptmx|console|core|fd|stdin|stdout|stderr|mqueue))?$/;
  const engine = /^\/sys\/fs\/cgroup(\/.*)?$|^\/etc\/hostname$|^\/proc\/sys/;
  return devices.test(path) || engine.test(path) || hiddenOfProc().includes(path);
}

async function tree(directory: string): Promise<string[]> {
  return (await readdir(directory, { recursive: true })).toSorted();
}

/** Control groups that a process made, anywhere. */
async function groupsOf(pid: number): Promise<string[]> {
  const names = await readdir("/sys/fs/cgroup", { recursive: true });
  return names.filter((path) => path.split("/").at(-1)?.startsWith(`kmodfarm-${pid}-`));
}
