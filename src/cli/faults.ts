/**
 * Whom concerns what went wrong in a run: the exit code says the gravest of it, and a line counts all.
 */
import { counted } from "../base/counted.ts";
import { ERRORS } from "../base/error-codes.ts";
import type { RunReport } from "../farm/night/report.ts";
import { isFailed, isUndecided } from "./outcomes.ts";

/** How many elements and other problems there are of each kind. */
export interface Faults {
  /** Wrong digests and signatures: somebody must look before anything else. */
  readonly integrity: number;
  /** Of kmodfarm itself. */
  readonly bug: number;
  /** Of a driver, a kernel or a setting: who looks after the driver. */
  readonly driver: number;
  /** Of this machine, or of a server. */
  readonly infrastructure: number;
}

type Reported = Pick<RunReport, "rows" | "problems">;

const ELSEWHERE: ReadonlySet<string> = new Set(["infra", "remote"]);

export function faultsOf({ rows, problems }: Reported): Faults {
  const kinds = [
    ...rows.filter(isFailed).map(({ note }) => kindOf(note.failure?.blame ?? "source")),
    ...rows.filter(isUndecided).map(() => "infrastructure" as const),
    ...problems.map(({ code, integrity }) => {
      const kind = integrity ? "integrity" : kindOf(ERRORS[code].blame);
      // What a source or the store did is nothing of a driver's.
      return kind === "driver" ? "infrastructure" : kind;
    }),
  ];
  const count = (kind: keyof Faults) => kinds.filter((one) => one === kind).length;
  return {
    ...{ integrity: count("integrity"), bug: count("bug") },
    ...{ driver: count("driver"), infrastructure: count("infrastructure") },
  };
}

function kindOf(blame: string): keyof Faults {
  if (blame === "integrity" || blame === "bug") return blame;
  return ELSEWHERE.has(blame) ? "infrastructure" : "driver";
}

/** @param allowEmpty whether it is in order that nothing at all is selected */
export function exitOf(report: Reported & Partial<Pick<RunReport, "isEmpty">>, allowEmpty = false): number {
  const { integrity, bug, driver, infrastructure } = faultsOf(report);
  if (integrity > 0) return ERRORS.STORE_CORRUPT.exit;
  if (bug > 0) return ERRORS.BUG.exit;
  if (driver > 0) return ERRORS.ELEMENTS_FAILED.exit;
  const isOdd = infrastructure > 0 || (report.isEmpty === true && !allowEmpty);
  return isOdd ? ERRORS.CATALOG_SUSPECT.exit : 0;
}

/** `Exit code 1: 2 faults of the driver, 1 fault of this machine or a server.`; empty where the report has no fault to count. */
export function faultText(report: Parameters<typeof exitOf>[0], exit: number): string {
  if (exit === 0) return "";
  const faults = faultsOf(report);
  const parts = (Object.keys(OF) as (keyof Faults)[]).flatMap((kind) =>
    faults[kind] === 0 ? [] : [`${counted(faults[kind], "fault")} ${OF[kind]}`],
  );
  if (parts.length === 0 && report.isEmpty) return `Exit code ${exit}: nothing is selected.\n`;
  return parts.length === 0 ? "" : `Exit code ${exit}: ${parts.join(", ")}.\n`;
}

const OF: Readonly<Record<keyof Faults, string>> = {
  integrity: "of integrity",
  bug: "of kmodfarm itself",
  driver: "of the driver",
  infrastructure: "of this machine or a server",
};
