/**
 * How failures are reported: each once, with the kernels that it affected.
 */
import { ERRORS, type ErrorCode } from "../base/error-codes.ts";
import { oneLine } from "../base/visible.ts";
import { textsOf } from "../check/verdict.ts";
import { MOST_TRIES } from "../farm/night/ledger.ts";
import { type Element, elementName } from "../matrix/element.ts";
import { placeOf } from "../registry/blobs.ts";
import type { AttemptNote } from "../registry/documents.ts";
import type { Store } from "../registry/stores/store.ts";
import { shortest } from "./run-log.ts";

export interface FailedElement {
  readonly element: Element;
  readonly note: AttemptNote;
}

type Failure = NonNullable<AttemptNote["failure"]>;

/** More kernels of one failure than that are counted, not named. */
const NAMED_KERNELS = 4;
const NAMED_DRIVERS = 2;

/**
 * One paragraph for each distinct failure: cause, line, what to do, a log. Of a run that is kept, also when it will be tried
 * again.
 */
export function failureParagraphs(
  failed: readonly FailedElement[],
  store: Store,
  { isKept = true }: { readonly isKept?: boolean } = {},
): string {
  return failureGroups(failed)
    .map((group) => paragraph(group, store, isKept))
    .join("");
}

/** Elements that failed for the same reason. */
export function failureGroups<T extends FailedElement>(failed: readonly T[]): T[][] {
  const groups = Map.groupBy(failed, ({ element, note }) => {
    const { code, cause, file } = failureOf(note);
    // A server that is gone is one cause, whatever was wanted of it, by which driver.
    const server = code === "REMOTE_UNAVAILABLE" ? serverIn(cause) : undefined;
    if (server !== undefined) return JSON.stringify([code, server]);
    return JSON.stringify([element.driver, element.driverversion, code, cause, file]);
  });
  return [...groups.values()];
}

/** `cause (file:line)`, for a cell of a table. */
export function shortFailure({ cause, file, lineNumber }: Failure): string {
  return file === undefined ? cause : `${cause} (${lineOf({ file, lineNumber })})`;
}

function paragraph(group: readonly FailedElement[], store: Store, isKept: boolean): string {
  const [{ element, note }] = group as readonly [FailedElement];
  const { code, cause, file, lineNumber, line, advice } = failureOf(note);
  // What a driver's log, or a worker, says makes no lines of ours.
  const lines = [
    `${subjectOf(group)}: ${cause}${isKept ? whenAgain(failureOf(note)) : ""}`,
    ...(file === undefined ? [] : [`  at: ${lineOf({ file, lineNumber })} of ${element.driver}`]),
    ...(line === "" ? [] : [`  said: ${line}`]),
    ...(group.length === 1 ? [] : [`  kernels: ${kernelsOf(group)}`]),
    `  log: ${shortest(logPlace(note, store) ?? "none")}`,
    `  ${advice} [${code}]`,
  ];
  return `${lines.map(oneLine).join("\n")}\n`;
}

/** Where the log is that explains a failure best. */
export function logPlace({ log, console: said, failure }: AttemptNote, store: Store): string | undefined {
  const best = failure === undefined ? (said ?? log) : log;
  return best === undefined ? undefined : placeOf(store, best.digest);
}

function whenAgain({ blame, tries }: Failure): string {
  if (blame === "source" || blame === "input")
    return " (not tried again until something changes, or --retry)";
  if (blame !== "unknown" || tries === undefined) return "";
  return tries < MOST_TRIES
    ? ` (try ${tries} of ${MOST_TRIES})`
    : ` (tried ${tries} times; not tried again until something changes, or --retry)`;
}

function serverIn(cause: string): string | undefined {
  const [url = ""] = /https?:\/\/[^\s/]+/.exec(cause) ?? [];
  return URL.parse(url)?.origin;
}

function subjectOf(group: readonly FailedElement[]): string {
  const [{ element }] = group as readonly [FailedElement];
  if (group.length === 1) return elementName(element);
  const drivers = new Set(group.map((one) => `${one.element.driver} ${one.element.driverversion}`));
  const kernels = new Set(group.map(kernelOf));
  const who = drivers.size > NAMED_DRIVERS ? `${drivers.size} driver versions` : [...drivers].join(", ");
  return `${who} for ${kernels.size === 1 ? "1 kernel" : `${kernels.size} kernels`}`;
}

function kernelsOf(group: readonly FailedElement[]): string {
  const names = [...new Set(group.map(kernelOf))];
  const more = names.length > NAMED_KERNELS ? [`and ${names.length - NAMED_KERNELS} more`] : [];
  return [...names.slice(0, NAMED_KERNELS), ...more].join(", ");
}

function kernelOf({ element: { distribution, architecture, kversion } }: FailedElement): string {
  return `${distribution}/${architecture}/${kversion}`;
}

function lineOf({ file, lineNumber }: Pick<Failure, "file" | "lineNumber">): string {
  return lineNumber === undefined ? (file ?? "") : `${file}:${lineNumber}`;
}

/** A failed load test, or one that could not be made, is reported like a failed build. */
export function failureOf({
  failure,
  load,
  refusals = [],
}: AttemptNote): Failure & { readonly advice: string } {
  if (failure !== undefined) {
    return { ...failure, advice: failure.advice ?? ERRORS[failure.code as ErrorCode]?.hint ?? "" };
  }
  // A test that found nothing wrong, or found its device missing, finds the same again: the policy decides.
  const isTested = load !== undefined && !["fail", "unknown"].includes(load.verdict.verdict);
  if (isTested && refusals.length > 0) {
    const { blame, hint } = ERRORS.GATE_REFUSED;
    return { code: "GATE_REFUSED", blame, cause: refusals.join("; "), line: "", advice: hint };
  }
  const cause = load === undefined ? "" : textsOf(load.verdict).join("; ");
  const isFail = load?.verdict.verdict === "fail";
  const { blame, hint } = ERRORS.LOAD_FAILED;
  return {
    code: "LOAD_FAILED",
    blame: isFail ? blame : "infra",
    cause,
    line: "",
    advice: isFail ? hint : "It stays a candidate; `kmodfarm run --retry` tests it again.",
  };
}
