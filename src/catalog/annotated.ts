/**
 * A catalog as people and other farms read it, with what is known of each kernel beside what sources say of it. Versions
 * before kernel facts kept it so, too.
 */
import { z } from "zod";
import { defined } from "../base/defined.ts";
import {
  compilerOf,
  factsByKernel,
  factsOf,
  headersDigest,
  idOf,
  type KernelFacts,
  type KnownFacts,
  placesDigest,
  withAllLearned,
} from "../kernel/facts.ts";
import { Catalog, CatalogKernel } from "./catalog.ts";

const Time = z.iso.datetime();

export const AnnotatedKernel = CatalogKernel.extend({
  /** A package that building needs is listed, but the mirror does not have it. */
  notFetchableSince: Time.optional(),
  /** The same for the boot image, which only the load test needs. */
  notLoadableSince: Time.optional(),
});
export type AnnotatedKernel = z.infer<typeof AnnotatedKernel>;

export const AnnotatedCatalog = Catalog.extend({ kernels: z.array(AnnotatedKernel) });
type AnnotatedCatalog = z.infer<typeof AnnotatedCatalog>;

/** What sources say of kernels, and what was learned of them. */
export interface Described {
  readonly catalog: Catalog;
  readonly facts: readonly KernelFacts[];
}

/** A kernel with what is known of it. */
export function annotated(kernel: CatalogKernel, known: KnownFacts): AnnotatedKernel {
  const { notFetchableSince, notLoadableSince } = factsOf(known, kernel).fetching ?? {};
  const compiler = compilerOf(known, kernel);
  return { ...kernel, ...defined({ compiler, notFetchableSince, notLoadableSince }) };
}

/** A catalog as it is shown, and written for others. */
export function annotatedCatalog({ catalog, facts }: Described): AnnotatedCatalog {
  const known = factsByKernel(facts);
  return { ...catalog, kernels: catalog.kernels.map((kernel) => annotated(kernel, known)) };
}

/** The other way round. */
export function describedBy(document: AnnotatedCatalog): Described {
  const taken = takeFacts(document.kernels);
  return { catalog: { ...document, kernels: taken.kernels }, facts: withAllLearned([], taken.facts) };
}

/** Kernels as their sources list them, and what else their annotations say: that holds for the packages they have here. */
export function takeFacts(annotations: readonly AnnotatedKernel[]): {
  kernels: CatalogKernel[];
  facts: KernelFacts[];
} {
  const facts: KernelFacts[] = [];
  const kernels = annotations.map((annotation) => {
    const learned = factsIn(annotation);
    if (learned === undefined) return annotation;
    facts.push(learned);
    const { notFetchableSince: _, notLoadableSince: __, compiler, ...kernel } = annotation;
    return learned.headers !== undefined || compiler === undefined ? kernel : { ...kernel, compiler };
  });
  return { kernels, facts };
}

function factsIn(kernel: AnnotatedKernel): KernelFacts | undefined {
  const { compiler, packages, notFetchableSince, notLoadableSince } = kernel;
  const of = headersDigest(packages);
  // Sources only ever tell which package a compiler is of.
  const isRead = compiler?.source === "config" || compiler?.source === "header";
  const isFetched = notFetchableSince !== undefined || notLoadableSince !== undefined;
  const learned = {
    ...(isRead && of !== undefined ? { headers: { of, compiler } } : {}),
    ...(isFetched
      ? { fetching: { of: placesDigest(packages), ...defined({ notFetchableSince, notLoadableSince }) } }
      : {}),
  };
  return Object.keys(learned).length === 0 ? undefined : { ...idOf(kernel), ...learned };
}
