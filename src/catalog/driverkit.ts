/**
 * driverkit's configurations (github.com/falcosecurity/driverkit, Apache-2.0) as dbg-go keeps them: one YAML
 * file a kernel at `config/<driver version>/<architecture>/<target>_<kernelrelease>_<kernelversion>.yaml`.
 */
import { stringify } from "yaml";
import { z } from "zod";
import { describeIssue } from "../base/json.ts";
import { readYaml } from "../formats/yaml.ts";
import { ARCHITECTURES } from "../kernel/architecture.ts";
import { PathSegment } from "../kernel/path-segment.ts";
import type { CatalogKernel } from "./catalog.ts";
import { crawlerNameOf, headerUrlsOf } from "./kernel-crawler.ts";
import { type KernelList, ListCollector, type ListOptions } from "./kernel-list.ts";

/** Only what says which kernel it is; where the output goes concerns only the builder. */
const DriverkitConfig = z.object({
  kernelversion: z.union([z.int().nonnegative().transform(String), PathSegment]),
  kernelrelease: PathSegment,
  target: PathSegment,
  architecture: z.enum(["amd64", "arm64", "x86_64", "aarch64"]).default("amd64"),
  kernelurls: z.array(z.string()).max(100).nullish(),
  kernelconfigdata: z.base64().min(1).nullish(),
});

/**
 * Files by name; a file that is no such configuration is dropped and counted.
 * @throws FarmError DOCUMENT_INVALID where none is one
 */
export function readDriverkit(
  files: Iterable<{ readonly name: string; readonly text: string }>,
  options: ListOptions,
): KernelList {
  const collector = new ListCollector(options);
  for (const { name, text } of files) {
    const yaml = readYaml(text);
    const parsed = DriverkitConfig.safeParse(yaml.kind === "read" ? yaml.value : undefined);
    if (!parsed.success) {
      collector.drop(describeIssue(parsed.error).replace(/ \(and \d+ more\)$/, ""), name);
      continue;
    }
    const { target, kernelrelease, kernelversion, kernelurls, kernelconfigdata, architecture } = parsed.data;
    collector.add(
      {
        ...{ target, kernelrelease, kernelversion },
        headers: kernelurls ?? [],
        ...(kernelconfigdata == null ? {} : { kernelconfigdata }),
        architecture: ARCHITECTURES.find((known) => [known.name, known.debian].includes(architecture))?.name,
      },
      name,
    );
  }
  return collector.finish("driverkit");
}

/** What a configuration says of the driver, in paths that dbg-go looks for. */
export interface DriverkitDriver {
  readonly name: string;
  readonly version: string;
}

/** The configurations of kernels, by their path below `config/`; kernels that share one are one file. */
export function exportDriverkit(
  kernels: readonly CatalogKernel[],
  mirrors: ReadonlyMap<string, string>,
  driver: DriverkitDriver,
): Map<string, string> {
  const groups = Map.groupBy(kernels, (kernel) => configName(kernel, driver));
  return new Map(
    [...groups]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([path, members]) => [path, toYaml(members, mirrors, driver)]),
  );
}

function configName(kernel: CatalogKernel, { version }: DriverkitDriver): string {
  const { target, kernelrelease, kernelversion } = crawlerNameOf(kernel);
  return `${version}/${kernel.architecture}/${target}_${kernelrelease}_${kernelversion}.yaml`;
}

function toYaml(
  kernels: readonly CatalogKernel[],
  mirrors: ReadonlyMap<string, string>,
  { name, version }: DriverkitDriver,
): string {
  const kernel = kernels[0] as CatalogKernel;
  const { target, kernelrelease, kernelversion, kernelconfigdata } = crawlerNameOf(kernel);
  const file = `output/${version}/${kernel.architecture}/${name}_${target}_${kernelrelease}_${kernelversion}`;
  const urls = headerUrlsOf(kernels, mirrors);
  const config = {
    ...{ kernelversion, kernelrelease, target },
    architecture: ARCHITECTURES.find((known) => known.name === kernel.architecture)?.debian,
    output: { module: `${file}.ko`, probe: `${file}.o` },
    ...(urls.length === 0 ? {} : { kernelurls: urls }),
    ...(kernelconfigdata === undefined ? {} : { kernelconfigdata }),
  };
  return stringify(config, { indent: 4, lineWidth: 0 });
}
