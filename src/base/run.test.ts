import { randomInt } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { isRunning, killNow, processesWith, startChild } from "../../test/support/children.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { lastLines, pipeThrough, run } from "./run.ts";

const sh = (script: string) => ["sh", "-c", script];

describe("run", () => {
  test("returns what a program says on both streams", async () => {
    const result = await run(sh("echo out; echo err >&2"));

    expect(result).toEqual({
      stdout: "out\n",
      stderr: "err\n",
      exitCode: 0,
      timedOut: false,
      truncated: false,
    });
  });

  test.each([
    ["exit 1", 1],
    ["exit 42", 42],
    ["exit 126", 126],
    ["exit 127", 127],
    ["kill -TERM $$", 143],
    ["kill -KILL $$", 137],
    ["kill -SEGV $$", 139],
  ])("keeps the exit code of '%s'", async (script, exitCode) => {
    expect((await run(sh(script))).exitCode).toBe(exitCode);
  });

  test("hands over arguments as they are", async () => {
    const argument = "a b'c\"$(id)`id`\n*";

    expect((await run(["printf", "%s", argument])).stdout).toBe(argument);
  });

  test("gives the program nothing of our environment but the way to programs", async () => {
    const { stdout } = await run(["env"]);

    const names = stdout.split("\n").map((line) => line.replace(/=.*/, ""));
    expect(names.filter((name) => name !== "").toSorted()).toEqual(["HOME", "LC_ALL", "PATH", "TZ"]);
    expect((await run(["/usr/bin/env"], { env: { A: "1" } })).stdout).toBe("A=1\n");
  });

  test.each([
    ["a string", "in"],
    ["bytes", Buffer.from("in")],
    ["a stream", Readable.from(["i", "n"])],
  ])("feeds %s", async (_, input) => {
    expect((await run(["cat"], { input })).stdout).toBe("in");
  });

  test("does not mind a program that leaves its input unread", async () => {
    const result = await run(["true"], { input: Buffer.alloc(1 << 22) });

    expect(result.exitCode).toBe(0);
  });

  test("says when there is no such program", async () => {
    await expect(run(["kmodfarm-no-such-program"])).rejects.toThrow(
      expect.objectContaining({ code: "TOOL_MISSING", message: expect.stringContaining("no-such-program") }),
    );
  });

  test("ends a program whose time is over, with every process it started", async () => {
    const directory = await temporaryDirectory();
    const script = `
      (trap '' TERM INT HUP; sh -c 'echo $$ >${directory}/grandchild; exec sleep 300' & wait) &
      echo $! >${directory}/child
      while [ ! -s ${directory}/grandchild ]; do :; done
      echo started
      wait`;

    const result = await run(sh(script), { timeoutMs: 2500 });

    const pids = await Promise.all(
      ["child", "grandchild"].map(async (name) => Number(await readFile(join(directory, name), "utf8"))),
    );
    expect(result).toMatchObject({ timedOut: true, exitCode: 137, stdout: "started\n" });
    await expect.poll(() => pids.map(isRunning)).toEqual([false, false]);
  });

  test("ends what a program left running behind it", async () => {
    const { stdout } = await run(sh("sleep 300 >/dev/null 2>&1 & echo $!"));

    await expect.poll(() => isRunning(Number(stdout))).toBe(false);
  });

  test("does not wait for what holds the pipes of a program that ended", async () => {
    const result = await run(["sh", "-c", "sleep 1000 & echo done; exit 3"], { timeoutMs: 60_000 });
    expect(result).toMatchObject({ stdout: "done\n", exitCode: 3, timedOut: false });
  });

  test("ends the program when we are killed", async () => {
    const module = `
      import { run } from ${JSON.stringify(new URL("run.ts", import.meta.url).href)};
      void run(["sh", "-c", "echo $$ >" + process.argv[1] + "; exec sleep 300"]);
      setInterval(() => console.log("waiting"), 20);`;
    const file = join(await temporaryDirectory(), "pid");
    await writeFile(file, "");
    const { child } = await startChild(module, [file]);
    await expect.poll(() => readFile(file, "utf8")).toMatch(/^\d+\n$/);
    const pid = Number(await readFile(file, "utf8"));
    const before = isRunning(pid);

    await killNow(child);

    expect(before).toBe(true);
    await expect.poll(() => isRunning(pid)).toBe(false);
  });

  test("ends what escapes from the process group with the process namespace that contains it", async () => {
    const mark = `${randomInt(1e6, 1e7)}`;

    const result = await run(sh(`setsid sleep ${mark} >/dev/null 2>&1 & exec sleep ${mark}`), {
      contained: true,
      timeoutMs: 1000,
    });

    expect(result.timedOut).toBe(true);
    expect(await processesWith(mark)).toEqual([]);
  });

  test("shows a program in a namespace itself in /proc if it looks there", async () => {
    const looks = sh('read -r pid _ </proc/self/stat; [ "$pid" = $$ ]');

    expect(await run(looks, { contained: "withProc" })).toMatchObject({ exitCode: 0 });
  });

  // As in a container: whoever is not root may make no other /proc there, and docker needs none.
  test.skipIf(process.getuid?.() !== 0)(
    "contains a user's program where parts of /proc are hidden",
    async () => {
      const script = `import { run } from ${JSON.stringify(join(import.meta.dirname, "run.ts"))};
      for (const contained of [true, "withProc"]) console.log((await run(["true"], { contained })).exitCode);`;
      const user = "setpriv --reuid=65534 --regid=65534 --clear-groups --";
      const hide = `mount --bind /dev/null /proc/timer_list && exec ${user} "$@"`;
      const node = [process.execPath, "--input-type=module", "--eval", script];

      const { stdout, stderr } = await run(["unshare", "--mount", ...sh(hide), "sh", ...node]);

      expect(stdout, stderr).toBe("0\n1\n");
    },
  );

  test("stops when it is told to", async () => {
    const stop = new AbortController();
    const file = join(await temporaryDirectory(), "pid");

    const running = run(sh(`echo $$ >${file}; exec sleep 300`), {}, stop.signal);
    const refused = expect(running).rejects.toThrow(expect.objectContaining({ code: "INTERRUPTED" }));
    await expect.poll(() => readFile(file, "utf8").catch(() => "")).toMatch(/^\d+\n$/);
    stop.abort();
    await refused;

    await expect.poll(async () => isRunning(Number(await readFile(file, "utf8")))).toBe(false);
    await expect(run(["true"], {}, stop.signal)).rejects.toThrow(
      expect.objectContaining({ code: "INTERRUPTED" }),
    );
  });

  test("keeps no more output than it may", async () => {
    const result = await run(sh("head -c 100000 /dev/zero | tr '\\0' x; exit 3"), { outputLimitBytes: 1000 });

    expect(result).toMatchObject({ stdout: "x".repeat(1000), truncated: true, exitCode: 3 });
  });

  test("does not call output truncated that just fits", async () => {
    const result = await run(["printf", "12345"], { outputLimitBytes: 5 });

    expect(result).toMatchObject({ stdout: "12345", truncated: false });
  });

  test("writes both streams to the log, after what is there, and says when it stopped", async () => {
    const logFile = join(await temporaryDirectory(), "build.log");

    await run(sh("echo out; echo err >&2"), { logFile });
    await run(["printf", "123456789"], { logFile, outputLimitBytes: 4 });

    const log = await readFile(logFile, "utf8");
    expect(log.split("\n").slice(0, 2).toSorted()).toEqual(["err", "out"]);
    expect(log).toMatch(/\n1234\n\[kmodfarm: output limit reached, the rest was dropped\]\n$/);
  });
});

describe("pipeThrough", () => {
  test("lets bytes through a filter", async () => {
    const filter = pipeThrough(["tr", "a-z", "A-Z"]);

    filter.stdin.end("abc");
    const [output, exitCode] = await Promise.all([text(filter.stdout), filter.exit]);

    expect([output, exitCode]).toEqual(["ABC", 0]);
  });

  test("tells of failure by the exit code", async () => {
    const filter = pipeThrough(["xz", "-dc"]);

    filter.stdin.end("not xz");
    const [output, exitCode] = await Promise.all([text(filter.stdout), filter.exit]);

    expect([output, exitCode]).toEqual(["", 1]);
  });

  test("can be stopped", async () => {
    const filter = pipeThrough(["sleep", "300"]);

    filter.stop();

    expect(await filter.exit).toBe(137);
  });
});

describe("our own side of a program", () => {
  test("ends it where its log cannot be written, and says why", async () => {
    const started = performance.now();

    const running = run(["sh", "-c", "while echo x; do sleep 0.01; done"], { logFile: "/dev/full" });

    await expect(running).rejects.toThrow(/ENOSPC/);
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  test("ends it where its input fails half-way, and says why", async () => {
    const input = Readable.from(
      (async function* () {
        yield Buffer.from("a");
        throw new Error("the disk is gone");
      })(),
    );

    await expect(run(["cat"], { input })).rejects.toThrow("the disk is gone");
  });

  test("minds nothing when a program leaves its input unread", async () => {
    const input = Readable.from(Array.from({ length: 1000 }, () => Buffer.alloc(65_536)));

    expect(await run(["true"], { input })).toMatchObject({ exitCode: 0 });
  });
});

describe("lastLines", () => {
  test("puts the last lines that say something on one", () => {
    expect(lastLines("a\n\n  b \nc\n\n", 2)).toBe("b · c");
  });
});
