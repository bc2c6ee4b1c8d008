/**
 * What nothing in a sandbox can reach, use up or leave behind, tried by programs that do their worst. The root is this
 * machine's own programs, because such a program needs more of a system than a shell.
 */
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, watch } from "node:fs";
import { access, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { hiddenOfProc } from "../../src/builder/sandboxes/layout.ts";
import { hostRoot } from "../../src/builder/sandboxes/prove.ts";
import type { Sandbox, SandboxSpec } from "../../src/builder/sandboxes/sandbox.ts";
import { REFUSED, SOCKET_FAMILIES } from "../../src/builder/sandboxes/system-calls.ts";
import { processesWith } from "../support/children.ts";
import { runnerIn, SOON } from "../support/in-sandbox.ts";
import { CALLS, callEach, callOf } from "../support/system-calls.ts";
import { sharedDirectory } from "../support/temporary.ts";

/** @param options what is true of the sandbox where the suite runs it */
export function sandboxEscapes(sandbox: Sandbox, options: { readonly countsMemory: boolean }): void {
  describe(`nothing in ${sandbox.name}`, () => {
    const directory = sharedDirectory();
    let root: Pick<SandboxSpec, "root" | "inputs">;
    beforeAll(async () => {
      root = await hostRoot(join(directory, "root"));
    });
    const { specOf, runScript } = runnerIn(sandbox, () => root);
    const runPerl = (script: string, changes: Partial<SandboxSpec> = {}) =>
      runScript("", { argv: ["/usr/bin/perl", "-e", `$| = 1; ${script}`], ...changes });

    describe("reaches", () => {
      test("a system call that leads out of it", async () => {
        const forbidden = await runPerl(callEach(REFUSED.EPERM, ["EPERM", "ENOSYS"]));
        const unknown = await runPerl(callEach(REFUSED.ENOSYS, ["ENOSYS"]));
        const unsupported = await runPerl(callEach(REFUSED.EOPNOTSUPP, ["EOPNOTSUPP"]));

        expect(unsupported.output).toMatch(/^tried \d+$/);
        expect(forbidden.output.split("\n").slice(1)).toEqual([]);
        expect(forbidden.output).toMatch(/^tried [1-9]\d/);
        expect(unknown.output).toMatch(/^tried \d+$/);
      });

      test("calls by the numbers of another architecture, or beyond those that are known", async () => {
        const numbers = [CALLS.getpid.x86_64 | 0x40000000, 467, 1000];
        // Engines kill who calls by another architecture's number; a failed call is answered, and both are a no.
        const script = `use Errno; for my $n (${numbers.join(", ")}) {
          if (!defined(my $pid = fork)) { print "fork: $! "; } elsif ($pid == 0) {
            POSIX::_exit(syscall($n, 0, 0, 0) == -1 && $!{ENOSYS} ? 1 : 0);
          }
          wait; print $? == 256 || ($? & 127) == 31 ? "no " : "yes ";
        }`;

        expect((await runPerl(`use POSIX (); ${script}`)).output.trim()).toBe("no no no");
      });

      test("what keeps others from opening a file that they share", async () => {
        const { output } = await runPerl(
          `use Fcntl; open(my $f, "<", "/input/file") or die; fcntl($f, F_GETFD, 0) or print "none ";
           for (1024, 1026, 1040) { print "$_ " if fcntl($f, $_, F_RDLCK) } print "tried";`,
        );

        expect(output).toBe("tried");
      });

      test("pages of pipes that others would be without", async () => {
        const { output } = await runPerl(
          `pipe(my $r, my $w) or die; print fcntl($r, 1032, 0), " ", fcntl($r, 1031, 1 << 20) // $!;`,
        );

        expect(output).toMatch(/^\d+ Operation not permitted$/);
      });

      test("another namespace", async () => {
        const { output } = await runScript(
          "for kind in user mount pid net ipc uts cgroup; do unshare --$kind true 2>/dev/null && echo $kind; done; unshare --user --map-root-user id 2>/dev/null; echo tried",
          { env: { PATH: "/usr/bin:/bin" } },
        );

        expect(output).toBe("tried");
      });

      test("sockets of families that are not its own network's", async () => {
        const { output } = await runPerl(
          "use Socket; for my $f (0..50) { print qq($f ) if socket(my $s, $f, SOCK_STREAM, 0) || socket($s, $f, SOCK_DGRAM, 0) || socket($s, $f, SOCK_RAW, 0) || socket($s, $f, SOCK_SEQPACKET, 0) }",
        );

        const families = output.split(" ").filter(Boolean).map(Number);
        const netlink = 16;
        expect(families.filter((family) => ![...SOCKET_FAMILIES, netlink].includes(family))).toEqual([]);
        expect(families).toContain(SOCKET_FAMILIES[0]);
      });

      test("what the kernel tells of the whole machine", async () => {
        const names = hiddenOfProc();
        const script = `for f in ${names.join(" ")}; do if [ -d $f ]; then ls -A $f; else head -c 100 $f; fi 2>/dev/null; done; echo tried`;

        const { output } = await runScript(script, { env: { PATH: "/usr/bin:/bin" } });

        expect(names).toContain("/proc/kallsyms");
        expect(output).toBe("tried");
      });

      test("a descriptor that whoever started the farm held open", async () => {
        const { spec } = await specOf("for fd in /proc/self/fd/*; do readlink $fd; done", {
          env: { PATH: "/usr/bin:/bin" },
        });
        const held = openSync("/etc", "r");

        const { said, output } = await runHolding(sandbox, spec, held);

        closeSync(held);
        expect(said).toContain("/etc");
        // The shell's own, while it reads the directory, is gone when it is asked for.
        expect(output).not.toContain("/etc");
        expect(
          output.split("\n").filter((line) => !/^(socket:|pipe:|\/dev\/null|\/proc\/)/.test(line)),
        ).toEqual([]);
      });

      test("the words of what started it, which name places of this machine", async () => {
        const { output, place } = await runScript(
          "tr '\\0' ' ' </proc/1/cmdline; tr '\\0' ' ' </proc/1/environ",
          {
            env: { PATH: "/usr/bin:/bin" },
          },
        );

        expect(output).not.toBe("");
        expect(output).not.toContain(place);
        expect(output).not.toContain(root.root);
      });
    });

    describe("uses up", () => {
      test("what this machine counts for each of its users", async () => {
        const { place, spec } = await specOf("", {
          argv: [
            ...["/usr/bin/perl", "-e"],
            `$| = 1; my $inotify = 0; $inotify++ while $inotify < 5000 && syscall(${callOf("inotify_init1")}, 0) >= 0;
             my ($timers, $id) = (0, "x" x 8); $timers++ while $timers < 5000 && syscall(${callOf("timer_create")}, 0, 0, $id) == 0;
             print "$inotify $timers"; open(F, ">/output/ready"); close F; sleep 3;`,
          ],
        });
        const running = sandbox.run(spec);
        await expect.poll(() => exists(join(place, "output/ready")), SOON).toBe(true);

        watch(place).close();

        const [inotify, timers] = (await running).output.trim().split(" ").map(Number);
        expect(inotify).toBe(0);
        expect(timers).toBeGreaterThan(0);
        expect(timers).toBeLessThanOrEqual(1024);
      });

      test("memory in files that have neither a name nor a place", async () => {
        const { output, stopped } = await runPerl(
          `my ($name, @files) = ("x"); my $block = "x" x (16 << 20);
           for (1..32) { my $fd = syscall(${callOf("memfd_create")}, $name, 0); if ($fd < 0) { print "refused"; exit }
             open(my $file, ">&=", $fd) or die; syswrite($file, $block) or die; push @files, $file } sleep 20;`,
        );

        expect(options.countsMemory ? stopped : output).toBe(
          options.countsMemory ? "memoryLimit" : "refused",
        );
      });

      test("memory that outlives whoever asked for it", async () => {
        const { output, stopped } = await runPerl(
          'for (1..8) { my $id = shmget(0, 64 << 20, 01600); if (!defined $id) { print "refused"; exit } my $block = "x" x (64 << 20); shmwrite($id, $block, 0, 64 << 20) or die } sleep 20;',
        );

        expect(options.countsMemory ? stopped : output).toBe(
          options.countsMemory ? "memoryLimit" : "refused",
        );
      });

      test("memory that several share", async () => {
        const { stopped } = await runPerl(
          `open(my $zero, "<", "/dev/zero"); my @children;
           for (1..6) { next if fork(); my $size = 64 << 20; my $at = syscall(${callOf("mmap")}, 0, $size, 3, 0x21, -1, 0);
             syscall(${callOf("read")}, fileno($zero), $at, $size); sleep 20; exit }
           wait for 1..6;`,
        );

        expect(stopped).toBe("memoryLimit");
      });

      test("the disk below paths that are too long for anybody to name", async () => {
        const { stopped } = await runPerl(
          `chdir "/output"; my $name = "d" x 200; for (1..30) { mkdir $name; chdir $name }
           for my $i (1..5) { open(F, ">f$i"); print F "x" x (8 << 20); close F } sleep 20;`,
        );

        expect(stopped).toBe("writeLimit");
      });

      test("the disk by files that never have a name", async () => {
        const { output } = await runPerl(
          `use Fcntl; for my $flags (O_RDWR, O_WRONLY) { print "made " if sysopen(my $file, "/output", $flags | 020200000, 0600) }
           print "has names" if sysopen(my $file, "/output/f", O_RDWR | O_CREAT, 0600);`,
        );

        expect(output).toBe("has names");
      });

      test("the disk by what is only in memory still", async () => {
        const { stopped } = await runPerl(
          `my $block = "x" x (8 << 20); for my $i (1..6) { open(my $file, "+>", "/output/f"); print $file $block; $file->flush;
             my $at = syscall(${callOf("mmap")}, 0, 4096, 1, 1, fileno($file), 0); unlink "/output/f"; close $file } sleep 20;`,
        );

        expect(stopped).toBe("writeLimit");
      });
    });

    describe("takes the blame off itself", () => {
      test.each([
        ["bwrap: execvp make: No such file or directory", 1],
        ["unshare: unshare failed: Operation not permitted", 1],
        ["sh: 1: cannot create /x: Read-only file system", 125],
        ["Error: OCI runtime error: runc create failed", 126],
        ["Error: container create failed", 125],
        ["docker: Error response from daemon", 125],
      ])("by saying '%s'", async (words, code) => {
        const { exitCode, stopped, output } = await runScript(`echo '${words}' >&2; exit ${code}`);

        expect({ exitCode, stopped, output }).toEqual({ exitCode: code, stopped: undefined, output: words });
      });
    });

    describe("is left", () => {
      /** Processes that hide from their parents, and go on writing. */
      const linger = (mark: string) =>
        `for my $i (1..20) { next if fork(); use POSIX; POSIX::setsid(); POSIX::_exit(0) if fork(); $0 = "${mark}"; close STDOUT; close STDERR; close STDIN; while (1) { open(my $f, ">", "/output/t$i"); print $f rand(); close $f; rename "/output/t$i", "/output/x" } } select(undef, undef, undef, 0.3);`;

      test.each([
        ["it ends", "POSIX::_exit(0);", {}, undefined],
        ["its time is over", "sleep 60;", { timeoutMs: 3000 }, "timeLimit"],
        ["it says too much", "print 'x' x 100000 while 1;", { outputLimitBytes: 1000 }, "outputLimit"],
      ] as const)("when %s: what it wrote stays as it is", async (_, end, changes, expected) => {
        const word = `mark${randomInt(1e6, 1e7)}`;

        const { stopped, place } = await runPerl(`${linger(word)} ${end}`, changes);

        const first = await readFile(join(place, "output/x"), "utf8");
        expect(await processesWith(word)).toEqual([]);
        expect(stopped).toBe(expected);
        await new Promise((resolve) => setTimeout(resolve, 100));
        expect(await readFile(join(place, "output/x"), "utf8")).toBe(first);
      });

      test("when somebody else kills what watches over it", async () => {
        const word = `mark${randomInt(1e6, 1e7)}`;
        const { place, spec } = await specOf("", {
          argv: ["/usr/bin/perl", "-e", `${linger(word)} open(F, ">/output/ready"); close F; sleep 60`, word],
        });
        const running = sandbox.run(spec);
        const refused = expect(running).rejects.toThrow(expect.objectContaining({ code: "TOOL_FAILED" }));
        await expect.poll(() => exists(join(place, "output/ready")), SOON).toBe(true);

        for (const pid of await watchersOf(word, place)) process.kill(pid, "SIGKILL");

        await refused;
        expect(await processesWith(word)).toEqual([]);
      });
    });
  });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** `unshare`, which waits for the namespace: it is ours, and has the program's words in its own. */
async function watchersOf(word: string, place: string): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  return pids.filter((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return words[0] === "unshare" && (words.includes(word) || words.join(" ").includes(place));
    } catch {
      return false;
    }
  });
}

/** Runs it in another Node.js that was given a descriptor beyond those that it closes by itself. */
async function runHolding(sandbox: Sandbox, spec: SandboxSpec, held: number) {
  const module = pathToFileURL(join(import.meta.dirname, "../../src/builder/sandboxes/index.ts")).href;
  const script = `
    import { readlinkSync } from "node:fs";
    import { sandboxOf } from ${JSON.stringify(module)};
    const said = readlinkSync("/proc/self/fd/63");
    const { output } = await sandboxOf(${JSON.stringify(sandbox.name)}).run(${JSON.stringify(spec)});
    console.log(JSON.stringify({ said, output: output.trim() }));`;
  const stdio = [
    "ignore",
    "pipe",
    "inherit",
    ...Array.from({ length: 60 }, () => "ignore" as const),
    held,
  ] as const;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], { stdio: [...stdio] });
  const [answer] = await Promise.all([
    text(child.stdout as NonNullable<typeof child.stdout>),
    once(child, "exit"),
  ]);
  return JSON.parse(answer) as { said: string; output: string };
}
