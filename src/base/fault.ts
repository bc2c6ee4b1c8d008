/**
 * Answers of threads and processes of ours: a result, or an error, which would lose its class on the way.
 */
import { FarmError, toFarmError, traceOf } from "./error.ts";

export type Answer<Result> = { readonly result: Result } | { readonly fault: Fault };

interface Fault extends Pick<FarmError, "code" | "message" | "at" | "hint"> {
  readonly trace: string;
}

export async function answerTo<Work, Result>(
  work: Work,
  read: (work: Work) => Result | Promise<Result>,
): Promise<Answer<Result>> {
  try {
    return { result: await read(work) };
  } catch (thrown) {
    const error = toFarmError(thrown);
    const { code, message, at, hint } = error;
    return { fault: { code, message, at, hint, trace: traceOf(error) } };
  }
}

/** @throws FarmError the fault */
export function resultOf<Result>(answer: Answer<Result>): Result {
  if (!("fault" in answer)) return answer.result;
  const { code, message, at, hint, trace } = answer.fault;
  const cause = Object.assign(new Error(message), { stack: trace });
  throw new FarmError(code, { detail: message, at, hint, ...(trace === "" ? {} : { cause }) });
}
