/**
 * A driver's modules in the kernel, for `--load`. What the kernel does not take brings back what it took before, on disk
 * too, and is not tried again before the next boot.
 */
import { lastLines, type RunResult, run } from "../base/run.ts";
import { exists } from "../base/scratch.ts";
import { type Answer, answer } from "./answers.ts";
import type { ModuleSet, Place, SetFacts, Slot } from "./place.ts";
import { readIfThere } from "./state.ts";

const CAP_SYS_MODULE = 16n;

export class Loader {
  readonly #place: Place;
  readonly #host: string;
  /** Whether a set may be used on this kernel at all. */
  readonly #isGood: (set: SetFacts) => boolean;

  constructor(place: Place, host: string, isGood: (set: SetFacts) => boolean) {
    this.#place = place;
    this.#host = host;
    this.#isGood = isGood;
  }

  /** The slot for the next set: what never loaded makes room before what did. */
  async nextSlot(): Promise<Slot> {
    const place = this.#place;
    const { current, other } = await place.slots();
    if (current === undefined || (await place.markOf(".loaded")) !== undefined) return other;
    const [facts, loaded] = [await place.facts(other), await place.markOf(".loaded", other)];
    if (loaded === undefined || facts === undefined || !this.#isGood(facts)) return other;
    await place.show(other);
    return current;
  }

  /** Why a new set need not even be fetched, if so. */
  async refusal(set: ModuleSet, slot: Slot): Promise<Answer | undefined> {
    const cannot = await this.#whyNoInsertion();
    if (cannot !== undefined) return cannot;
    const failed = await this.#place.markOf(".failed", slot);
    if (failed === undefined || failed !== (await this.#bootId()) || !(await this.#place.isOf(set, slot)))
      return undefined;
    const stays = (await this.#place.slots()).current !== undefined;
    const stuck = stays ? await this.load("what was loaded before") : undefined;
    if (stuck !== undefined) return stuck;
    return answer("cannotLoad", `version ${set.version} did not load; it is tried again after the next boot`);
  }

  /** Nothing of the driver stays in the kernel, or all of it does. */
  async makeRoom(): Promise<Answer | undefined> {
    for (const slot of ["0", "1"] as const)
      for (const name of namesOf(await this.#place.facts(slot)).toReversed()) {
        if (!(await this.#hasModule(name)) || (await run(["rmmod", name])).exitCode === 0) continue;
        await this.#insert();
        return answer(
          "cannotLoad",
          `${name} cannot be replaced while it is in use: stop what uses it, or boot again`,
        );
      }
    return undefined;
  }

  /** Loads what is in place; `what` names it. Undefined once the kernel has it. */
  async load(what: string): Promise<Answer | undefined> {
    if (await this.#isLoaded()) return undefined;
    const cannot = (await this.#whyNoInsertion()) ?? (await this.makeRoom());
    if (cannot !== undefined) return cannot;
    const fault = await this.#insert();
    if (fault === undefined) {
      await this.#place.setMark(".loaded", await this.#bootId());
      return undefined;
    }
    return this.#goBack(`${what} does not load: ${fault}`);
  }

  async #goBack(refused: string): Promise<Answer> {
    const place = this.#place;
    const stuck = await this.makeRoom();
    if (stuck !== undefined) return stuck;
    await place.setMark(".failed", await this.#bootId());
    const { other } = await place.slots();
    const [facts, loaded] = [await place.facts(other), await place.markOf(".loaded", other)];
    const isGood = loaded !== undefined && facts !== undefined && this.#isGood(facts);
    if (!isGood || !(await place.isWhole(other))) {
      await place.remove();
      return answer("cannotLoad", refused);
    }
    await place.show(other);
    const fault = await this.#insert();
    if (fault === undefined) await place.setMark(".loaded", await this.#bootId());
    const state = fault === undefined ? ", and loaded" : `, and does not load any more: ${fault}`;
    return answer("cannotLoad", `${refused}; what was loaded before is in place again${state}`);
  }

  /** Each module after what it needs of the kernel's own, with the parameters of modprobe.d. Answers what went wrong. */
  async #insert(): Promise<string | undefined> {
    const files = (await this.#place.facts())?.files ?? [];
    for (const file of files) {
      const name = nameOf(file);
      if (await this.#hasModule(name)) continue;
      const path = `${this.#place.link}/${file}`;
      const { stdout: depends } = await run(["modinfo", "-F", "depends", path]);
      for (const need of depends.trim().split(",").filter(Boolean)) {
        if (await this.#isThere(`sys/module/${need}`)) continue;
        const brought = await run(["modprobe", ...this.#at("-d", ""), need]);
        if (brought.exitCode !== 0) return this.#reason(brought);
      }
      const inserted = await run(["insmod", path, ...(await this.#parametersOf(name))]);
      if (inserted.exitCode !== 0) return this.#reason(inserted);
    }
    return undefined;
  }

  async #parametersOf(name: string): Promise<string[]> {
    const { stdout } = await run(["modprobe", ...this.#at("-C", "/etc/modprobe.d"), "-c"]);
    const prefix = `options ${name} `;
    const lines = stdout.split("\n").filter((line) => line.startsWith(prefix));
    return lines.flatMap((line) => line.slice(prefix.length).split(/\s+/)).filter(Boolean);
  }

  #at(option: string, path: string): string[] {
    return this.#host === "" ? [] : [option, `${this.#host}${path}`];
  }

  async #reason({ stderr }: RunResult): Promise<string> {
    const said = lastLines(stderr, 1);
    if (said.includes("Operation not permitted") && (await this.#isThere("proc/sys/kernel/loadpin/enforce")))
      return `${said} (LoadPin takes modules of one file system only)`;
    return said.includes("Permission denied") ? `${said} (IMA has a policy against it)` : said;
  }

  async #whyNoInsertion(): Promise<Answer | undefined> {
    const disabled = await this.#text("proc/sys/kernel/modules_disabled");
    if (disabled.trim() === "1")
      return answer("cannotLoad", "this kernel takes no modules until the next boot (modules_disabled)");
    const status = (await readIfThere("/proc/self/status"))?.toString("latin1") ?? "";
    const [, capabilities = "0"] = /^CapEff:\s*([0-9a-f]+)$/m.exec(status) ?? [];
    if ((BigInt(`0x${capabilities}`) >> CAP_SYS_MODULE) & 1n) return undefined;
    return answer("cannotLoad", "this process may not insert modules: it has no CAP_SYS_MODULE");
  }

  async #isLoaded(): Promise<boolean> {
    const [loaded, boot] = [await this.#place.markOf(".loaded"), await this.#bootId()];
    if (loaded === undefined || loaded === "" || loaded !== boot) return false;
    for (const name of namesOf(await this.#place.facts())) if (!(await this.#hasModule(name))) return false;
    return true;
  }

  /** What is built into the kernel has no such file. */
  #hasModule(name: string): Promise<boolean> {
    return this.#isThere(`sys/module/${name}/initstate`);
  }

  async #bootId(): Promise<string> {
    return (await this.#text("proc/sys/kernel/random/boot_id")).trim();
  }

  #isThere(path: string): Promise<boolean> {
    return exists(`${this.#host}/${path}`);
  }

  async #text(path: string): Promise<string> {
    return (await readIfThere(`${this.#host}/${path}`))?.toString("latin1") ?? "";
  }
}

function namesOf(facts: SetFacts | undefined): string[] {
  return (facts?.files ?? []).map(nameOf);
}

/** As the kernel calls it. */
function nameOf(file: string): string {
  return file.replace(/\.ko$/, "").replaceAll("-", "_");
}
