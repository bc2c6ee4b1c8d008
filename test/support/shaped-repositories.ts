/** The shaped kernels in repositories of their distributions' kinds, on one server that loses packages when told to. */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { createAptRepository, type SigningKey } from "./apt-repository.ts";
import { below, createRepository, serveFiles } from "./rpm-repository.ts";
import type { Shape, ShapedKernel } from "./shaped-kernels.ts";

export interface ShapedRepositories {
  /** As `sources:` of a configuration has them. */
  readonly sources: readonly object[];
  /** Takes every package that fits off the server; gives them back as file name → bytes. */
  lose(packages: RegExp): Map<string, Buffer>;
  /** Serves those files at another place. */
  moveTo(directory: string, files: ReadonlyMap<string, Buffer>): string;
  requests(): readonly string[];
}

/** Serves them until `atEnd` has it; `directory` is for the making of their indices. */
export async function serveShapedKernels(
  kernels: ReadonlyMap<Shape, ShapedKernel>,
  key: SigningKey,
  directory: string,
  atEnd: (stop: () => void) => void,
): Promise<ShapedRepositories> {
  const files = new Map<string, Buffer>();
  for (const { shape, directory: packages } of kernels.values()) {
    const copy = join(directory, shape);
    cpSync(packages, copy, { recursive: true });
    const made = shape === "ubuntu24.04" ? createAptRepository(key, "noble", copy) : createRepository(copy);
    for (const [path, content] of below(shape, made)) files.set(path, content);
  }
  const server = await serveFiles(files, () => true, atEnd);
  return {
    sources: [
      rpmSource("almalinux9.4", server.url),
      rpmSource("almalinux9.5", server.url),
      rpmSource("amazonlinux2023", server.url),
      {
        kind: "apt",
        releases: ["ubuntu24.04"],
        mirror: `${server.url}/ubuntu24.04`,
        suites: ["noble"],
        keyring: key.keyring,
      },
    ],
    lose(packages) {
      const lost = [...files].filter(([path]) => /\.(rpm|deb)$/.test(path) && packages.test(path));
      if (lost.length === 0) throw new Error(`no package fits ${packages}`);
      for (const [path] of lost) files.delete(path);
      return new Map(lost.map(([path, content]) => [path.split("/").at(-1) ?? "", content]));
    },
    moveTo(place, moved) {
      for (const [path, content] of below(place, moved)) files.set(path, content);
      return `${server.url}/${place}`;
    },
    requests: server.requests,
  };
}

function rpmSource(release: Shape, url: string): object {
  return {
    kind: "rpm-md",
    release,
    name: "kernels",
    baseurl: `${url}/${release}`,
    architectures: ["x86_64"],
  };
}
