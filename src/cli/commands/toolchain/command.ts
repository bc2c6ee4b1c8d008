/** `kmodfarm toolchain`. */
import { declareCommand, one, required, word } from "../../command.ts";
import { PLACES } from "../../common-options.ts";

export const EXPORT_TOOLCHAIN = declareCommand(
  "export",
  "write a release's toolchain root as an OCI archive; the same root always gives the same bytes",
  {
    arguments: [one("release", "distribution release key: debian12"), one("compiler", "for example gcc-12")],
    options: {
      ...PLACES,
      arch: word("<arch>", "architecture to build for (default: this machine's)"),
      output: required(word("<file>", "the archive")),
    },
  },
);

export const IMPORT_TOOLCHAIN = declareCommand(
  "import",
  "add a toolchain root from an exported archive to the cache",
  { arguments: [one("file")], options: PLACES },
);
