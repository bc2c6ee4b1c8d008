import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { isAlive, ownerOf, processName, stateOfProcess } from "./process-name.ts";

const OWN = processName() as string;

describe("stateOfProcess", () => {
  test("knows this process, and nobody by a name that is none", () => {
    expect(stateOfProcess(OWN)).toBe("alive");
    expect(["", "x", "-1", `${process.pid}`, `${OWN}-aa`, `${OWN} `].filter(isAlive)).toEqual([]);
  });

  test("knows that a process of another start is dead", () => {
    expect(stateOfProcess(OWN.replace(/-\d+/, "-0"))).toBe("dead");
  });

  test("knows nothing of processes of another machine, container or boot, and takes none of them for dead", () => {
    expect(stateOfProcess(OWN.replace(/\..*/, ".0123456789abcdef"))).toBe("elsewhere");
    // As earlier versions named theirs.
    expect(stateOfProcess("1-1")).toBe("elsewhere");
    expect(isAlive("1-1")).toBe(true);
  });

  test.each([
    ["with its own /proc", ["--mount-proc"]],
    ["that sees the /proc of another", []],
  ])("knows nothing of a process in a process namespace %s, under one host name", (_, options) => {
    const module = pathToFileURL(join(import.meta.dirname, "process-name.ts")).href;
    const script = `
      import { hostname } from "node:os";
      import { processName, stateOfProcess } from ${JSON.stringify(module)};
      console.log(JSON.stringify([hostname(), processName(), stateOfProcess(process.argv[1])]));`;
    const argv = [
      "-Ur",
      "--pid",
      "--fork",
      ...options,
      process.execPath,
      "--input-type=module",
      "--eval",
      script,
    ];

    const said = execFileSync("unshare", [...argv, OWN], { encoding: "utf8" });
    const [host, theirs, ofOurs] = JSON.parse(said) as string[];

    expect(host).toBe(execFileSync("hostname", { encoding: "utf8" }).trim());
    expect(ofOurs).toBe("elsewhere");
    expect(stateOfProcess(theirs as string)).toBe("elsewhere");
  });
});

describe("ownerOf", () => {
  test("is what a name begins with", () => {
    expect(ownerOf(`${OWN}-aabb-0`)).toBe(OWN);
    expect(ownerOf("4711-99123-aabb-0")).toBe("4711-99123");
    expect(["passwd", "", "-1-2", "x-1"].map(ownerOf)).toEqual([undefined, undefined, undefined, undefined]);
  });
});
