/**
 * The thread that reads the log of a failed build.
 */
import { answerOnce } from "../base/thread.ts";
import { diagnose } from "./diagnose.ts";

await answerOnce(diagnose);
