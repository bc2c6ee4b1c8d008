/** `kmodfarm github`: the farm on GitHub Actions. */
import { declareCommand, flag, word } from "../../command.ts";
import { PLACES } from "../../common-options.ts";

const { config, store } = PLACES;

export const INIT = declareCommand("init", "write the workflows that run the farm on GitHub Actions", {
  options: {
    config,
    store,
    output: word("<dir>", "the repository to write .github to (default: this directory)"),
    package: word("<name>", "what the runners install by npm (default: this version of kmodfarm)"),
    server: word("<url>", "an Enterprise Server, which knows less than github.com"),
    json: flag("print the result as JSON"),
  },
});
