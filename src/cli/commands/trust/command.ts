/** `kmodfarm verify`, `witness`, `log prove`, `log check`, `log cosign`, `root new`, `root sign`, `root publish`. */
import { declareCommand, flag, one, oneOrMore, required, wholeNumber, word, words } from "../../command.ts";
import { PLACES } from "../../common-options.ts";

const STATE = word(
  "<dir>",
  "where the last checkpoint of each log is kept (default: ~/.local/state/kmodfarm)",
);

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
      state: STATE,
      json: flag("print the result as JSON"),
    },
  },
);

export const WITNESS = declareCommand(
  "witness",
  "cosign the checkpoint of a registry's log if the log has only grown since this machine last saw it, and print it",
  {
    arguments: [one("place", "a registry: directory, http(s):// or s3://")],
    options: {
      key: required(word("<file>", "the witness's private key: `kmodfarm keys create NAME --for witness`")),
      name: word("<name>", "the witness's name in its signatures (default: the name of the key's file)"),
      root: word("<file>", "the registry's root that is trusted (default: its first)"),
      passwordFile: word("<file>", "holds the key's password (default: a terminal is asked if it needs one)"),
      state: STATE,
    },
  },
);

export const ADD_COSIGNATURES = declareCommand(
  "cosign",
  "add to the log's checkpoint what its witnesses signed; keeps only signatures of witnesses that the root names",
  { arguments: [oneOrMore("file", "what `kmodfarm witness` printed")], options: PLACES },
);

const REGISTRY = word("<place>", "a registry: directory, http(s):// or s3://");

export const PROVE_LOGGED = declareCommand(
  "prove",
  "print the proof that the last decision about an artifact is in the log (NAME.tlog-proof)",
  {
    arguments: [one("artifact", "DRIVER/SERIES/DISTRIBUTION/ARCHITECTURE/KERNEL, shorter if unique")],
    options: {
      registry: required(REGISTRY),
      root: word("<file>", "the registry's root that is trusted (default: its first)"),
    },
  },
);

export const CHECK_LOGGED = declareCommand(
  "check",
  "verify such a proof without a network, and print what it is about",
  {
    arguments: [one("file", "what `kmodfarm log prove` printed")],
    options: {
      root: required(word("<file>", "the registry's root, which says who signs the log")),
      manifest: word("<file>", "the manifest of the artifact that it must be about"),
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
      logKey: words("<file>", "public key (Ed25519, PEM) that signs the log, which the registry has then"),
      witnessKey: words("<file>", "public key (Ed25519, PEM) of a witness of the log; may be repeated"),
      witnesses: wholeNumber("<n>", "how many witnesses must have seen the log (default: more than half)"),
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
  "publish a root that enough keys have signed; nodes adopt it at their next fetch",
  { arguments: [one("file", "the signed document")], options: PLACES },
);
