import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { run } from "./run.ts";
import { type Box, shutIn } from "./shut-in.ts";

/** What a shell script does in a box: its words on both streams, and its end. */
async function inBox(script: string, box: Box = {}) {
  const { stdout, stderr, exitCode } = await run(shutIn(["sh", "-c", script], box), { timeoutMs: 20_000 });
  return { said: stdout + stderr, exitCode };
}

describe("a program in a box", () => {
  test("sees the system's programs, what it is shown, and nothing else of this machine", async () => {
    const directory = await temporaryDirectory();
    writeFileSync(join(directory, "shown"), "shown");

    const { said } = await inBox("ls /; cat /given", { shows: { "/given": join(directory, "shown") } });

    expect(said.split("\n").toSorted()).toEqual(
      expect.arrayContaining(["bin", "dev", "given", "lib", "shown", "usr"]),
    );
    expect(said).not.toMatch(/^(etc|home|proc|root|run|sys|tmp|var|work)$/m);
    expect((await inBox(`cat ${directory}/shown`)).said).toMatch(/No such file/);
  });

  test("has no network, no capability and nothing of our environment", async () => {
    // Without /proc, what it may do is seen by what it can do.
    expect((await inBox("ls /sys /proc; mount -t tmpfs none /usr; chroot / true")).said).toMatch(
      /(denied|permitted|not permitted|superuser)[\s\S]*(denied|not permitted)/,
    );
    expect((await inBox("env")).said.split("\n").map((line) => line.split("=")[0])).not.toContain("HOME");
    const perl =
      "use Socket; socket(S,PF_INET,SOCK_STREAM,0); print connect(S,sockaddr_in(9,inet_aton('192.0.2.1'))) ? 'out' : $!";
    expect((await inBox(`perl -e "${perl.replaceAll("$", "\\$")}"`)).said).toBe("Network is unreachable");
  });

  test.each(["/usr/x", "/x", "/given", "/dev/shm/x", "/dev/x"])("cannot write to %s", async (place) => {
    const directory = await temporaryDirectory();
    writeFileSync(join(directory, "ours"), "ours");

    const { exitCode } = await inBox(`echo no >${place}`, { shows: { "/given": join(directory, "ours") } });

    expect(exitCode).not.toBe(0);
    expect(readFileSync(join(directory, "ours"), "utf8")).toBe("ours");
  });

  test("writes to its target and there only", async () => {
    const target = await temporaryDirectory();

    const { exitCode } = await inBox("echo yes >here; ! echo no >/usr/x", { target });

    expect(exitCode).toBe(0);
    expect(readdirSync(target)).toEqual(["here"]);
  });

  test("fills neither memory nor a disk with what is temporary there", async () => {
    const target = await temporaryDirectory();
    const fill = (place: string) => `head -c 400M /dev/zero >${place}`;

    const { said } = await inBox(`${fill("/tmp/x")}; ${fill("/dev/shm/x")}; ${fill("/dev/x")}`, { target });

    expect(said).toMatch(/No space left on device[\s\S]*Read-only file system[\s\S]*Read-only file system/);
  });

  test("ends when it wants more memory than it may have", async () => {
    const hungry = "perl -e 'print length(q(x) x (200 * 1024 * 1024))'";

    expect((await inBox(hungry)).said).toBe(String(200 * 1024 * 1024));
    expect((await inBox(hungry, { memoryBytes: 100 * 1024 * 1024 })).said).toMatch(/Out of memory/i);
  });
});

test("a program that is missing is told before anything is started", () => {
  expect(() => shutIn(["no-such-program"])).toThrow(
    expect.objectContaining({ code: "TOOL_MISSING", message: expect.stringContaining("no-such-program") }),
  );
});
