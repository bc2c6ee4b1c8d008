/** The name of the file that holds a module's proof: the same however the module itself is compressed. */
import { basename } from "node:path";
import { ENDINGS } from "./signature.ts";

export function sidecarName(module: string): string {
  return `${basename(module).replace(/(\.ko)\.(?:xz|zst|gz)$/, "$1")}.${ENDINGS.merkle}`;
}
