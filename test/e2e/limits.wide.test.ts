/**
 * Drivers that misbehave, each in its own way, beside one that does not: each is ended, or gets nowhere, with a
 * reason that a person can act on, and the good one is published.
 */
import { once } from "node:events";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  CLOUD,
  type CliResult,
  DOORBELL,
  leftovers,
  readStable,
  type TestFarm,
  useFarms,
} from "../support/e2e-farm.ts";

const farms = useFarms();
const LIMITS = { minutes: 1, memory: "512M", processes: 200, disk: "200M", output: "1M" };

interface Failure {
  readonly code: string;
  readonly blame: string;
  readonly cause: string;
  readonly line: string;
  readonly advice: string;
}

interface Row {
  readonly driver: string;
  readonly outcome: string;
  readonly attempt: { readonly failure?: Failure; readonly logFile?: string; readonly buildMs?: number };
}

/** What each makefile does before it compiles anything, and what is told of it. */
const MISDEEDS: readonly (readonly [name: string, command: string, code: string, cause: RegExp])[] = [
  ["network", "NETWORK", "BUILD_FAILED", /tries to use the network/],
  ["outsider", "echo mine >/usr/lib/mine", "BUILD_FAILED", /writes? to|read-only/i],
  [
    "forker",
    loop(10_000, "sleep 100 &"),
    "LIMIT_EXCEEDED",
    /more processes than allowed: limits\.processes is 200/,
  ],
  [
    "talker",
    "yes | head -c 1000000000",
    "LIMIT_EXCEEDED",
    /more to its log than allowed: limits\.output is 1\.0 MiB/,
  ],
  ["filler", "cat /dev/zero >/build/full", "LIMIT_EXCEEDED", /disk than allowed: limits\.disk is 200\.0 MiB/],
  ["hoarder", "cat /dev/zero >/tmp/full", "LIMIT_EXCEEDED", /disk than allowed/],
  [
    "glutton",
    `perl -e '$$x = "x" x 2000000000; sleep 100'`,
    "LIMIT_EXCEEDED",
    /memory than allowed: limits\.memory is 512\.0 MiB/,
  ],
  ["sleeper", "trap '' TERM INT; sleep 100000", "TIMED_OUT", /longer than allowed: limits\.minutes is 1/],
];

function loop(times: number, command: string): string {
  return `i=0; while [ $$i -lt ${times} ]; do ${command} i=$$((i+1)); done; wait`;
}

describe("a farm with drivers that misbehave", () => {
  const night: { farm?: TestFarm; result?: CliResult; text?: CliResult; rows?: readonly Row[] } = {};
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    response.end("reached");
  });
  afterAll(() => void server.close());

  beforeAll(async () => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const network = `perl -MSocket -e 'socket(S, PF_INET, SOCK_STREAM, 6); connect(S, sockaddr_in(${port}, inet_aton("127.0.0.1"))) or die "Failed to connect to 127.0.0.1 port ${port}: $$!\\n"; print S "GET / HTTP/1.0\\n\\n"; print <S>'`;
    const mirror = await farms.mirror();
    const farm = await farms.farm({
      mirror,
      limits: LIMITS,
      select: { ...CLOUD, architectures: ["x86_64"] },
      drivers: [
        ...MISDEEDS.map(([name]) => ({ name, source: name, versions: ["1.0.0"], modules: [name] })),
        DOORBELL,
      ],
    });
    for (const [name, command] of MISDEEDS)
      await writeDriver(join(farm.directory, name), name, command === "NETWORK" ? network : command);
    night.farm = farm;
    night.result = await farm.cli("run", "--json");
    night.rows = JSON.parse(night.result.stdout).elements;
    night.text = await farm.cli("run");
  });

  it("ends with the exit code of failed elements", () => {
    expect(night.result?.exitCode, night.result?.stderr).toBe(1);
    expect(night.rows).toHaveLength(MISDEEDS.length + 1);
  });

  it("publishes the driver that behaves", async () => {
    expect(night.rows?.find(({ driver }) => driver === "doorbell")?.outcome).toBe("stable");
    const stable = await readStable(night.farm?.store ?? "");
    expect(stable.map(({ driver }) => driver)).toEqual(["doorbell"]);
  });

  it.each(MISDEEDS)("tells why %s was stopped", async (name, _, code, cause) => {
    const row = night.rows?.find(({ driver }) => driver === name);

    expect(row?.outcome).toBe("failed");
    expect(row?.attempt.failure).toMatchObject({ code, cause: expect.stringMatching(cause) });
    expect(row?.attempt.failure?.advice).not.toBe("");
    expect(row?.attempt.buildMs).toBeLessThan(90_000);
    const log = await stat(row?.attempt.logFile ?? "");
    expect(log.size).toBeLessThan(1.1 * 1024 ** 2);
    expect(night.text?.stdout).toContain(row?.attempt.failure?.cause);
  });

  it("lets nobody reach this machine", () => {
    expect(asked).toEqual([]);
  });

  it("leaves nothing of them behind: no process, no file, no control group", async () => {
    expect(await leftovers(night.farm as TestFarm)).toEqual([]);
    const commands = await Promise.all(
      (await readdir("/proc"))
        .filter((pid) => /^\d+$/.test(pid))
        .map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
    ).then((lines) => lines.map((line) => line.replaceAll("\0", " ")));
    expect(commands.filter((line) => /sleep 100(000)? /.test(line))).toEqual([]);
  });

  it("remembers those whose fault it was, and tries the others again", () => {
    const tried = [...(night.text?.stderr ?? "").matchAll(/^[\d:]{8} failed +(\w+) /gm)].map(
      ([, name]) => name,
    );

    expect(tried).toEqual(["sleeper"]);
    expect(night.text?.exitCode).toBe(1);
  });
});

/** A driver that would build, were it not for what its makefile does first. */
async function writeDriver(directory: string, name: string, command: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const kbuild = `obj-m := ${name}.o\n$(obj)/${name}.o: $(obj)/first\n$(obj)/first:\n\t${command}\n\ttouch $@\n`;
  await writeFile(join(directory, "Kbuild"), kbuild);
  await writeFile(
    join(directory, `${name}.c`),
    '#include <linux/module.h>\nMODULE_LICENSE("GPL");\nMODULE_DESCRIPTION("misbehaves");\n',
  );
}
