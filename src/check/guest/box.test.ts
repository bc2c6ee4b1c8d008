import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { run } from "../../base/run.ts";
import { boxed } from "./box.ts";

const LIMIT = 64 * 1024;

describe("the box of a guest", () => {
  let console = "";
  let image = "";
  const inside = async (script: string) => {
    const argv = await boxed(["/bin/bash", "-c", script], {
      readable: [[image, "/vmlinuz"]],
      writable: [[console, "/console"]],
      devices: [],
      fileLimitBytes: LIMIT,
    });
    return run(argv, { timeoutMs: 60_000 });
  };
  beforeEach(async () => {
    const directory = await temporaryDirectory();
    console = join(directory, "console");
    image = join(directory, "vmlinuz");
    await writeFile(console, "");
    await writeFile(image, "image", { mode: 0o644 });
  });

  test("shows its files and programs, and nothing else of this machine", async () => {
    const { stdout } = await inside(
      "cat /vmlinuz; echo; cd /; echo *; echo /etc/*; echo /tmp/* /home/* /proc/* /dev/shm/*",
    );

    const [content, root = "", etc] = stdout.split("\n");
    expect(content).toBe("image");
    expect(root.split(" ").filter((name) => !["lib", "lib64"].includes(name))).toEqual([
      ...["bin", "console", "dev", "etc", "usr", "vmlinuz"],
    ]);
    expect(etc).toBe("/etc/alternatives");
    expect(stdout).toContain("/tmp/* /home/* /proc/* /dev/shm/*");
  });

  test("lets nothing be written but its console", async () => {
    const places = ["/x", "/etc/x", "/dev/x", "/dev/shm/x", "/usr/x", "/vmlinuz", "/bin/bash"];

    const { stdout } = await inside(
      `for file in ${places.join(" ")}; do (echo x >>$file) 2>/dev/null && echo wrote $file; done; echo said >/console`,
    );

    expect(stdout).toBe("");
    expect((await stat(console)).size).toBe("said\n".length);
  });

  test("ends a program when its console is full, at that very byte", async () => {
    const { exitCode } = await inside("while :; do printf '%01000d\\n' 1; done >/console");

    expect(exitCode).not.toBe(0);
    expect((await stat(console)).size).toBe(LIMIT);
  });

  test("has no network and no capabilities", async () => {
    const { stdout, stderr } = await inside(
      "(exec 3<>/dev/tcp/127.0.0.1/1) 2>&1; chown 1 /console; mount -t tmpfs x /usr; id -u",
    );

    expect(stdout).toMatch(/(refused|unreachable)/);
    expect(stderr).toMatch(/chown: .*not permitted/);
    expect(stderr).toMatch(/mount: /);
  });

  test.runIf(process.getuid?.() === 0)("is not root's to the kernel", async () => {
    expect((await inside("id -u")).stdout).toBe("65534\n");
    expect((await stat(console)).uid).toBe(65534);
  });
});
