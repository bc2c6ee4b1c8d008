/**
 * What lies beside a driver's source and is no part of it. A directory or repository of a person's is read as it is
 * worked on, so whatever no build can see must not cause one: prose, other tools' files, and this farm's own.
 */
import { realpath } from "node:fs/promises";
import { relative } from "node:path";
import ignore from "ignore";

/** In the words of a .gitignore file, whose rules the driver's `ignore` continues: `!README.md` makes that one source again. */
export const NEVER_SOURCE: readonly string[] = [
  ...["kmodfarm.yaml", "kmodfarm.yml", ".kmodfarm/"],
  // Hand-overs, which have the digests of their orders for names.
  `${"[0-9a-f]".repeat(64)}.tar`,
  // What editors and file managers leave.
  ...["*~", ".*.sw?", ".#*", "\\#*\\#", ".DS_Store", ".idea/", ".vscode/", ".editorconfig"],
  // What other tools are told.
  ...[".git*", "!.github", ".github/", ".gitlab/", ".gitlab-ci.yml", ".circleci/", ".travis.yml"],
  ...[".cirrus.yml", ".drone.yml", ".woodpecker*", "/Jenkinsfile", "/azure-pipelines.yml"],
  ...[".clang-format", ".clang-tidy", ".mailmap", ".pre-commit-config.yaml"],
  // Prose.
  ...["README", "CHANGELOG", "CONTRIBUTING", "CODE_OF_CONDUCT", "SECURITY"].flatMap((name) =>
    [name, ...["md", "rst", "txt", "adoc"].map((extension) => `${name}.${extension}`)].map(
      (one) => `/${one}`,
    ),
  ),
];

/** Whether what is found below a tree is left out of it. A directory that is left out is not entered. */
export type LeftOut = (path: string, isDirectory: boolean) => boolean;

/** Leaves out what patterns match, each in the words of a .gitignore file; the last that matches decides. */
export function leftOutBy(patterns: readonly string[]): LeftOut {
  const rules = ignore({ allowRelativePaths: true }).add(patterns);
  return (path, isDirectory) => rules.ignores(isDirectory ? `${path}/` : path);
}

/** Leaves out places of this machine, wherever in the tree they are, and all that is below them. */
export async function leftOutAt(tree: string, places: readonly string[]): Promise<LeftOut> {
  const real = (path: string) => realpath(path).catch(() => path);
  const top = await real(tree);
  const own = new Set(await Promise.all(places.map(async (place) => relative(top, await real(place)))));
  return (path) => own.has(path);
}

export function anyOf(...rules: readonly LeftOut[]): LeftOut {
  return (path, isDirectory) => rules.some((isLeftOut) => isLeftOut(path, isDirectory));
}
