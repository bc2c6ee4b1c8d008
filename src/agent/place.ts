/**
 * A driver's set of modules in place. A set changes as one: it is written beside the one before, and becomes the driver's by
 * one rename of a link. Its form is that of the client in sh: `.set` says what was chosen, `.sums` what the files are, and
 * `.indexed` that depmod knows them. Sets are where no depmod looks: modprobe must not find what is not in place.
 */
import {
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rmdir,
  stat,
  symlink,
  unlink,
} from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { FarmError, isErrno } from "../base/error.ts";
import { type Digest, hexOf, sha256 } from "../base/json.ts";
import { otherWriterAt, strangerAbove } from "../base/own-place.ts";
import { lastLines, run } from "../base/run.ts";
import { exists } from "../base/scratch.ts";
import { removeTree } from "../base/strange-tree.ts";
import type { NodeModule, NodeSignature } from "../provenance/node-index.ts";
import type { NodeKernel } from "./node.ts";
import { readIfThere, writeSynced, writing } from "./state.ts";

/** A module, and the signature that the node's kernel knows, if it knows one. */
export interface ChosenModule {
  readonly module: NodeModule;
  readonly signature: NodeSignature | undefined;
}

export interface ModuleSet {
  readonly kernel: NodeKernel;
  readonly version: string;
  readonly modules: readonly ChosenModule[];
}

/** What is known of a set in place. */
export interface SetFacts {
  /** As `uname -v` says it. */
  readonly build: string;
  readonly version: string;
  readonly modules: readonly Digest[];
  /** Names of their files, in their order. */
  readonly files: readonly string[];
}

/** Two sets of a driver have room: the one in place, and the one before it or after it. */
export type Slot = "0" | "1";

/** What is said of a set by a boot's id: that the kernel took it then, or that it did not. */
type Mark = ".loaded" | ".failed";

function setText({ kernel, version, modules }: ModuleSet): string {
  const lines = modules.map(({ module, signature }) => {
    const signer =
      signature === undefined ? "-" : `${signature.keyId} ${hexOf(signature.digest)} ${signature.size}`;
    return `module ${module.file} ${hexOf(module.digest)} ${module.size} ${signer}\n`;
  });
  return `kernel ${kernel.release} ${kernel.version}\nversion ${version}\n${lines.join("")}`;
}

export function factsOf({ kernel, version, modules }: ModuleSet): SetFacts {
  return {
    ...{ build: kernel.version, version },
    modules: modules.map(({ module }) => module.digest),
    files: modules.map(({ module }) => module.file),
  };
}

function readSetText(text: string): SetFacts {
  const modules = [...text.matchAll(/^module (\S+) ([0-9a-f]{64}) /gm)];
  return {
    build: /^kernel \S+ (.*)$/m.exec(text)?.[1] ?? "",
    version: /^version (.*)$/m.exec(text)?.[1] ?? "",
    modules: modules.map(([, , hex]): Digest => `sha256:${hex}`),
    files: modules.map(([, file = ""]) => file),
  };
}

/** Where the sets of a driver are. */
export class Place {
  readonly link: string;
  readonly #base: string;
  readonly #sets: string;
  readonly #host: string;
  /** The release whose modules depmod lists; undefined for a folder that is nobody's. */
  readonly #release: string | undefined;

  constructor(driver: string, host: string, release: string, to: string | undefined) {
    this.#base = to ?? `${host}/lib/modules/${release}/updates/kmodfarm`;
    this.link = join(this.#base, driver);
    this.#sets =
      to === undefined ? `${host}/lib/modules/.kmodfarm/${release}/${driver}` : `${to}/.sets/${driver}`;
    this.#host = host;
    this.#release = to === undefined ? release : undefined;
  }

  /** Where the files of a slot are, or of what is in place. */
  at(slot?: Slot): string {
    return slot === undefined ? this.link : join(this.#sets, slot);
  }

  async facts(slot?: Slot): Promise<SetFacts | undefined> {
    const text = await readIfThere(join(this.at(slot), ".set"));
    return text === undefined ? undefined : readSetText(text.toString("latin1"));
  }

  /** Whether exactly that set is in place, with every byte of it. */
  async has(set: ModuleSet): Promise<boolean> {
    return (await this.isOf(set)) && (await this.isWhole());
  }

  async isOf(set: ModuleSet, slot?: Slot): Promise<boolean> {
    return (await readIfThere(join(this.at(slot), ".set")))?.toString("latin1") === setText(set);
  }

  async isWhole(slot?: Slot): Promise<boolean> {
    const sums = await readIfThere(join(this.at(slot), ".sums"));
    if (sums === undefined) return false;
    for (const line of sums.toString("latin1").split("\n").slice(0, -1)) {
      const bytes = await readIfThere(join(this.at(slot), line.slice(66)));
      if (bytes === undefined || hexOf(sha256(bytes)) !== line.slice(0, 64)) return false;
    }
    return true;
  }

  /** A module in place, with the signature that was appended to it; empty if it cannot be read. */
  async read(file: string): Promise<Buffer> {
    return (await readIfThere(join(this.link, file))) ?? Buffer.alloc(0);
  }

  /** Lays proofs beside the modules that they are of, unless they are there. @throws FarmError PLACE_UNUSABLE */
  async keepProofs(proofs: ReadonlyMap<string, Buffer> = new Map(), slot?: Slot): Promise<void> {
    for (const [file, proof] of proofs) {
      const path = join(this.at(slot), `${file}.merkle`);
      if ((await readIfThere(path))?.equals(proof) !== true)
        await writing(this.link, () => writeSynced(path, proof));
    }
  }

  async markOf(mark: Mark, slot?: Slot): Promise<string | undefined> {
    return (await readIfThere(join(this.at(slot), mark)))?.toString("latin1").trim();
  }

  /** @throws FarmError PLACE_UNUSABLE */
  async setMark(mark: Mark, boot: string): Promise<void> {
    await writing(this.link, () => writeSynced(join(this.link, mark), `${boot}\n`));
  }

  /** @throws FarmError PLACE_UNUSABLE, TOOL_MISSING */
  async remove(): Promise<void> {
    await writing(this.link, () => unlink(this.link));
    await this.#index();
  }

  /** What a killed client did not come to. @throws FarmError PLACE_UNUSABLE, TOOL_MISSING */
  async finish(): Promise<void> {
    if ((await readIfThere(join(this.link, ".indexed"))) === undefined) await this.#index();
  }

  /**
   * What is in a folder that somebody named is this user's or root's, nobody else can write there, and nobody can put another
   * in its place: otherwise a node would load that user's modules. The paths in `made` must exist.
   * @throws FarmError PLACE_UNUSABLE
   */
  async requireOwn(made: readonly string[] = []): Promise<void> {
    if (this.#release !== undefined) return;
    const slots = [this.at("0"), this.at("1")];
    const paths = [this.#base, dirname(this.#sets), this.#sets, ...slots, this.link];
    for (const slot of slots)
      paths.push(...(await readdir(slot).catch(() => [])).map((name) => join(slot, name)));
    const own = new Set([0, process.getuid?.()]);
    const facts = [
      strangerAbove(this.#base, own),
      ...paths.map((path) => otherWriterAt(path, own, made.includes(path))),
    ];
    for (const detail of await Promise.all(facts))
      if (detail !== undefined)
        throw new FarmError("PLACE_UNUSABLE", { about: this.link, joint: ": ", detail });
  }

  /** Whether a set could be put there at all. @throws FarmError PLACE_UNUSABLE, TOOL_MISSING */
  async prepare(): Promise<void> {
    if (this.#release === undefined) return;
    await findDepmod();
    const kernel = `${this.#host}/lib/modules/${this.#release}`;
    if (!(await stat(kernel).catch(() => undefined))?.isDirectory())
      throw new FarmError("PLACE_UNUSABLE", { about: kernel, joint: " ", detail: "is not there" });
  }

  /** The slot that is in place, and the other one. @throws FarmError PLACE_UNUSABLE if what is there is no link */
  async slots(): Promise<{ readonly current: Slot | undefined; readonly other: Slot }> {
    const status = await lstat(this.link).catch(() => undefined);
    if (status === undefined) return { current: undefined, other: "0" };
    if (!status.isSymbolicLink())
      throw new FarmError("PLACE_UNUSABLE", {
        about: this.link,
        joint: " ",
        detail: "cannot be written: something else is there",
      });
    const isFirst = (await readlink(this.link)).endsWith("/0");
    return isFirst ? { current: "0", other: "1" } : { current: "1", other: "0" };
  }

  /**
   * Writes a set beside what is in place. `contentOf` gives the bytes of each file.
   * @throws FarmError PLACE_UNUSABLE; what `contentOf` throws
   */
  async stage(
    slot: Slot,
    set: ModuleSet,
    contentOf: (chosen: ChosenModule) => Promise<Buffer>,
  ): Promise<void> {
    const fresh = this.at(slot);
    await writing(this.link, async () => {
      for (const one of [this.#sets, this.#base]) await mkdir(one, { recursive: true, mode: 0o755 });
      await this.requireOwn([this.#base, this.#sets]);
      await removeTree(fresh);
      await mkdir(fresh, 0o755);
      await this.requireOwn([this.#base, this.#sets, fresh]);
    });
    const sums: string[] = [];
    for (const chosen of set.modules) {
      const bytes = await contentOf(chosen);
      await writing(fresh, () => writeSynced(join(fresh, chosen.module.file), bytes));
      sums.push(`${hexOf(sha256(bytes))}  ${chosen.module.file}\n`);
    }
    await writing(this.link, async () => {
      await writeSynced(join(fresh, ".sums"), sums.join(""));
      await writeSynced(join(fresh, ".set"), setText(set));
    });
  }

  /** Makes a slot what is in place. @throws FarmError PLACE_UNUSABLE, TOOL_MISSING */
  async show(slot: Slot): Promise<void> {
    await writing(this.link, () => this.#link(slot));
    await this.#index();
  }

  async #link(slot: Slot): Promise<void> {
    const link = join(this.#sets, "link");
    await unlink(link).catch((thrown) => {
      if (!isErrno(thrown) || thrown.code !== "ENOENT") throw thrown;
    });
    await symlink(join(relative(this.#base, this.#sets), slot), link);
    await rename(link, this.link);
    await using directory = await open(this.#base);
    await directory.sync();
  }

  async #index(): Promise<void> {
    if (this.#release !== undefined) {
      const host = this.#host === "" ? [] : ["-b", this.#host];
      const { exitCode, stderr } = await run([await findDepmod(), ...host, this.#release]);
      if (exitCode !== 0)
        throw new FarmError("PLACE_UNUSABLE", {
          detail: `depmod failed for ${this.#release}: ${lastLines(stderr, 2)}`,
        });
    }
    if ((await this.slots()).current !== undefined)
      await writing(this.link, () => writeSynced(join(this.link, ".indexed"), ""));
  }
}

/**
 * Removes the sets of kernels that are not installed any more, and the links that kept their directories, but for those of
 * `kept` releases. What cannot be removed now is removed some day.
 */
export async function forgetRemoved(host: string, kept: readonly string[]): Promise<void> {
  const all = `${host}/lib/modules`;
  for (const release of await readdir(`${all}/.kmodfarm`).catch(() => [])) {
    const modules = join(all, release);
    const isThere =
      (await exists(join(modules, "kernel"))) || (await exists(join(modules, "modules.builtin")));
    if (isThere || kept.includes(release)) continue;
    const left = [join(modules, "updates/kmodfarm"), join(all, ".kmodfarm", release)];
    for (const one of left) await removeTree(one).catch(() => {}); // The next call tries again.
    for (const one of [join(modules, "updates"), modules]) await rmdir(one).catch(() => {}); // Something of others is in it.
  }
}

const DEPMODS = ["/sbin/depmod", "/usr/sbin/depmod", "/bin/depmod", "/usr/bin/depmod"];

/** kmod's depmod follows links; busybox's does not. @throws FarmError TOOL_MISSING */
async function findDepmod(): Promise<string> {
  for (const program of DEPMODS) {
    const said = await run([program, "--version"]).catch(() => undefined);
    if (said?.stdout.includes("kmod") === true) return program;
  }
  throw new FarmError("TOOL_MISSING", { detail: "there is no depmod of kmod" });
}
