/**
 * What nodes get, kept as it should be: what the store lost is written again, and what is stable has the signatures that
 * are wanted by now. What cannot be had again is damaged, and its element is made again if it is wanted.
 */
import type { Progress } from "../../base/progress.ts";
import { damageError, repairArtifacts } from "../../registry/repair.ts";
import { listAll } from "../../registry/standing.ts";
import { viewPath } from "../../registry/view-path.ts";
import { isVouched } from "../../registry/vouched.ts";
import type { Farm } from "../open.ts";
import type { ModuleSigning } from "../signing/modules.ts";
import type { Ledger } from "./ledger.ts";
import type { Problems } from "./problems.ts";
import { type ArtifactId, artifactKey } from "./report.ts";

const UNSIGNED_MODULES =
  "signatures: published modules are signed only where a key of this farm vouches for them, and the registry's root trusts none; docs/trust.md says how to publish a root";

type Lost = Awaited<ReturnType<typeof repairArtifacts>>["lost"];

export class Upkeep {
  readonly #farm: Farm;
  readonly #ledger: Ledger;
  readonly #modules: ModuleSigning;
  readonly #problems: Problems;
  readonly #progress: Progress;
  /** Artifacts with files of which the store has no good copy. */
  #damaged: ReadonlySet<string> = new Set();

  constructor(farm: Farm, ledger: Ledger, modules: ModuleSigning, problems: Problems, progress: Progress) {
    this.#farm = farm;
    this.#ledger = ledger;
    this.#modules = modules;
    this.#problems = problems;
    this.#progress = progress;
  }

  isDamaged(artifact: ArtifactId): boolean {
    return this.#damaged.has(artifactKey(artifact));
  }

  /** At the beginning of a run. */
  async look(): Promise<void> {
    await this.#problems.alone("store", async () => {
      const lost = await this.#repair();
      await this.#problems.alone("signatures", () => this.#sign(lost));
    });
  }

  /** At its end: what it did not make again is reported. */
  async lookAgain(): Promise<void> {
    if (this.#damaged.size === 0) return;
    await this.#problems.alone("store", async () => {
      for (const { listed, damage } of await this.#repair())
        this.#problems.tell(viewPath(listed.entry), damageError(this.#farm.store, damage));
    });
  }

  async #repair(): Promise<Lost> {
    const { repaired, lost } = await repairArtifacts(this.#farm.store, this.#ledger.published);
    if (repaired > 0) this.#progress.say(`store: ${repaired} damaged or missing files of artifacts restored`);
    this.#damaged = new Set(lost.map(({ listed }) => artifactKey(listed.entry)));
    return lost;
  }

  /** Gives what is stable the signatures that are wanted by now, and those that the store lost. */
  async #sign(lost: Lost): Promise<void> {
    // Who can write to the store may have published it: a module's signature would be his for good.
    const isOurs = isVouched(this.#farm.store, this.#ledger.published);
    const lostDigests = new Set(lost.flatMap(({ damage }) => damage.map(({ digest }) => digest)));
    const isLost = (digest: string) => lostDigests.has(digest);
    let count = 0;
    for (const { entry, channel } of listAll(this.#ledger.published.indices)) {
      if (channel !== "stable") continue;
      if (await this.#modules.isSigned(entry, isLost)) continue;
      if (!isOurs) {
        this.#progress.say(UNSIGNED_MODULES);
        return;
      }
      this.#ledger.recordSignatures(await this.#modules.signed(entry, isLost));
      count++;
    }
    if (count === 0) return;
    this.#progress.say(`signatures: ${count} published artifacts were signed anew`);
    if (lost.length > 0) await this.#repair();
  }
}
