/** What a client on a node may answer, and with which exit code: a closed list, which docs/nodes.md explains. */
import type { FarmError } from "../base/error.ts";
import type { ErrorCode } from "../base/error-codes.ts";

export const EXITS = {
  exact: 0,
  loadsOn: 0,
  building: 1,
  failed: 1,
  excluded: 1,
  withheld: 1,
  denied: 1,
  neverSeen: 1,
  ambiguous: 1,
  cannotLoad: 3,
  cannotWrite: 3,
  unreachable: 3,
  stale: 3,
  busy: 3,
  integrity: 4,
} as const;
export type Word = keyof typeof EXITS;

export interface Answer {
  readonly word: Word;
  /** For people. */
  readonly sentence: string;
}

export function answer(word: Word, sentence: string): Answer {
  return { word, sentence };
}

const WORDS: Partial<Record<ErrorCode, Word>> = {
  REMOTE_UNAVAILABLE: "unreachable",
  FILE_UNREADABLE: "unreachable",
  METADATA_EXPIRED: "stale",
  PLACE_UNUSABLE: "cannotWrite",
  DISK_FULL: "cannotWrite",
  TOOL_MISSING: "cannotWrite",
};

/** The word for an error; undefined for what no node should ever see. */
export function wordFor({ blame, code }: FarmError): Word | undefined {
  return blame === "integrity" ? "integrity" : WORDS[code];
}
