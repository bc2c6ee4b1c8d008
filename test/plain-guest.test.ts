import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { nodeScript, readAnswer } from "./support/plain-guest.ts";
import { temporaryDirectory } from "./support/temporary.ts";

const KMOD = "MODPROBE kmod version 34.2 +ZSTD +XZ\r\n";
const ROUND = ["in a 0", "in b 0", "out b 0", "out a 0"];

const consoleOf = (steps: readonly string[], head = KMOD) =>
  `${head}${steps.map((step) => `STEP ${step}\r\n`).join("")}TAINT 12288\r\n`;

describe("the plain guest that load verdicts are compared with", () => {
  it("names kmod by its path, because busybox's shell prefers a modprobe of its own", () => {
    const calls = [...nodeScript(["a-b", "c"]).matchAll(/(\S*)modprobe\b/g)].map(([call]) => call);
    expect(new Set(calls)).toEqual(new Set(["/sbin/modprobe", "$(/sbin/modprobe"]));
  });

  it.each([
    ["after them", "zulu", ["zulu 0", "middle-1 0", "alpha 0"]],
    ["not at all while another one needs it", "stranger", ["zulu 0", "alpha 1 in use", "middle-1 1 in use"]],
  ])("takes out what others of these use %s", async (_, last, said) => {
    const sys = join(await temporaryDirectory(), "module");
    for (const [name, holder] of [["alpha", "middle_1"], ["middle_1", last], [last]] as const) {
      await mkdir(join(sys, name, "holders"), { recursive: true });
      await writeFile(join(sys, name, "initstate"), "live\n");
      if (holder !== undefined) await writeFile(join(sys, name, "holders", holder), "");
    }
    const [functions = ""] = /^step\(\) \{\n.*^\}$/ms.exec(nodeScript(["alpha"])) ?? [];
    const remove = `remove() {
      [ -z "$(ls ${sys}/$1/holders)" ] || { echo in use; return 1; }
      rm -rf ${sys}/$1 ${sys}/*/holders/$1
    }`;
    const own = functions.replaceAll("/sys/module", sys).replaceAll("/sbin/modprobe -r", "remove");

    const output = execFileSync("sh", [
      "-c",
      `${remove}\n${own.replaceAll("/bin/busybox ", "")}\nout_all alpha middle-1 zulu`,
    ]);

    expect(output.toString().trimEnd().split("\n")).toEqual(said.map((step) => `STEP out ${step}`));
  });

  it("believes no other modprobe than kmod's", () => {
    const busybox = "MODPROBE BusyBox v1.37.0 multi-call binary.\r\n";
    expect(() => readAnswer(consoleOf([...ROUND, ...ROUND], busybox), 2)).toThrow(/not kmod's modprobe/);
    expect(() => readAnswer(consoleOf([...ROUND, ...ROUND], ""), 2)).toThrow(/not kmod's modprobe/);
  });

  it("wants everything in and out again, twice", () => {
    expect(readAnswer(consoleOf([...ROUND, ...ROUND]), 2).loads).toBe(true);
    expect(readAnswer(consoleOf(ROUND), 2).loads).toBe(false);
  });

  it("keeps the words of a modprobe that refuses", () => {
    const refusal = "in b 1 modprobe: ERROR: could not insert 'b': No such device";
    const { loads, steps } = readAnswer(consoleOf([...ROUND, "in a 0", refusal, "out b 0", "out a 0"]), 2);
    expect(loads).toBe(false);
    expect(steps).toContain(refusal);
  });
});
