/** `kmodfarm verify`, `kmodfarm root new`, `root sign`, `root publish`. */
import { declareCommand, flag, one, required, wholeNumber, word, words } from "../../command.ts";
import { PLACES } from "../../common-options.ts";

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

export const NEW_ROOT = declareCommand(
  "new",
  "write a root document to be signed: which keys may sign roots and heads",
  {
    options: {
      to: required(word("<file>", "where to write it")),
      after: word("<file>", "the root before: what is not said here stays as it is there"),
      origin: word(
        "<name>",
        "name of the registry, a host and a path: farm.example.org/drivers (first root only)",
      ),
      rootKey: words("<file>", "public key (PEM) that signs roots; may be repeated"),
      headKey: words("<file>", "public key (PEM) that signs heads; may be repeated"),
      threshold: wholeNumber("<n>", "root keys that must sign the next root (default: more than half)"),
      days: wholeNumber("<n>", "days until it expires (default: 365)"),
    },
  },
);

export const SIGN_ROOT = declareCommand(
  "sign",
  "add the signatures of this configuration's root keys to a root document",
  {
    arguments: [one("file", "the document, which is written anew")],
    options: { ...PLACES, key: word("<name>", "only this key") },
  },
);

export const PUBLISH_ROOT = declareCommand(
  "publish",
  "publish a root that enough keys have signed; nodes follow it with their next question",
  { arguments: [one("file", "the signed document")], options: PLACES },
);
