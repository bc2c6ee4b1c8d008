/**
 * The view for clients that others wrote: modules by the names that driverkit gives them and that falcoctl asks for. Such a
 * name says less than a kernel is, so a file is there only if every kernel that its client would ask by it for is the same
 * one; what several kernels share is listed. Clients of these names verify nothing: docs/nodes.md is the way that does.
 */
import { sha256 } from "../base/json.ts";
import { type CatalogKernel, vouchedBy } from "../catalog/catalog.ts";
import { crawlerNameOf } from "../catalog/kernel-crawler.ts";
import { architecture } from "../kernel/architecture.ts";
import type { CrawlerName } from "../kernel/distributions/distribution.ts";
import { kernelName } from "../kernel/kernel.ts";
import { isSameEverywhere } from "../kernel/node.ts";
import { isPathSegment } from "../kernel/path-segment.ts";
import { partsOfRelease } from "../kernel/release-rules.ts";
import type { IndexEntry, Published } from "./documents.ts";

export const CLIENT_VIEW = "view-falco";
/** Names that are of no file. A registry that has this list has the view. */
export const AMBIGUOUS_NAMES = `${CLIENT_VIEW}/ambiguous.txt`;

/** A file of the view: a blob under another name, or a text of its own. */
export type ClientFile =
  | { readonly kind: "module"; readonly digest: string; readonly size?: number; readonly entry: IndexEntry }
  | { readonly kind: "names"; readonly digest: string; readonly text: string };

type Content = Pick<Published, "catalog" | "indices">;

/** Every file of it by its path. Pure: one state has one view. */
export function clientFiles(state: Content): ReadonlyMap<string, ClientFile> {
  const files = new Map<string, ClientFile>();
  const ambiguous = new Map<string, string>();
  const names = new ClientNames(state.catalog);
  for (const { entry, kernel } of served(state))
    for (const { name, sharing } of names.of(kernel))
      for (const { name: module, digest, size, stripped, strippedSize } of entry.modules) {
        const folder = `${CLIENT_VIEW}/${entry.driver}/${entry.driverVersion}/${kernel.split("/")[1]}`;
        const path = `${folder}/${module}_${name}.ko`;
        if (sharing !== undefined) ambiguous.set(path, `${path} ${sharing.join(" ")}\n`);
        else if (!files.has(path)) {
          const bytes = stripped === undefined ? { digest, size } : { digest: stripped, size: strippedSize };
          files.set(path, { kind: "module", entry, digest: bytes.digest, ...sized(bytes.size) });
        }
      }
  const text = [...ambiguous.values()].toSorted().join("");
  files.set(AMBIGUOUS_NAMES, { kind: "names", digest: sha256(text), text });
  return files;
}

function sized(size: number | undefined): { readonly size?: number } {
  return size === undefined ? {} : { size };
}

/** Kernels with the artifact that is stable for them, built for them or proven to load there. */
function* served({ indices }: Content): Generator<{ readonly entry: IndexEntry; readonly kernel: string }> {
  const stable = new Map<string, IndexEntry>();
  for (const { distribution, architecture: machine, stable: entries } of indices)
    for (const entry of entries) {
      stable.set(`${distribution}/${machine}/${entry.driver}/${entry.output}`, entry);
      yield { entry, kernel: kernelName({ ...entry, distribution, architecture: machine }) };
    }
  for (const { distribution, architecture: machine, loadsOn = [] } of indices)
    for (const { artifact, ...kernel } of loadsOn) {
      const entry = stable.get(`${artifact.distribution}/${machine}/${artifact.driver}/${artifact.output}`);
      if (entry !== undefined)
        yield { entry, kernel: kernelName({ ...kernel, distribution, architecture: machine }) };
    }
}

interface ClientName {
  readonly name: string;
  /** Kernels that have it too, and are others: sorted. */
  readonly sharing?: readonly string[];
}

/** What clients call the kernels of a catalog. */
class ClientNames {
  /** Kernel → its names. */
  readonly #names = new Map<string, ClientName[]>();

  constructor({ sources, kernels }: Published["catalog"]) {
    const isVouchedFor = vouchedBy(sources);
    const named = kernels.flatMap((kernel) => namesOf(kernel).map((name) => ({ kernel, name })));
    const groups = Map.groupBy(named, ({ kernel, name }) => `${kernel.architecture}/${name}`);
    for (const group of groups.values()) {
      // What only a list claims does not make a genuine kernel ambiguous.
      const vouched = group.filter(({ kernel }) => isVouchedFor(kernel.packages.headers));
      const counting = vouched.length > 0 ? vouched : group;
      const isOne = counting.length === 1 || isSameEverywhere(counting.map(({ kernel }) => kernel));
      const sharing = isOne ? undefined : counting.map(({ kernel }) => kernelName(kernel)).toSorted();
      for (const { kernel, name } of counting) {
        const own = this.#names.get(kernelName(kernel)) ?? [];
        own.push(sharing === undefined ? { name } : { name, sharing });
        this.#names.set(kernelName(kernel), own);
      }
    }
  }

  of(kernel: string): readonly ClientName[] {
    return this.#names.get(kernel) ?? [];
  }
}

/** `TARGET_KERNELRELEASE_KERNELVERSION`, as driverkit names what it builds and as falcoctl asks, each once. */
function namesOf(kernel: CatalogKernel): string[] {
  const names = [crawlerNameOf(kernel), askedBy(kernel)].flatMap((one) => (one === undefined ? [] : [one]));
  const words = names.map(
    ({ target, kernelrelease, kernelversion }) => `${target}_${kernelrelease}_${kernelversion}`,
  );
  return [...new Set(words)].filter(isPathSegment);
}

/** What falcoctl makes of os-release and uname (pkg/driver/distro/*.go), where that is not driverkit's name. */
function askedBy(kernel: CatalogKernel): CrawlerName | undefined {
  const { kversion, packageVersion } = kernel;
  const { id } = partsOfRelease(kernel.distribution);
  const listed = crawlerNameOf(kernel);
  if (id === "debian") {
    // Of `uname -v`: what comes behind the number of the upload is lost (`~bpo12+1`, `+deb13u1`); and of `uname -r`.
    const [upload] = /^\d+\.\d+\.\d+-\d+/.exec(packageVersion) ?? [];
    const [, kind = ""] = /-(rt-|cloud-)?(?:amd64|arm64)\b/.exec(kversion) ?? [];
    if (upload === undefined) return undefined;
    const tail = `${kind}${architecture(kernel.architecture).debian}`;
    return { target: "debian", kernelrelease: `${upload}-${tail}`, kernelversion: "1" };
  }
  if (id === "ubuntu") {
    const [, flavour = "generic"] = /-([a-zA-Z]+)(?:-.*)?$/.exec(kversion) ?? [];
    return { ...listed, target: `ubuntu-${flavour}`, kernelrelease: kversion };
  }
  return id === "rhel" ? { ...listed, target: "rhel" } : undefined;
}
