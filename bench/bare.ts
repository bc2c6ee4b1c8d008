/** The same compilations as ours, bare: what benchmarks hold them against. */
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type BuildContext, rootRequest, stageInputs } from "../src/builder/build.ts";
import type { LoadedDriver } from "../src/builder/driver.ts";
import type { Recipe } from "../src/builder/records.ts";
import { nativePaths } from "../src/inputs/tree.ts";
import { architecture } from "../src/kernel/architecture.ts";
import type { Element } from "../src/matrix/element.ts";

export interface Planned {
  readonly element: Element;
  readonly recipe: Recipe;
}

/**
 * A shell command that compiles a copy of a driver's source at `place` for an element, with nothing of ours around it but the
 * mounts that a compiler needs. Whatever was changed there since is removed first.
 */
export async function bareMake(
  { element, recipe }: Planned,
  driver: LoadedDriver,
  place: string,
  context: BuildContext,
): Promise<string> {
  const staged = await stageInputs(element, recipe, context);
  const root = await context.toolchains.root(rootRequest(element, driver));
  const { kbuild, triplet } = architecture(element.architecture);
  const prefix = element.architecture === context.builder ? "" : `${triplet}-`;
  const source = join(place, "source");
  await mkdir(place, { recursive: true });
  await cp(driver.source.directory, source, { recursive: true });
  await writeFile(join(place, "copied"), "");
  const mounts = nativePaths(staged, element.kversion).map(
    ([outside, inside]) => `--ro-bind ${outside} ${inside}`,
  );
  const headers = `/usr/src/linux-headers-${element.kversion}`;
  const make = `make -s -C ${headers} M=/build KERNELDIR=${headers} ARCH=${kbuild} CROSS_COMPILE=${prefix} CC=${prefix}${root.compiler.command} DRIVER_VERSION=1`;
  // No process namespace: its init would keep the CPU time of the compiler from being counted.
  const enter = `bwrap --ro-bind ${root.path} / --proc /proc --dev /dev --tmpfs /tmp --tmpfs /usr/src --tmpfs /lib/modules ${mounts.join(" ")} --bind ${source} /build`;
  const script = join(place, "make.sh");
  // What the last round left is removed, so that everything is compiled anew.
  await writeFile(
    script,
    `find ${source} -newer ${place}/copied -type f -delete && ${enter} ${make} modules >/dev/null 2>&1\n`,
  );
  return `sh ${script}`;
}
