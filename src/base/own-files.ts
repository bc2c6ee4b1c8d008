/**
 * What this program consists of beside its code: scripts of its own that it starts, its documents, its images. It may be a
 * checkout, where code is TypeScript below `src`, or a package, where it is JavaScript below `dist`, all in a few files.
 */
import { existsSync } from "node:fs";

/** The directory of package.json. */
const HOME = homeOf(new URL(".", import.meta.url));

/** Whether this is a checkout: its packages are where npm put them, and not part of its own files. */
export const IS_CHECKOUT = import.meta.url.endsWith(".ts");

/** A file or directory of the program's, by its path in the package. */
export function ownFile(path: string): URL {
  return new URL(path, HOME);
}

/** A script that the program starts in a thread or a process, by its path below `src` without extension. */
export function ownScript(name: string): URL {
  return ownFile(IS_CHECKOUT ? `src/${name}.ts` : `dist/${name}.js`);
}

function homeOf(directory: URL): URL {
  if (existsSync(new URL("package.json", directory))) return directory;
  const above = new URL("..", directory);
  if (above.href === directory.href) throw new Error(`there is no package.json above ${import.meta.url}`);
  return homeOf(above);
}
