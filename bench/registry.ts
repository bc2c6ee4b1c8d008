/** A registry with many artifacts, as nights would have made it, for the measurements of stores. */
import { sha256 } from "../src/base/json.ts";
import { CHECK_NAMES } from "../src/check/checks/index.ts";
import { DEFAULT_POLICY, policyDigest } from "../src/check/policy.ts";
import { defaultPolicy } from "../src/farm/gate/policy-file.ts";
import {
  headersFacts,
  idOf,
  type KernelFacts,
  type PackagedKernel,
  withAllLearned,
} from "../src/kernel/facts.ts";
import type { Element } from "../src/matrix/element.ts";
import type { IndexEntry } from "../src/registry/documents.ts";
import type { Outcome } from "../src/registry/publish.ts";
import { makeEntry, makeOutcome } from "../test/support/artifacts.ts";
import { makeElement } from "../test/support/elements.ts";
import { makeCatalog, makeKernel } from "../test/support/kernels.ts";

/** What a first night of so many kernels brings. */
export function firstNight(count: number, releases: number) {
  const kernels = Array.from({ length: count }, (_, index) =>
    makeKernel({
      distribution: `release${index % releases}`,
      kversion: `6.1.0-${index}-amd64`,
      packageVersion: `6.1.${index}-1`,
    }),
  );
  return {
    catalog: makeCatalog(kernels),
    facts: withAllLearned([], kernels.map(factsOn)),
    outcomes: kernels.map(({ distribution, kversion, packageVersion }, index) =>
      outcomeOf(index, { distribution, kversion, packageVersion }),
    ),
  };
}

/** All that headers can say. */
export function factsOn(kernel: PackagedKernel): KernelFacts {
  const { kversion: release } = kernel;
  const digest = sha256(release);
  const said = {
    ...{ release, buildSalt: release, vermagic: `${release} SMP preempt mod_unload modversions ` },
    ...{ configuration: digest, symvers: digest, upstream: "6.1.170", hasVmlinux: false },
    compiler: { family: "gcc", version: "12.2.0", source: "config" },
  } as const;
  return headersFacts(kernel, said) ?? idOf(kernel);
}

function outcomeOf(index: number, kernel: Partial<ReturnType<typeof makeElement>>): Outcome {
  const output = `0.1.0/${kernel.distribution}/x86_64/${kernel.kversion}_${kernel.packageVersion}`;
  const element = makeElement({ ...kernel, output });
  // Every tenth is a candidate.
  return notedOutcome(element, `built ${index}`, index % 10 !== 0);
}

export function notedOutcome(element: Element, content: string, isStable: boolean): Outcome {
  const words = CHECK_NAMES.map((name) => [name, name === "load" && !isStable ? "fail" : "pass"]);
  const entry: IndexEntry = {
    ...makeEntry(element, content),
    manifestSize: 1000,
    verdicts: Object.fromEntries(words),
    judged: { policy: policyDigest(DEFAULT_POLICY, defaultPolicy([])) },
    ...(isStable ? {} : { reasons: ["load: fail: the kernel oopsed: inserting doorbell"] }),
  };
  return makeOutcome(element, { artifact: { entry, isStable } });
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(2)} MB`;
}
