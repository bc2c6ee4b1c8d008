/** Every field of a statement, its envelope, its bundle and of what counts by policy makes a difference. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  BUILDER,
  IDENTITY,
  MODULES,
  makeBuild,
  makeSigner,
  makeStatement,
} from "../../test/support/statements.ts";
import type { TrustedBuilder } from "./builder.ts";
import { judgeBundle, type KnownBuild, statedSource } from "./judge.ts";
import type { Statement } from "./statement.ts";

const signer = makeSigner();
const BUILDERS: readonly TrustedBuilder[] = [{ id: BUILDER, key: signer.key }];
const BUILD: KnownBuild = { identity: IDENTITY, modules: MODULES, materials: makeBuild() };
const STATEMENT = makeStatement();
const BUNDLE = signer.sign(STATEMENT);

function judged(bundle: string | object, build = BUILD, builders = BUILDERS): string {
  const text = typeof bundle === "string" ? bundle : JSON.stringify(bundle);
  const found = judgeBundle(Buffer.from(text), build, builders);
  return found.kind === "good" ? "good" : found.because.code;
}

type Path = readonly (string | number)[];

/** The places of all texts and numbers of a document, and of all its objects and lists. */
function placesIn(value: unknown, path: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [path];
  return [
    path,
    ...Object.entries(value).flatMap(([key, one]) =>
      placesIn(one, [...path, Array.isArray(value) ? Number(key) : key]),
    ),
  ];
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce((place, step) => (place as Record<string | number, unknown>)[step], value);
}

function withValue<T>(document: T, path: Path, value: unknown): T {
  const copy = structuredClone({ root: document }) as { root: T };
  const whole = ["root", ...path];
  const parent = valueAt(copy, whole.slice(0, -1)) as Record<string | number, unknown>;
  const last = whole.at(-1) as string;
  if (value !== undefined) parent[last] = value;
  else if (Array.isArray(parent)) parent.splice(Number(last), 1);
  else delete parent[last];
  return copy.root;
}

/** The same kind of value, and another one: it would still be read. */
function otherThan(value: unknown): unknown {
  if (typeof value === "number") return value + 1;
  if (typeof value !== "string") return undefined;
  if (value === "x86_64") return "aarch64";
  const last = value.at(-1) ?? "";
  return `${value.slice(0, -1)}${last === "1" ? "2" : "1"}`;
}

/** What of a statement nobody compares: how its log is to be shown. */
const UNCOMPARED = "predicate.runDetails.byproducts.0.mediaType";

describe("a statement that its own builder signed", () => {
  test("is believed as it is", () => {
    expect(judged(BUNDLE)).toBe("good");
    expect(statedSource(Buffer.from(BUNDLE), BUILDERS)).toBe(IDENTITY.driver.source);
  });

  test("is refused with any field otherwise", () => {
    const places = placesIn(STATEMENT).filter(
      (path) => typeof valueAt(STATEMENT, path) === "string" && path.join(".") !== UNCOMPARED,
    );

    expect(places.length).toBeGreaterThan(35);
    for (const path of places) {
      const value = String(valueAt(STATEMENT, path));
      // What qualifies a purl says where the package can be had; name and version say which it is.
      const other = value.startsWith("pkg:") ? value.replace("?", "1?") : otherThan(value);
      const changed = withValue(STATEMENT, path, other);
      expect(judged(signer.sign(JSON.stringify(changed))), path.join(".")).not.toBe("good");
    }
  });

  test("is refused without any field that is compared, and with any beside", () => {
    for (const path of placesIn(STATEMENT)) {
      const place = path.join(".");
      if (path.length > 0 && place !== UNCOMPARED)
        expect(judged(signer.sign(JSON.stringify(withValue(STATEMENT, path, undefined)))), place).not.toBe(
          "good",
        );
      const value = valueAt(STATEMENT, path);
      if (typeof value !== "object" || Array.isArray(value)) continue;
      const more = withValue(STATEMENT, [...path, "x"], "y");
      expect(judged(signer.sign(JSON.stringify(more))), place).not.toBe("good");
    }
  });

  test("names the toolchain by package and version", () => {
    const { resolvedDependencies = [] } = STATEMENT.predicate.buildDefinition;
    const at = resolvedDependencies.findIndex(({ name }) => name === "gcc-14");
    const path = ["predicate", "buildDefinition", "resolvedDependencies", at, "uri"];

    for (const uri of [
      "pkg:deb/debian/gcc-14@14.2.0-20",
      "pkg:deb/debian/gcc-13@14.2.0-19",
      "pkg:a/%zz",
      "x:y",
    ])
      expect(judged(signer.sign(withValue(STATEMENT, path, uri))), uri).toBe("otherMaterials");
  });

  test.each<[string, (statement: Statement) => Statement, string]>([
    [
      "the right digest under another name",
      (one) => withValue(one, ["subject", 0, "name"], "bell.ko"),
      "otherModules",
    ],
    ["a module less", (one) => withValue(one, ["subject", 1], undefined), "otherModules"],
    [
      "a module more",
      (one) => ({ ...one, subject: [...one.subject, { name: "x.ko", digest: { sha256: "0".repeat(64) } }] }),
      "otherModules",
    ],
    [
      "modules with their names swapped",
      (one) => {
        const [a, b, ...rest] = one.subject;
        if (a === undefined || b === undefined) throw new Error("too few");
        return { ...one, subject: [{ ...a, name: b.name }, { ...b, name: a.name }, ...rest] };
      },
      "otherModules",
    ],
    [
      "another release of the same kernel",
      (one) => withValue(one, [...TARGET, "release"], "debian12"),
      "otherParameters",
    ],
    [
      "another architecture",
      (one) => withValue(one, [...TARGET, "architecture"], "aarch64"),
      "otherParameters",
    ],
    [
      "another builder",
      (one) => withValue(one, ["predicate", "runDetails", "builder", "id"], "urn:x:y"),
      "otherBuilder",
    ],
  ])("is refused for %s", (_, change, code) => {
    expect(judged(signer.sign(change(STATEMENT)))).toBe(code);
  });

  test("of what others built is not compared with what nobody here knows", () => {
    const less = withValue(STATEMENT, ["predicate", "buildDefinition", "resolvedDependencies"], undefined);

    expect(judged(signer.sign(less))).toBe("otherMaterials");
    expect(judged(signer.sign(less), { identity: IDENTITY, modules: MODULES })).toBe("good");
  });
});

const TARGET = ["predicate", "buildDefinition", "externalParameters", "target"] as const;

describe("a bundle", () => {
  const bundle = JSON.parse(BUNDLE) as Readonly<Record<string, unknown>>;
  /** Hints of keys are not signed, and decide nothing: neither for nor against. */
  const HINTS = ["verificationMaterial.publicKey.hint", "verificationMaterial.publicKey"];

  test("is refused with any field otherwise, missing, or beside", () => {
    for (const path of placesIn(bundle)) {
      const place = path.join(".");
      const value = valueAt(bundle, path);
      if (path.length > 0 && !HINTS.includes(place)) {
        if (typeof value === "string")
          expect(judged(withValue(bundle, path, otherThan(value))), place).not.toBe("good");
        expect(judged(withValue(bundle, path, undefined)), place).not.toBe("good");
      }
      if (typeof value === "object" && !Array.isArray(value))
        expect(judged(withValue(bundle, [...path, "x"], "y")), place).toBe("malformed");
    }
  });

  test("is believed whatever it calls the key", () => {
    expect(judged(withValue(bundle, ["verificationMaterial", "publicKey", "hint"], "other"))).toBe("good");
    expect(judged(withValue(bundle, ["dsseEnvelope", "signatures", 0, "keyid"], "other"))).toBe("good");
  });

  test("counts for nothing by what it brings to be verified with", () => {
    const thief = JSON.parse(makeSigner().sign(STATEMENT)) as object;
    const { verificationMaterial } = bundle as { verificationMaterial: object };
    const material = {
      ...verificationMaterial,
      tlogEntries: [{ logIndex: "1" }],
      certificate: { rawBytes: "AAAA" },
    };

    expect(judged({ ...thief, verificationMaterial: material })).toBe("untrustedKey");
    expect(judged({ ...bundle, verificationMaterial: material })).toBe("good");
  });

  const [signature] = (bundle as { dsseEnvelope: { signatures: unknown[] } }).dsseEnvelope.signatures;
  test.each([
    ["no signature", []],
    ["one signature twice", [signature, signature]],
  ])("has exactly one signature, and not %s", (_, signatures) => {
    expect(judged(withValue(bundle, ["dsseEnvelope", "signatures"], signatures))).toBe("malformed");
  });

  test("holds a statement as in-toto's type of payload, and no other, whoever signed that", () => {
    for (const type of ["", "application/json", "application/vnd.in-toto.provenance+dsse"])
      expect(judged(signer.sign(STATEMENT, type)), type).toBe("malformed");
  });

  test("is never read again from what only looks like what was signed", () => {
    const doubled = BUNDLE.replace(
      '"payload":',
      `"payload":"${Buffer.from("{}").toString("base64")}","payload":`,
    );

    expect(judged(doubled)).toBe("malformed");
    expect(judged(`${BUNDLE}{}`)).toBe("malformed");
    expect(judged(`\ufeff${BUNDLE}`)).toBe("malformed");
  });

  test("that is damaged anywhere is believed only if the damage is to a hint", () => {
    const hint = BUNDLE.indexOf('"hint":"') + 8;

    fc.assert(
      fc.property(fc.nat(BUNDLE.length - 1), fc.integer({ min: 32, max: 126 }), (at, code) => {
        const character = String.fromCharCode(code);
        if (BUNDLE[at] === character || (at >= hint && at < hint + 44)) return;
        expect(judged(`${BUNDLE.slice(0, at)}${character}${BUNDLE.slice(at + 1)}`)).not.toBe("good");
      }),
      { numRuns: 400 },
    );
  });
});

describe("a policy's builder", () => {
  const other = makeSigner();

  test("counts with its own key and its own id only", () => {
    expect(judged(BUNDLE, BUILD, [])).toBe("untrustedKey");
    expect(judged(BUNDLE, BUILD, [{ id: BUILDER, key: other.key }])).toBe("untrustedKey");
    expect(judged(BUNDLE, BUILD, [{ id: "urn:x:y", key: signer.key }])).toBe("otherBuilder");
  });

  test("cannot speak for another one", () => {
    const crossed = [
      { id: BUILDER, key: other.key },
      { id: "urn:x:y", key: signer.key },
    ];

    expect(judged(BUNDLE, BUILD, crossed)).toBe("otherBuilder");
    expect(judged(BUNDLE, BUILD, [...crossed, ...BUILDERS])).toBe("good");
  });

  test("may sign with Ed25519", () => {
    const ed = makeSigner("ed25519");

    expect(judged(ed.sign(STATEMENT), BUILD, [{ id: BUILDER, key: ed.key }])).toBe("good");
    expect(ed.sign(STATEMENT)).toBe(ed.sign(STATEMENT));
  });
});

test("what is known of a build is compared, every part of it", () => {
  const { recipe, recipeKey, log } = makeBuild();
  const { source, needs } = recipe.driver;
  const needed = needs?.map(({ name, modules }) => ({ name, modules }));
  const materials = { recipe: { ...recipe, driver: { source, needs: needed } }, recipeKey, log };
  const known = { identity: IDENTITY, modules: MODULES, materials };
  const places = placesIn(known).filter((path) => typeof valueAt(known, path) === "string");

  expect(judged(BUNDLE, known as KnownBuild)).toBe("good");
  expect(places.length).toBeGreaterThan(25);
  for (const path of places) {
    const other = withValue(known, path, otherThan(valueAt(known, path))) as KnownBuild;
    expect(judged(BUNDLE, other), path.join(".")).not.toBe("good");
  }
});
