/** `kmodfarm keys create`, `keys show`. */
import { choice, declareCommand, flag, one, optional, required, unless, word } from "../../command.ts";

const CONFIG = {
  config: word("<file>", "the configuration (default: kmodfarm.yaml in this directory, if it exists)"),
  json: flag("print the result as JSON"),
};

export const CREATE_KEY = declareCommand(
  "create",
  "make a private key, and for modules its certificate; nothing that exists is replaced",
  {
    arguments: [one("name", "the key's name in the configuration, and in the names of its files")],
    options: {
      ...CONFIG,
      for: required(
        choice(
          "<role>",
          ["root", "head", "builder", "module", "log", "witness"],
          "what it signs, and nothing else",
        ),
      ),
      kind: choice(
        "<kind>",
        ["p256", "ed25519", "rsa"],
        "P-256, Ed25519 (builder, log and witness) or RSA of 3072 bits (module only) (default: rsa for modules, ed25519 for log and witness, else p256)",
      ),
      to: word("<dir>", "where to put it (default: `keyDirectory` of the configuration)"),
      passwordFile: word("<file>", "file that holds its password"),
      passwordEnvironment: word("<variable>", "environment variable that holds its password"),
      password: unless("leave the key unencrypted (default: a password is asked for)"),
    },
  },
);

export const SHOW_KEYS = declareCommand("show", "show the public keys of the configuration's private keys", {
  arguments: [optional("name", "only this key")],
  options: {
    ...CONFIG,
    certificate: flag("show the certificates that modules are signed for: what nodes enrol"),
  },
});
