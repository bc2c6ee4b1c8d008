/** `kmodfarm github`: the farm on GitHub Actions. */
import { declareCommand, flag, optional, word } from "../../command.ts";
import { PLACES } from "../../common-options.ts";

const { config, store } = PLACES;

const WRITTEN = {
  output: word("<dir>", "the repository to write .github to (default: this directory)"),
  package: word("<name>", "what the runners install by npm (default: this version of kmodfarm)"),
  json: flag("print the result as JSON"),
};

export const INIT = declareCommand("init", "write the workflows that run the farm on GitHub Actions", {
  options: {
    config,
    store,
    ...WRITTEN,
    server: word("<url>", "an Enterprise Server, which knows less than github.com"),
  },
});

export const TRY_WORKFLOW = declareCommand(
  "try",
  "write the workflow that tries a driver on every pull request, for the driver's own repository",
  {
    arguments: [optional("path", "the driver's directory in the repository (default: the repository)")],
    options: { ...WRITTEN, runner: word("<label>", "what the job runs on (default: ubuntu-24.04)") },
  },
);
