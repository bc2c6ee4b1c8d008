/**
 * The last checkpoint of each log that was seen on this machine, for whatever reads registries next: a log that it does not
 * continue is another one.
 */
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { takeLock } from "../agent/state.ts";
import { FarmError, toFarmError } from "../base/error.ts";
import { hexOf, sha256 } from "../base/json.ts";
import { makePlace, writeWhole } from "../base/scratch.ts";
import { CHECKPOINT_LIMIT_BYTES, readCheckpoint } from "../provenance/checkpoint.ts";
import { type FoundCheckpoint, type LogReader, requireGrown } from "../provenance/shown-log.ts";
import { readNote, writeNote } from "../provenance/signed-note.ts";
import { ROOT_LIMIT_BYTES, rootPath, type Trust } from "../provenance/trust.ts";
import type { RegistryReader } from "../registry/reader.ts";
import { readNamedFile } from "./named-file.ts";

/** Whoever holds the lock only reads and writes one small file. */
const PATIENCE_MS = 30_000;

/** What names a registry that no trusted root vouches for. */
export async function firstRootOf(registry: RegistryReader, trusted: Trust | undefined): Promise<string> {
  if (trusted !== undefined) return "";
  const bytes = await registry.read(rootPath(1), ROOT_LIMIT_BYTES);
  return bytes === undefined ? "" : `\n${sha256(bytes)}`;
}

export class SeenCheckpoints {
  readonly #directory: string;
  readonly #of: string;

  /** `of` is what the registry's own word is worth: nothing where a trusted root vouches for it, else its first root. */
  constructor(given: string | undefined, of = "") {
    this.#of = of;
    const state = process.env.XDG_STATE_HOME || join(homedir(), ".local", "state");
    this.#directory = join(given === undefined ? join(state, "kmodfarm") : resolve(given), "checkpoints");
  }

  /** Undefined for a log that was never seen. @throws FarmError FILE_UNREADABLE, NOTE_MALFORMED */
  async last(origin: string): Promise<string | undefined> {
    const file = this.#fileOf(origin);
    try {
      return readNote(await readNamedFile(file, CHECKPOINT_LIMIT_BYTES), CHECKPOINT_LIMIT_BYTES, file).text;
    } catch (thrown) {
      const { cause } = toFarmError(thrown);
      if ((cause as NodeJS.ErrnoException | undefined)?.code === "ENOENT") return undefined;
      throw thrown;
    }
  }

  /**
   * Keeps what was found to continue `before`. What another run kept meanwhile must be of the same log, or longer or shorter
   * only. Returns what to say where nothing can be kept: the next time will not know of it.
   * @throws FarmError LOG_INCONSISTENT with both checkpoints; what reading the registry throws
   */
  async keep(
    registry: LogReader,
    found: FoundCheckpoint,
    before: string | undefined,
  ): Promise<string | undefined> {
    for (let last = before; ; ) {
      try {
        if (await this.mustKeep(found, last)) return undefined;
        last = await this.last(found.checkpoint.origin);
      } catch (thrown) {
        return `the log's checkpoint is not kept: ${toFarmError(thrown).message}`;
      }
      if (last === undefined) continue;
      const other = readCheckpoint(last, "the checkpoint that another run kept meanwhile");
      if (other.size <= found.checkpoint.size) await requireGrown(registry, other, found.checkpoint);
      else {
        await requireGrown(registry, found.checkpoint, other);
        return undefined;
      }
    }
  }

  /**
   * Keeps what was found to continue `before`; false if that is not the last one any more: a hostile server can hold one
   * run while another one sees the other side of a fork.
   * @throws FarmError PLACE_UNUSABLE and what writing throws
   */
  async mustKeep({ checkpoint, note }: FoundCheckpoint, before: string | undefined): Promise<boolean> {
    await makePlace(this.#directory);
    const file = this.#fileOf(checkpoint.origin);
    const lock = await takeLock(`${file}.lock`, PATIENCE_MS);
    if (lock === undefined)
      throw new FarmError("PLACE_UNUSABLE", { detail: `another program holds ${file}.lock` });
    try {
      const last = await this.last(checkpoint.origin);
      if (last !== before && last !== note.text) return false;
      await this.#write(file, writeNote(note));
      return true;
    } finally {
      lock.stdin.end();
      await lock.exit;
    }
  }

  async #write(file: string, text: string): Promise<void> {
    try {
      await writeWhole(file, text);
    } catch (cause) {
      throw new FarmError("PLACE_UNUSABLE", { detail: `${this.#directory} cannot be written to`, cause });
    }
  }

  /** Origins have slashes. Anybody may call his registry by the origin of another one. */
  #fileOf(origin: string): string {
    return join(this.#directory, hexOf(sha256(`${origin}${this.#of}`)));
  }
}
