/** `kmodfarm verify`. */
import { declareCommand, flag, one, word } from "../../command.ts";

export const VERIFY = declareCommand(
  "verify",
  "verify a registry from its root to the bytes of its modules, an artifact's folder, or a module; exits 4 if a link is broken",
  {
    arguments: [
      one(
        "place",
        "a registry (directory, http(s):// or s3://), a directory with a manifest.json, or a .ko file",
      ),
    ],
    options: {
      root: word("<file>", "the root that is trusted, as nodes have it (default: the registry's first)"),
      policy: word("<file>", "a policy: its `builders` are those whose statements count"),
      store: word("<place>", "the registry that an artifact or a module is looked up in"),
      json: flag("print the result as JSON"),
    },
  },
);
