import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeKernel, makePackage } from "../../test/support/kernels.ts";
import { type Digest, sha256 } from "../base/json.ts";
import {
  compilerOf,
  factsByKernel,
  factsOf,
  fetchingFacts,
  headersFacts,
  idOf,
  imageFacts,
  KernelFacts,
  type SignedFact,
  signatureFacts,
  withAllLearned,
  withLearned,
  withoutFetching,
} from "./facts.ts";
import { kernelName } from "./kernel.ts";

const KERNEL = makeKernel();
const COMPILER = { family: "gcc", version: "12.2.0", source: "config" } as const;
const [FIRST, SECOND] = ["2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"] as const;

const digest = fc.constantFrom("a", "b").map((text) => sha256(text));
const time = fc.constantFrom(FIRST, SECOND);
const optional = { requiredKeys: ["of"] as ["of"] };
const learned = fc.record(
  {
    headers: fc.record(
      {
        of: digest,
        compiler: fc.constant(COMPILER),
        release: fc.constant("6.1"),
        hasVmlinux: fc.constant(true),
      },
      optional,
    ),
    image: fc.record(
      { of: digest, version: fc.constant("#1"), certificates: fc.constant<Digest[]>([sha256("c")]) },
      optional,
    ),
    fetching: fc.record({ of: digest, notFetchableSince: time, notLoadableSince: time }, optional),
  },
  { requiredKeys: [] },
);
const facts = learned.map((some): KernelFacts => ({ ...idOf(KERNEL), ...some }));
/** Of one and the same packages, each fact with one value: what is read of the same bytes is the same. */
const agreeing = facts.map((one) => ({
  ...idOf(KERNEL),
  ...(one.headers === undefined ? {} : { headers: { ...one.headers, of: sha256("a") } }),
  ...(one.image === undefined ? {} : { image: { ...one.image, of: sha256("a") } }),
  ...(one.fetching === undefined ? {} : { fetching: { ...one.fetching, of: sha256("a") } }),
}));

describe("what is learned", () => {
  test("is learned once: the same again changes nothing, and is no other object", () => {
    fc.assert(
      fc.property(facts, facts, (before, one) => {
        const after = withLearned(before, one);

        expect(withLearned(after, one)).toBe(after);
        expect(KernelFacts.parse(after)).toEqual(after);
      }),
    );
  });

  test("comes to the same, whoever publishes first and however it is taken together", () => {
    fc.assert(
      fc.property(agreeing, agreeing, agreeing, (before, one, two) => {
        const both = withLearned(withLearned(before, one), two);

        expect(withLearned(withLearned(before, two), one)).toEqual(both);
        expect(withLearned(before, withLearned(one, two))).toEqual(both);
      }),
    );
  });

  test("of other packages takes the place of what was known", () => {
    fc.assert(
      fc.property(facts, facts, (before, one) => {
        const after = withLearned(before, one);

        for (const part of ["headers", "image", "fetching"] as const) {
          if (one[part] === undefined) expect(after[part]).toEqual(before[part]);
          else if (one[part].of !== before[part]?.of) expect(after[part]).toEqual(one[part]);
          else
            expect(Object.keys(after[part] ?? {}).toSorted()).toEqual(
              Object.keys({ ...before[part], ...one[part] }).toSorted(),
            );
        }
      }),
    );
  });

  test("lies in the order of names, and what nothing was learned of stays the same object", () => {
    const kernels = ["6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-8-amd64"].map((kversion) =>
      makeKernel({ kversion }),
    );
    const all = kernels.map((kernel) => fetchingFacts(kernel, "notFetchable", FIRST));
    const known = withAllLearned([], all);

    expect(known.map(kernelName)).toEqual(kernels.map(kernelName).toSorted());
    expect(withAllLearned(known, [])).toBe(known);
    const again = withAllLearned(known, [fetchingFacts(makeKernel(), "notLoadable", SECOND)]);
    expect(known.filter((one) => !again.includes(one))).toEqual([]);
    expect(again).toHaveLength(4);
  });
});

describe("what holds for a kernel", () => {
  const known = factsByKernel(
    withAllLearned(
      [],
      [
        headersFacts(KERNEL, { compiler: COMPILER }),
        imageFacts(KERNEL, { version: "#1 SMP" }),
        fetchingFacts(KERNEL, "notFetchable", FIRST),
        fetchingFacts(KERNEL, "notFetchable", SECOND),
        fetchingFacts(KERNEL, "notLoadable", SECOND),
      ].filter((one) => one !== undefined),
    ),
  );
  const { packages } = KERNEL;
  const held = (changes: Partial<typeof packages>) =>
    Object.keys(factsOf(known, { ...KERNEL, packages: { ...packages, ...changes } }));

  test("is all that was learned, as long as its packages stay what and where they are", () => {
    expect(factsOf(known, KERNEL)).toMatchObject({
      headers: { compiler: COMPILER },
      image: { version: "#1 SMP" },
      fetching: { notFetchableSince: FIRST, notLoadableSince: SECOND },
    });
    expect(factsOf(known, makeKernel({ kversion: "6.1.0-57-amd64" }))).toEqual({});
  });

  test("is what was read, when packages move: only fetching has a new chance", () => {
    const moved = packages.headers.map((one) => ({ ...one, path: `updates/${one.path}` }));

    expect(held({ headers: moved })).toEqual(["headers", "image"]);
    expect(held({ headers: moved.toReversed() })).toEqual(["headers", "image"]);
    expect(held({ image: packages.image.map((one) => ({ ...one, source: "other" })) })).toEqual([
      "headers",
      "image",
    ]);
  });

  test("is nothing of headers or images that are others", () => {
    const other = { sha256: "0".repeat(64) };
    const [first, tools] = packages.headers;
    if (first === undefined || tools === undefined) throw new Error("it has header packages");

    expect(held({ headers: [{ ...first, ...other }, tools] })).toEqual(["image"]);
    expect(
      held({ headers: [...packages.headers, makePackage({ name: "linux-headers-6.1.0-56-common" })] }),
    ).toEqual(["image"]);
    expect(held({ image: packages.image.map((one) => ({ ...one, ...other })) })).toEqual(["headers"]);
  });

  test("does not depend on build tools, which say nothing of their kernel", () => {
    const [headers, tools] = packages.headers;
    if (headers === undefined || tools === undefined) throw new Error("it has header packages");

    expect(held({ headers: [headers, { ...tools, sha256: "0".repeat(64) }] })).toEqual(["headers", "image"]);
  });

  test("cannot be told where packages have no digests", () => {
    const nameless = packages.headers.map(({ sha256: _, ...one }) => one);
    const listed = { ...KERNEL, packages: { ...packages, headers: nameless, image: [] } };

    expect(headersFacts(listed, { compiler: COMPILER })).toBeUndefined();
    expect(headersFacts({ ...listed, packages: { ...listed.packages, headers: [] } }, {})).toBeUndefined();
    expect(imageFacts(listed, {})).toBeUndefined();
    expect(factsOf(known, listed)).toEqual({});
  });

  test("is the compiler that a source names before the one that headers name", () => {
    const { compiler, ...silent } = KERNEL;

    expect(compilerOf(known, KERNEL)).toEqual(compiler);
    expect(compilerOf(known, silent)).toEqual(COMPILER);
    expect(compilerOf(new Map(), silent)).toBeUndefined();
  });

  test("is no failed fetch any more, when those are forgotten", () => {
    const [forgotten] = withoutFetching([...known.values()]);

    expect(forgotten).not.toHaveProperty("fetching");
    expect(forgotten).toHaveProperty("headers");
    expect(withoutFetching([forgotten as KernelFacts])[0]).toBe(forgotten);
  });
});

test("what strangers' packages say is kept only as far as a reader takes it", () => {
  const long = "6".repeat(2000);
  const headers = headersFacts(KERNEL, { release: long, vermagic: "6.1 SMP ", upstream: "6.1" });
  const image = imageFacts(KERNEL, {
    version: long,
    certificates: Array.from({ length: 500 }, (_, index) => sha256(String(index))),
  });

  expect(headers?.headers).toEqual({ of: headers?.headers?.of, vermagic: "6.1 SMP " });
  expect(image?.image).toEqual({ of: image?.image?.of });
  for (const one of [headers, image]) expect(KernelFacts.parse(one)).toEqual(one);
});

describe("who signed the packages of a kernel", () => {
  const fact = (changes: Partial<SignedFact> = {}): SignedFact => ({
    ...{ name: "kernel-devel", version: "1", sha256: KERNEL.packages.headers[0]?.sha256 ?? "" },
    ...{ key: "A".repeat(40), header: "0".repeat(64), payload: "0".repeat(64) },
    ...changes,
  });

  test("holds as long as all of them are the same, wherever they lie", () => {
    const known = factsByKernel([signatureFacts(KERNEL, [fact()]) as KernelFacts]);
    const [image] = KERNEL.packages.image;
    const moved = {
      ...KERNEL,
      packages: { ...KERNEL.packages, image: [{ ...image, path: "elsewhere" } as typeof image & {}] },
    };
    const other = { ...KERNEL, packages: { ...KERNEL.packages, image: [makePackage({ name: "other" })] } };

    expect(factsOf(known, KERNEL).signatures?.packages).toEqual([fact()]);
    expect(factsOf(known, moved).signatures?.packages).toEqual([fact()]);
    expect(factsOf(known, other).signatures).toBeUndefined();
  });

  test("is nothing where nothing of it is known, and leaves out what no reader would take", () => {
    expect(signatureFacts(KERNEL, [])).toBeUndefined();
    expect(signatureFacts(KERNEL, [fact({ sha256: "f".repeat(64) })])).toBeUndefined();
    const some = signatureFacts(KERNEL, [fact(), fact({ name: "x".repeat(2000) }), fact({ key: "no key" })]);
    expect(some?.signatures?.packages).toEqual([fact()]);
    expect(KernelFacts.parse(some)).toEqual(some);
  });
});
