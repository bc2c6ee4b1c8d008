/** `kmodfarm fetch`: what this node gets. Its answers and exit codes are those of the client in sh (docs/nodes.md). */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { EXITS } from "../../../agent/answers.ts";
import { fetchDriver } from "../../../agent/fetch.ts";
import { FarmError, isErrno } from "../../../base/error.ts";
import { exists } from "../../../base/scratch.ts";
import { pathSegment } from "../../../kernel/path-segment.ts";
import type { OptionsOf } from "../../command.ts";
import { print, printJson } from "../../output.ts";
import type { FETCH } from "./command.ts";

type FetchOptions = OptionsOf<typeof FETCH>;

export async function fetch(driver: string, options: FetchOptions): Promise<number> {
  const { hostRoot, to, kernel, ready = false, load = false, offline, json } = options;
  if ((kernel !== undefined) !== ready)
    throw new FarmError("USAGE", { detail: "--kernel needs --ready, and --ready needs --kernel" });
  if (load && ready) throw new FarmError("USAGE", { detail: "only the kernel that runs can load: --load" });
  const host = hostRoot === undefined ? "" : resolve(hostRoot).replace(/^\/$/, "");
  const settings = `${host}/etc/kmodfarm`;
  const { word, sentence } = await fetchDriver({
    driver: pathSegment(driver, "the driver"),
    registries: offline ? [] : await registriesOf(options, settings),
    root: resolve(options.root ?? given("ROOT") ?? `${settings}/root`),
    state: resolve(options.state ?? given("STATE") ?? `${host}/var/lib/kmodfarm`),
    builders: `${settings}/builders`,
    sets: `${settings}/sets`,
    requiresLog: options.requireLog === true || (await exists(`${settings}/require-log`)),
    host,
    to: to === undefined ? undefined : resolve(to),
    kernel: kernel === undefined ? undefined : pathSegment(kernel, "--kernel"),
    load,
    patienceMs: secondsOf("TIMEOUT", 300) * 1000,
    waitMs: secondsOf("WAIT", 60) * 1000,
    now: new Date(),
  });
  if (json) await printJson({ schema: "kmodfarm.fetched/1", answer: word, sentence });
  else await print(`${word}: ${sentence}\n`);
  return EXITS[word];
}

/** A setting of the environment; an empty one is none. */
function given(name: string): string | undefined {
  return process.env[`KMODFARM_${name}`] || undefined;
}

/** @throws FarmError USAGE */
function secondsOf(name: string, otherwise: number): number {
  const text = given(name);
  if (text === undefined) return otherwise;
  if (!/^\d{1,5}$/.test(text))
    throw new FarmError("USAGE", { detail: `KMODFARM_${name} is not a number of seconds` });
  return Number(text);
}

async function registriesOf({ registry }: FetchOptions, settings: string): Promise<readonly string[]> {
  if (registry !== undefined) return registry;
  const text = given("REGISTRY") ?? (await readOrNothing(`${settings}/registries`));
  return text.split(/\s+/).filter((place) => place !== "");
}

async function readOrNothing(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (thrown) {
    if (isErrno(thrown)) return "";
    throw thrown;
  }
}
