/** `kmodfarm toolchain`. */
import { declareCommand, one, required, word } from "../../command.ts";
import { PLACES } from "../../common-options.ts";

export const EXPORT_TOOLCHAIN = declareCommand(
  "export",
  "write a release's toolchain root as an OCI archive: the same bytes for the same root",
  {
    arguments: [one("release", "distribution release key: debian12"), one("compiler", "such as gcc-12")],
    options: {
      ...PLACES,
      arch: word("<arch>", "what it builds for (default: this machine's architecture)"),
      output: required(word("<file>", "the archive")),
    },
  },
);

export const IMPORT_TOOLCHAIN = declareCommand(
  "import",
  "take a toolchain root out of such an archive into the cache",
  { arguments: [one("file")], options: PLACES },
);
