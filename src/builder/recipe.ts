/**
 * Everything that determines the bytes of an element's output, and nothing else. Equal recipes, equal bytes.
 */

import { isDeepStrictEqual } from "node:util";
import { FarmError } from "../base/error.ts";
import { type Digest, digestOf } from "../base/json.ts";
import {
  ARCHITECTURES,
  type Architecture,
  type ArchitectureName,
  architecture,
} from "../kernel/architecture.ts";
import { dkmsVersion } from "../kernel/distributions/dkms.ts";
import { isBuildTool, type Package, verified } from "../kernel/kernel.ts";
import type { Element } from "../matrix/element.ts";
import { type LoadedDriver, ownPackages, recipeBuild } from "./driver.ts";
import type { InstalledPackage, Recipe } from "./records.ts";

export interface RecipeInput {
  readonly element: Element;
  readonly driver: LoadedDriver;
  readonly builder: ArchitectureName;
  readonly emulation?: "qemu-user" | undefined;
  readonly root: readonly InstalledPackage[];
  readonly scripts: Digest;
}

export function recipeOf(input: RecipeInput): Recipe {
  const { element, driver, builder, emulation, root, scripts } = input;
  const build = recipeBuild(driver.build);
  const needs = (driver.needed ?? []).map(({ name, version, source, modules }) => ({
    ...{ name, version, source: source.digest },
    modules: modules.map((one) => ({ name: one.name, sha256: one.sha256 })),
  }));
  const { distribution, kversion, packageVersion } = element;
  return {
    schema: "kmodfarm.recipe/1",
    driver: {
      name: element.driver,
      version: element.driverversion,
      source: driver.source.digest,
      modules: driver.modules,
      ...(build === undefined ? {} : { build }),
      ...(needs.length === 0 ? {} : { needs }),
      ...(driver.build.kind === "dkms" ? { dkms: dkmsVersion(distribution) } : {}),
    },
    kernel: { distribution, architecture: element.architecture, kversion, packageVersion },
    builder,
    ...(emulation === undefined ? {} : { emulation }),
    headers: buildPackages(element, builder)
      .map(verified)
      .map(({ name, version, sha256 }) => ({ name, version, sha256 }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    toolchain: relevantPackages(root, architecture(element.architecture), ownPackages(driver.build)),
    scripts,
  };
}

export function recipeKey(recipe: Recipe): Digest {
  return digestOf(recipe);
}

/** More packages of a toolchain are only counted. */
const NAMED_PACKAGES = 2;

/** What differs between the recipes of two builds of one element, in words for a person. */
export function recipeChanges(a: Recipe, b: Recipe): string[] {
  const { source: _, needs: _n, ...before } = a.driver;
  const { source: _s, needs: _d, ...after } = b.driver;
  const parts: readonly [unknown, unknown, string][] = [
    [a.driver.source, b.driver.source, "the driver's source changed"],
    [a.driver.needs ?? [], b.driver.needs ?? [], "a driver that it needs changed"],
    [before, after, "how the driver is built changed"],
    [[a.kernel, a.headers], [b.kernel, b.headers], "the kernel's headers changed"],
    [[a.builder, a.emulation], [b.builder, b.emulation], `builder: ${a.builder} → ${b.builder}`],
    [a.toolchain, b.toolchain, `toolchain: ${toolchainChanges(a, b)}`],
    [a.scripts, b.scripts, "kmodfarm's own build scripts changed"],
  ];
  return parts.flatMap(([one, other, words]) => (isDeepStrictEqual(one, other) ? [] : [words]));
}

function toolchainChanges(a: Recipe, b: Recipe): string {
  const [before, after] = [a, b].map(
    ({ toolchain }) => new Map(toolchain.map(({ name, version }) => [name, version])),
  ) as [Map<string, string>, Map<string, string>];
  const names = [...new Set([...before.keys(), ...after.keys()])];
  const changed = names.filter((name) => before.get(name) !== after.get(name));
  const named = changed
    .slice(0, NAMED_PACKAGES)
    .map((name) => `${name} ${before.get(name) ?? "not there"} → ${after.get(name) ?? "not there"}`);
  const more = changed.length - named.length;
  return `${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/**
 * The packages a builder unpacks for an element: the headers, with the build tools of its own architecture.
 * @throws FarmError NOT_FETCHABLE when no index has those tools
 */
export function buildPackages(element: Element, builder: ArchitectureName): Package[] {
  const { headers, crossTools } = element.packages;
  if (element.architecture === builder) return headers;
  const replaced = headers.map((one) => {
    const isForeign = isBuildTool(one) && one.architecture !== builder;
    return isForeign
      ? crossTools.find((tool) => tool.name === one.name && tool.architecture === builder)
      : one;
  });
  const usable = replaced.filter((one) => one !== undefined);
  if (usable.length < headers.length) {
    throw new FarmError("NOT_FETCHABLE", {
      detail: `${element.kversion} has no build tools for ${builder} builders in any index`,
    });
  }
  return usable;
}

const RELEVANT = /^((gcc|cpp|clang|lld|llvm)\d*|binutils|make|kmod|pahole|dwarves)(-|$)/;

/**
 * The build-relevant packages of a root, and those that the driver asked for; without compilers for
 * architectures that are not the target's.
 */
export function relevantPackages(
  root: readonly InstalledPackage[],
  target: Architecture,
  own: readonly string[] = [],
): InstalledPackage[] {
  const others = ARCHITECTURES.filter(({ name }) => name !== target.name).map(({ triplet }) =>
    triplet.replace("_", "-"),
  );
  return root
    .filter(
      ({ name }) =>
        own.includes(name) ||
        (RELEVANT.test(name) &&
          !/-(base|locales|doc)$/.test(name) &&
          !others.some((other) => name.includes(other))),
    )
    .map(({ name, version }) => ({ name, version }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
